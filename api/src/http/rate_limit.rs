//! Token buckets, one per key and one per client address, per process.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use proofmill_contract::{ApiError, ApiKeyId, ErrorCode, Timestamp};

use super::error::Error;
use crate::state::Ctx;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Buckets kept per kind. A full bucket is forgotten first; beyond that the map stops growing, so that a flood of
/// addresses costs bounded memory.
const MAX_BUCKETS: usize = 65_536;

/// A quota: `burst` requests at once, refilled over `window_s` seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// Requests.
    pub burst: u32,
    /// Seconds in which an empty bucket fills up.
    pub window_s: u32,
}

/// All buckets of the process.
pub struct Limits {
    keys: Buckets<ApiKeyId>,
    addresses: Buckets<IpAddr>,
}

impl Limits {
    /// Limits with these quotas.
    pub fn new(per_key: Quota, per_address: Quota) -> Self {
        Self { keys: Buckets::new("key", per_key), addresses: Buckets::new("address", per_address) }
    }

    /// Takes one token of a key.
    pub fn key(&self, key: &ApiKeyId, now: Timestamp) -> Verdict {
        self.keys.take(key.clone(), now)
    }

    /// Takes one token of a client address. An IPv6 client owns its whole /64.
    pub fn address(&self, address: IpAddr, now: Timestamp) -> Verdict {
        let owner = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(v4) => IpAddr::V4(v4),
                None => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
            },
        };
        self.addresses.take(owner, now)
    }
}

/// What a bucket said.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// Whether the request may go on.
    pub allowed: bool,
    name: &'static str,
    quota: Quota,
    remaining: u32,
    /// Seconds until the bucket is full, and until it holds one token.
    full_in_s: u32,
    next_in_s: u32,
}

impl Verdict {
    /// 429.
    pub fn error(&self) -> Error {
        ApiError::new(ErrorCode::RateLimited, format!("too many requests for this {}", self.name))
            .with_retry_after(self.next_in_s.max(1))
            .into()
    }

    /// Writes `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).
    pub fn stamp(&self, mut response: Response) -> Response {
        let policy = format!("\"{}\";q={};w={}", self.name, self.quota.burst, self.quota.window_s);
        let limit = format!("\"{}\";r={};t={}", self.name, self.remaining, self.full_in_s);
        for (name, text) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, limit)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// Middleware of public routes.
pub async fn by_address(State(ctx): State<Ctx>, request: Request, next: Next) -> Response {
    let verdict = ctx.limits.address(client_address(&ctx, &request), ctx.clock.now());
    let response = if verdict.allowed { next.run(request).await } else { verdict.error().into_response() };
    verdict.stamp(response)
}

/// The client's address. `X-Forwarded-For` is believed only as far as the operator says that proxies of their own
/// append to it: anything left of that was written by the client.
pub fn client_address(ctx: &Ctx, request: &Request) -> IpAddr {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip());
    let Some(hop) = ctx.config.trusted_proxies.checked_sub(1) else {
        return peer;
    };
    request
        .headers()
        .get_all(HeaderName::from_static("x-forwarded-for"))
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .nth(hop)
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(peer)
}

struct Buckets<K> {
    name: &'static str,
    quota: Quota,
    map: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(name: &'static str, quota: Quota) -> Self {
        let quota = Quota { burst: quota.burst.max(1), window_s: quota.window_s.max(1) };
        Self { name, quota, map: Mutex::new(HashMap::new()) }
    }

    fn take(&self, key: K, now: Timestamp) -> Verdict {
        let full = f64::from(self.quota.burst);
        let per_second = full / f64::from(self.quota.window_s);
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MAX_BUCKETS && !map.contains_key(&key) {
            map.retain(|_, bucket| refilled(*bucket, now, per_second, full) < full);
            if map.len() >= MAX_BUCKETS {
                map.clear();
            }
        }
        let bucket = map.entry(key).or_insert(Bucket { tokens: full, at: now });
        let mut tokens = refilled(*bucket, now, per_second, full);
        let allowed = tokens >= 1.0;
        if allowed {
            tokens -= 1.0;
        }
        *bucket = Bucket { tokens, at: now.max(bucket.at) };
        Verdict {
            allowed,
            name: self.name,
            quota: self.quota,
            remaining: tokens as u32,
            full_in_s: ((full - tokens) / per_second).ceil() as u32,
            next_in_s: ((1.0 - tokens).max(0.0) / per_second).ceil() as u32,
        }
    }
}

fn refilled(bucket: Bucket, now: Timestamp, per_second: f64, full: f64) -> f64 {
    (bucket.tokens + now.since(bucket.at).as_secs_f64() * per_second).min(full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_empties_and_refills_with_time() {
        let limits = Limits::new(Quota { burst: 2, window_s: 10 }, Quota { burst: 2, window_s: 10 });
        let (address, now) = ("203.0.113.9".parse().unwrap(), Timestamp::from_secs(1_000));
        assert!(limits.address(address, now).allowed);
        assert!(limits.address(address, now).allowed);
        let refused = limits.address(address, now);
        assert!(!refused.allowed);
        assert_eq!((refused.remaining, refused.next_in_s, refused.full_in_s), (0, 5, 10));
        assert!(!limits.address(address, now.plus(Duration::from_secs(4))).allowed);
        assert!(limits.address(address, now.plus(Duration::from_secs(5))).allowed);
        assert!(limits.address("203.0.113.10".parse().unwrap(), now).allowed, "neighbours are not charged");
    }

    #[test]
    fn an_ipv6_client_cannot_hop_inside_its_prefix() {
        let limits = Limits::new(Quota { burst: 1, window_s: 10 }, Quota { burst: 1, window_s: 10 });
        let now = Timestamp::from_secs(1_000);
        assert!(limits.address("2001:db8:1:2::1".parse().unwrap(), now).allowed);
        assert!(!limits.address("2001:db8:1:2:ffff::9".parse().unwrap(), now).allowed);
        assert!(limits.address("2001:db8:1:3::1".parse().unwrap(), now).allowed);
        assert!(limits.address("192.0.2.1".parse().unwrap(), now).allowed);
        assert!(!limits.address("::ffff:192.0.2.1".parse().unwrap(), now).allowed);
    }

    #[test]
    fn a_flood_of_addresses_costs_bounded_memory() {
        let limits = Limits::new(Quota { burst: 1, window_s: 10 }, Quota { burst: 1, window_s: 10 });
        let now = Timestamp::from_secs(1_000);
        for n in 0..(MAX_BUCKETS as u32 + 10) {
            limits.address(IpAddr::V4(n.into()), now);
        }
        assert!(limits.addresses.map.lock().unwrap().len() <= MAX_BUCKETS);
    }
}
