//! One try of one delivery.

use std::time::Duration;

use futures::StreamExt as _;
use proofmill_contract::{Timestamp, webhook_url};
use proofmill_jose::WebhookHeaders;
use reqwest::header::{DATE, RETRY_AFTER};
use reqwest::redirect::Policy;

use crate::resolver::{Lookup, NotPublic, PublicResolver};
use crate::schedule::retry_after;

/// How long a try may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// The whole try, the answer included: an endpoint that drips one byte a second ends here.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), total: Duration::from_secs(15) }
    }
}

/// How much of an answer is read. It is read to keep the connection usable, and never kept.
const ANSWER_LIMIT: usize = 16 << 10;
/// And for how long: the status has decided, so an endpoint that drips the rest must not hold its place for the whole try.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// How long an unused connection is kept: less than the 5 s after which common servers close theirs, so that a message
/// is not written into a connection that is just being closed.
const IDLE: Duration = Duration::from_secs(4);
/// Unused connections kept per host.
const IDLE_PER_HOST: usize = 32;

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// 2xx.
    Delivered(u16),
    /// 410: the endpoint wants no more.
    Gone,
    /// Any other status; with `Retry-After` where 429 or 503 carried one.
    Refused(u16, Option<Duration>),
    /// No connection, so nothing arrived; the word says why.
    Unreachable(&'static str),
    /// Connected, but no answer: the message may have arrived.
    Unanswered(&'static str),
}

impl Answer {
    /// What it says of the endpoint, for its circuit breaker. Whoever answers is well, even if the answer is a refusal;
    /// only no answer, overload and server errors count against it.
    pub fn endpoint_well(self) -> Option<bool> {
        match self {
            Answer::Delivered(_) => Some(true),
            Answer::Refused(408 | 429 | 500.., _) | Answer::Unreachable(_) | Answer::Unanswered(_) => Some(false),
            Answer::Refused(..) => Some(true),
            Answer::Gone => None,
        }
    }
}

/// Sends deliveries. Cheap to clone; connections are pooled.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    allow_loopback: bool,
}

impl Client {
    /// A client over a resolver; `allow_loopback` is the development switch.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn new(lookup: Lookup, allow_loopback: bool, timeouts: Timeouts) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("Proofmill-Webhooks/", env!("CARGO_PKG_VERSION")))
            // A redirect could lead inside, and a proxy would resolve names itself: both are off.
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(PublicResolver::new(lookup, allow_loopback))
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.total)
            // `X-Kayle-Signature` as published, for receivers that compare header names letter by letter.
            .http1_only()
            .http1_title_case_headers()
            .retry(reqwest::retry::never())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { http, allow_loopback })
    }

    /// One try: `jwe` to `url`, under the headers that name and sign it, at `now`.
    pub async fn send(&self, url: &str, headers: &WebhookHeaders, jwe: String, now: Timestamp) -> Answer {
        // A literal address never meets the resolver, so the text is checked at every try.
        let Ok(url) = webhook_url::check(url, self.allow_loopback) else {
            return Answer::Unreachable("url_rejected");
        };
        let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if literal.is_some_and(|address| !webhook_url::may_connect(address, self.allow_loopback)) {
            return Answer::Unreachable("url_rejected");
        }
        let request =
            headers.iter().fold(self.http.post(url).body(jwe), |request, (name, value)| request.header(name, value));
        match request.send().await {
            Err(error) => no_answer(&error),
            Ok(response) => {
                let status = response.status().as_u16();
                let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
                let asked = header(RETRY_AFTER).and_then(|value| retry_after(value, header(DATE), now));
                let _ = tokio::time::timeout(ANSWER_PATIENCE, read_away(response)).await;
                match status {
                    200..=299 => Answer::Delivered(status),
                    410 => Answer::Gone,
                    429 | 503 => Answer::Refused(status, asked),
                    _ => Answer::Refused(status, None),
                }
            }
        }
    }
}

/// Reads at most [`ANSWER_LIMIT`] bytes. The status has decided already: what goes wrong here changes nothing.
async fn read_away(response: reqwest::Response) {
    let mut body = response.bytes_stream();
    let mut read = 0;
    while let Some(Ok(chunk)) = body.next().await {
        read += chunk.len();
        if read >= ANSWER_LIMIT {
            break;
        }
    }
}

/// Fixed words for what went wrong: an error's own text may name addresses.
fn no_answer(error: &reqwest::Error) -> Answer {
    if error.is_builder() {
        return Answer::Unreachable("request_invalid");
    }
    if caused_by::<NotPublic>(error) {
        return Answer::Unreachable("address_not_public");
    }
    if error.is_connect() {
        let word = if caused_by::<rustls::Error>(error) {
            "tls_failed"
        } else if error.is_timeout() {
            "connect_timeout"
        } else {
            "connect_failed"
        };
        return Answer::Unreachable(word);
    }
    Answer::Unanswered(if error.is_timeout() { "timeout" } else { "connection_broken" })
}

