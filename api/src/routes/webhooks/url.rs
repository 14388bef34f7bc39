//! The URL of an endpoint, as it is checked when somebody writes it.
//!
//! What may be connected to is checked at every try; here a URL must also be written as one, so that what is stored
//! is what is sent to, and a slip of the pen is told at once and not by deliveries that fail.

use std::net::IpAddr;

use proofmill_contract::{ApiError, ErrorCode, webhook_url};

/// A cluster's own names (`service.namespace.svc`).
const CLUSTER_SUFFIX: &str = ".svc";

/// Checks a URL; `allow_loopback` is the development switch.
///
/// # Errors
/// `WEBHOOK_URL_REJECTED`, saying which rule.
pub fn check(text: &str, allow_loopback: bool) -> Result<(), ApiError> {
    let url = webhook_url::check(text, allow_loopback)?;
    let reject = |why: &str| ApiError::new(ErrorCode::WebhookUrlRejected, format!("field `url`: {why}"));
    // RFC 3986 §3.2: a parser for browsers supplies slashes and drops superfluous ones.
    let (_, rest) = text.split_once("://").ok_or_else(|| reject("must begin with https://"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(reject("has no host"));
    }
    if authority.contains('@') {
        return Err(reject("user name and password are not allowed"));
    }
    if text.contains('#') {
        return Err(reject("a fragment is never sent, and not allowed"));
    }
    let host = url.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let name = host.strip_suffix('.').unwrap_or(host);
    if address.is_none() && name.split('.').any(str::is_empty) {
        return Err(reject("the host has an empty label"));
    }
    if name.ends_with(CLUSTER_SUFFIX) {
        return Err(reject("the host is not public"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_written_as_one() {
        for good in [
            "https://hooks.example.com",
            "HTTPS://hooks.example.com/in?to=a@b",
            "https://example.com.:8443/",
            "https://[2606:4700::1111]/",
            "https://93.184.216.34/a//b",
            "https://svc.example.com/",
        ] {
            assert!(check(good, false).is_ok(), "{good}");
        }
        for bad in [
            "https://@example.com/",
            "https://:@example.com/",
            "https://@x",
            "https:example.com",
            "https:/example.com",
            "https:///example.com",
            "https:////example.com",
            "https://.example.com/",
            "https://example..com/",
            "https://example.com../",
            "https://example.com/#part",
            "https://example.com/#",
            "https://168.63.129.16/",
            "https://0xa83f8110/",
            "https://intranet/",
            "https://hooks.payments.svc/",
            "https://hooks.payments.svc./",
            "https://hooks.payments.svc.cluster.local/",
            "https://metadata.google.internal/",
            "https://printer.local/",
        ] {
            let error = check(bad, false).expect_err(bad);
            assert_eq!(error.code, ErrorCode::WebhookUrlRejected, "{bad}");
        }
        assert!(check("http://localhost:9000/in", true).is_ok());
        assert!(check("http:localhost:9000/in", true).is_err());
    }
}
