//! Where a webhook may go: https to a public host. The text is checked when an endpoint is made, the resolved
//! addresses again at connect time, so that a name cannot be pointed inside in between (DNS rebinding).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::errors::{ApiError, ErrorCode};
use crate::limits::MAX_URL_BYTES;

/// Reads a webhook URL.
///
/// `allow_loopback` is the development switch: it lets `http` and loopback addresses through, nothing else.
///
/// # Errors
/// `WEBHOOK_URL_REJECTED`, saying which rule.
pub fn check(text: &str, allow_loopback: bool) -> Result<Url, ApiError> {
    let reject = |why: &str| ApiError::new(ErrorCode::WebhookUrlRejected, format!("field `url`: {why}"));
    if text.len() > MAX_URL_BYTES {
        return Err(reject("longer than 2048 bytes"));
    }
    let url = Url::parse(text).map_err(|_| reject("not an absolute URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(reject("user name and password are not allowed"));
    }
    let host = url.host().ok_or_else(|| reject("has no host"))?;
    let loopback = match &host {
        Host::Domain(name) => is_localhost(name),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    };
    match url.scheme() {
        "https" => {}
        "http" if allow_loopback && loopback => {}
        _ => return Err(reject("must begin with https://")),
    }
    let public = match &host {
        Host::Domain(name) => !is_localhost(name) && is_public_name(name),
        Host::Ipv4(ip) => is_public(IpAddr::V4(*ip)),
        Host::Ipv6(ip) => is_public(IpAddr::V6(*ip)),
    };
    if public || (allow_loopback && loopback) { Ok(url) } else { Err(reject("the host is not public")) }
}

/// Whether a resolved address may be connected to.
pub fn may_connect(address: IpAddr, allow_loopback: bool) -> bool {
    is_public(address) || (allow_loopback && address.is_loopback())
}

/// Whether an address is globally reachable unicast (IANA special-purpose registries, RFC 6890 and successors).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0 // "this network"
        || a == 10
        || a == 127
        || (a == 100 && (64..128).contains(&b)) // carrier-grade NAT
        || (a == 169 && b == 254) // link-local, cloud metadata
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && (c == 0 || c == 2)) // protocol assignments, documentation
        || (a == 192 && b == 88 && c == 99) // 6to4 relay anycast
        || (a == 198 && (b == 18 || b == 19)) // benchmarking
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        || a >= 224) // multicast, reserved, broadcast
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    // An IPv6 form that carries an IPv4 address is judged by what it carries: otherwise ::ffff:127.0.0.1,
    // 64:ff9b::7f00:1 or 2002:7f00:1:: would be a way in.
    let carried = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    if s[..5] == [0; 5] && s[5] == 0xffff {
        return is_public_v4(carried(s[6], s[7])); // IPv4-mapped
    }
    if s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_public_v4(carried(s[6], s[7])); // NAT64 well-known prefix
    }
    if s[0] == 0x2002 {
        return is_public_v4(carried(s[1], s[2])); // 6to4
    }
    let global_unicast = (s[0] & 0xe000) == 0x2000; // 2000::/3, the only global unicast space
    let special = match s[0] {
        // IETF protocol assignments, Teredo, ORCHID; documentation.
        0x2001 => s[1] < 0x200 || s[1] == 0xdb8,
        // Documentation.
        0x3fff => s[1] < 0x1000,
        _ => false,
    };
    global_unicast && !special
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

/// A name that can only be internal: no dot, or a suffix reserved for private use.
fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let private = [".local", ".internal", ".home.arpa", ".lan", ".intranet", ".corp", ".onion"];
    name.contains('.') && !private.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_to_public_hosts_passes() {
        for good in [
            "https://hooks.example.com/x",
            "https://93.184.216.34/",
            "https://[2606:4700::1111]/",
            "https://example.com:8443/",
        ] {
            assert!(check(good, false).is_ok(), "{good}");
        }
        for bad in [
            "http://hooks.example.com/",
            "ftp://example.com/",
            "https://user@example.com/",
            "https://u:p@example.com/",
            "example.com",
            "https://",
            "https://localhost/",
            "https://x.localhost/",
            "https://intranet/",
            "https://a.internal/",
            "https://127.0.0.1/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://017700000001/",
            "https://10.1.2.3/",
            "https://169.254.169.254/latest",
            "https://100.64.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://0.0.0.0/",
            "https://224.0.0.1/",
            "http://127.0.0.1/",
        ] {
            assert!(check(bad, false).is_err(), "{bad}");
        }
        assert!(check(&format!("https://example.com/{}", "a".repeat(2048)), false).is_err());
    }

    #[test]
    fn the_development_switch_opens_loopback_and_nothing_else() {
        assert!(check("http://127.0.0.1:9000/hook", true).is_ok());
        assert!(check("http://localhost:9000/hook", true).is_ok());
        assert!(check("http://10.0.0.1/", true).is_err());
        assert!(check("http://example.com/", true).is_err());
        assert!(may_connect("127.0.0.1".parse().unwrap(), true));
        assert!(!may_connect("127.0.0.1".parse().unwrap(), false));
        assert!(!may_connect("192.168.1.1".parse().unwrap(), true));
    }
}
