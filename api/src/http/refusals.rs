//! The HTTP library answers what it cannot read by itself, with a bare status line. Here such an answer is given the one
//! shape on its way out: it is known by having no `X-Request-Id`, which every answer of ours has.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use proofmill_contract::{ApiError, ErrorCode, ids};
use serde_json::json;

use super::envelope::error_object;

/// A connection whose bare refusals are put into the envelope.
pub struct Enveloped<T> {
    inner: T,
    docs_url: Option<Arc<str>>,
    /// What is being written in place of a bare refusal, and how long that was.
    instead: Option<Instead>,
}

struct Instead {
    bytes: Vec<u8>,
    written: usize,
    replaces: usize,
}

impl<T> Enveloped<T> {
    /// Wraps a connection. Errors link to `docs_url`; without one, refusals stay as they are.
    pub fn new(inner: T, docs_url: Option<Arc<str>>) -> Self {
        Self { inner, docs_url, instead: None }
    }
}

impl<T: Write + Unpin> Enveloped<T> {
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some(instead) = &mut self.instead {
            let rest = &instead.bytes[instead.written.min(instead.bytes.len())..];
            if rest.is_empty() {
                let replaced = instead.replaces;
                self.instead = None;
                return Poll::Ready(Ok(replaced));
            }
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => instead.written += written,
            }
        }
        Poll::Ready(Ok(0))
    }

    fn replace(&mut self, refusal: &[u8]) -> bool {
        if let (Some(docs_url), Some(status)) = (&self.docs_url, bare_refusal(refusal)) {
            self.instead = Some(Instead { bytes: answer(status, docs_url), written: 0, replaces: refusal.len() });
        }
        self.instead.is_some()
    }
}

impl<T: Write + Unpin> Write for Enveloped<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.instead.is_some() || self.replace(buf) {
            return self.poll_instead(cx);
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal has no body, so it is one piece.
        if let [one] = bufs
            && (self.instead.is_some() || self.replace(one))
        {
            return self.poll_instead(cx);
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<T: Read + Unpin> Read for Enveloped<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

/// The status of an answer that the library made: a 4xx head without a body and without our id.
fn bare_refusal(bytes: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(bytes).ok()?;
    let status = text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let bare = text.ends_with("\r\n\r\n") && text.contains("content-length: 0\r\n") && !text.contains("x-request-id");
    ((400..500).contains(&status) && bare).then_some(status)
}

fn answer(status: u16, docs_url: &str) -> Vec<u8> {
    let message = match status {
        414 => "the request's path and query are too long",
        431 => "the request has too many header fields, or too large ones",
        _ => "the request is not HTTP/1.1",
    };
    let error = ApiError::new(ErrorCode::InvalidRequest, message);
    let request_id = format!("req_{}", ids::random_text(26, &mut rand::rng()));
    tracing::info!(%request_id, status, "refused by the HTTP library");
    let body = json!({ "data": null, "error": error_object(&error, &request_id, docs_url) }).to_string();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-request-id: {request_id}\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_librarys_own_refusals_are_replaced() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(bare_refusal(bare), Some(431));
        for ours in [
            &b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\nx-request-id: req_1\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1",
            b"\xff",
            b"",
        ] {
            assert_eq!(bare_refusal(ours), None);
        }
    }
}