/// Whether an error of type `E` is anywhere below. The transport wraps errors in `io::Error`, whose `source` skips what it holds.
fn caused_by<E: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<E>() || held.is_some_and(|held| caused_by::<E>(held)) || error.source().is_some_and(caused_by::<E>)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Redirect};
    use axum::routing::post;
    use proofmill_jose::SigningSecret;

    use crate::resolver::system_lookup;

    /// A receiver on loopback that counts what reaches it.
    async fn receiver() -> (SocketAddr, Arc<AtomicUsize>) {
        let hits = Arc::new(AtomicUsize::new(0));
        let counter = hits.clone();
        let hit = move || counter.fetch_add(1, Ordering::SeqCst);
        let app = Router::new()
            .route(
                "/ok",
                post({
                    let hit = hit.clone();
                    move || async move {
                        hit();
                        StatusCode::NO_CONTENT
                    }
                }),
            )
            .route("/gone", post(|| async { StatusCode::GONE }))
            .route(
                "/busy",
                post(|| async { (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "77")]).into_response() }),
            )
            .route(
                "/broken",
                post(|| async { (StatusCode::INTERNAL_SERVER_ERROR, [("retry-after", "77")]).into_response() }),
            )
            .route("/moved", post(|| async { Redirect::temporary("/ok") }))
            .route(
                "/endless",
                post(|| async {
                    axum::body::Body::from_stream(futures::stream::repeat_with(|| {
                        Ok::<_, std::io::Error>(vec![0_u8; 4096])
                    }))
                }),
            )
            .route(
                "/drip",
                post(|| async {
                    let first = futures::stream::once(async { Ok::<_, std::io::Error>(vec![b'.']) });
                    axum::body::Body::from_stream(first.chain(futures::stream::pending()))
                }),
            )
            .route("/hang", post(|| async { std::future::pending::<StatusCode>().await }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (address, hits)
    }

    fn client(lookup: Lookup, allow_loopback: bool) -> Client {
        let timeouts = Timeouts { connect: Duration::from_secs(2), total: Duration::from_millis(700) };
        Client::new(lookup, allow_loopback, timeouts).unwrap()
    }

    fn headers() -> WebhookHeaders {
        let secret = SigningSecret::parse("whsec_0123456789abcdefghijklmnopqrstuv").unwrap();
        WebhookHeaders::new(&[&secret], "whd_1", "evt_1", "verification.session.expired", 1, b"a.b.c.d.e")
    }

    async fn answer(client: &Client, url: &str) -> Answer {
        client.send(url, &headers(), "a.b.c.d.e".to_owned(), Timestamp::from_secs(1)).await
    }

    #[tokio::test]
    async fn each_answer_is_told_apart() {
        let (address, _) = receiver().await;
        let client = client(system_lookup(), true);
        let at = |path: &str| format!("http://{address}{path}");
        assert_eq!(answer(&client, &at("/ok")).await, Answer::Delivered(204));
        assert_eq!(answer(&client, &at("/gone")).await, Answer::Gone);
        assert_eq!(answer(&client, &at("/busy")).await, Answer::Refused(503, Some(Duration::from_secs(77))));
        assert_eq!(answer(&client, &at("/broken")).await, Answer::Refused(500, None));
        assert_eq!(answer(&client, &at("/endless")).await, Answer::Delivered(200));
        assert_eq!(answer(&client, &at("/hang")).await, Answer::Unanswered("timeout"));
    }

    #[tokio::test]
    async fn a_redirect_is_a_failure_and_is_not_followed() {
        let (address, hits) = receiver().await;
        let client = client(system_lookup(), true);
        assert_eq!(answer(&client, &format!("http://{address}/moved")).await, Answer::Refused(307, None));
        assert_eq!(hits.load(Ordering::SeqCst), 0);
    }

    /// A resolver under somebody else's control: each lookup gets the next answer, the last one for ever.
    fn hostile(answers: Vec<Vec<SocketAddr>>) -> (Lookup, Arc<AtomicUsize>) {
        let lookups = Arc::new(AtomicUsize::new(0));
        let counter = lookups.clone();
        let lookup: Lookup = Arc::new(move |_| {
            let turn = counter.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
            let answer = answers[turn].clone();
            Box::pin(async move { Ok(answer) })
        });
        (lookup, lookups)
    }

    #[tokio::test]
    async fn a_public_name_that_resolves_inside_is_not_connected_to() {
        for inside in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "168.63.129.16",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "::1",
            "::",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "2002:a00:1::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
        ] {
            let (lookup, lookups) = hostile(vec![vec![SocketAddr::new(inside.parse().unwrap(), 0)]]);
            let client = client(lookup, false);
            let answered = answer(&client, "https://hooks.example.com/ok").await;
            assert_eq!(answered, Answer::Unreachable("address_not_public"), "{inside}");
            assert_eq!(lookups.load(Ordering::SeqCst), 1);
        }
    }

    /// Rebinding: the name was public when the endpoint was made and when it was last looked up, and points inside now. Each
    /// connection is checked against the answer it is made with. The development switch makes loopback stand for "public"
    /// here, so that the first connection can stand.
    #[tokio::test]
    async fn a_name_that_is_pointed_inside_later_is_not_followed() {
        let (address, hits) = receiver().await;
        let inside = SocketAddr::new("10.0.0.1".parse().unwrap(), 0);
        let (lookup, lookups) = hostile(vec![vec![SocketAddr::new(address.ip(), 0)], vec![inside]]);
        let client = client(lookup, true);
        let url = format!("http://rebind.localhost:{}", address.port());
        // The answer is cut short, so the connection cannot be used again and the name is looked up anew.
        assert_eq!(answer(&client, &format!("{url}/endless")).await, Answer::Delivered(200));
        assert_eq!(answer(&client, &format!("{url}/ok")).await, Answer::Unreachable("address_not_public"));
        assert_eq!((lookups.load(Ordering::SeqCst), hits.load(Ordering::SeqCst)), (2, 0));
    }

    /// Of several addresses only the public ones are used; the others are not even tried when those fail.
    #[tokio::test]
    async fn of_mixed_addresses_only_the_public_ones_are_tried() {
        let (address, hits) = receiver().await;
        let inside = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let usable = SocketAddr::new(address.ip(), 0);
        let (lookup, _) = hostile(vec![vec![inside("10.0.0.1"), usable, inside("fd00::1")]]);
        let url = format!("http://mixed.localhost:{}/ok", address.port());
        assert_eq!(answer(&client(lookup, true), &url).await, Answer::Delivered(204));
        assert_eq!(hits.load(Ordering::SeqCst), 1);
        // Without the switch, loopback is one more address inside, and nothing is left.
        let (lookup, _) = hostile(vec![vec![inside("10.0.0.1"), usable, inside("::1")]]);
        let strict = format!("https://mixed.example.com:{}/ok", address.port());
        assert_eq!(answer(&client(lookup, false), &strict).await, Answer::Unreachable("address_not_public"));
        assert_eq!(hits.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_unreachable() {
        let nothing: Lookup = Arc::new(|_| Box::pin(async { Err(std::io::Error::other("NXDOMAIN")) }));
        let answered = answer(&client(nothing, false), "https://hooks.example.com/ok").await;
        assert_eq!(answered, Answer::Unreachable("connect_failed"));
    }

    /// Answers with a status and no end.
    #[tokio::test]
    async fn an_answer_that_never_ends_is_told_by_its_status() {
        let (address, _) = receiver().await;
        let patient = Timeouts { connect: Duration::from_secs(2), total: Duration::from_secs(60) };
        let client = Client::new(system_lookup(), true, patient).unwrap();
        assert_eq!(answer(&client, &format!("http://{address}/drip")).await, Answer::Delivered(200));
    }

    /// The environment of a process cannot be changed safely, so the test runs itself again with another one.
    #[tokio::test]
    async fn a_proxy_of_the_environment_is_not_used() {
        const CHILD: &str = "PROOFMILL_TEST_PROXY_CHILD";
        if let Ok(url) = std::env::var(CHILD) {
            assert_eq!(answer(&client(system_lookup(), true), &url).await, Answer::Delivered(204));
            return;
        }
        let (address, hits) = receiver().await;
        let (proxy, proxied) = receiver().await;
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "client::tests::a_proxy_of_the_environment_is_not_used"]);
        child.env(CHILD, format!("http://{address}/ok")).env_remove("NO_PROXY").env_remove("no_proxy");
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            child.env(name, format!("http://{proxy}"));
        }
        let output = child.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!((hits.load(Ordering::SeqCst), proxied.load(Ordering::SeqCst)), (1, 0));
    }

    #[test]
    fn whoever_answers_is_well_and_overload_and_silence_are_not() {
        for well in [Answer::Delivered(200), Answer::Refused(302, None), Answer::Refused(404, None)] {
            assert_eq!(well.endpoint_well(), Some(true), "{well:?}");
        }
        let unwell = [408, 429, 500, 503].map(|status| Answer::Refused(status, None));
        for unwell in unwell.into_iter().chain([Answer::Unanswered("timeout"), Answer::Unreachable("connect_failed")]) {
            assert_eq!(unwell.endpoint_well(), Some(false), "{unwell:?}");
        }
        assert_eq!(Answer::Gone.endpoint_well(), None);
    }

    #[tokio::test]
    async fn literal_inside_addresses_and_closed_ports_are_unreachable() {
        let (address, hits) = receiver().await;
        let strict = client(system_lookup(), false);
        let answered = answer(&strict, &format!("https://127.0.0.1:{}/ok", address.port())).await;
        assert_eq!(answered, Answer::Unreachable("url_rejected"));
        assert_eq!(hits.load(Ordering::SeqCst), 0);
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let lenient = client(system_lookup(), true);
        assert_eq!(answer(&lenient, &format!("http://{closed}/")).await, Answer::Unreachable("connect_failed"));
        // Plain HTTP where TLS was asked for.
        assert_eq!(answer(&lenient, &format!("https://{address}/ok")).await, Answer::Unreachable("tls_failed"));
    }
}
