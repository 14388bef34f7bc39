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
    // A URL parser mends these silently, and what was stored would not be what is sent to.
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(reject("spaces, control characters and backslashes are not allowed"));
    }
    let url = Url::parse(text).map_err(|_| reject("not an absolute URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(reject("user name and password are not allowed"));
    }
    let host = url.host().ok_or_else(|| reject("has no host"))?;
    if url.port() == Some(0) {
        return Err(reject("port 0 cannot be connected to"));
    }
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

/// Where Azure's machines ask for their configuration and secrets: public space, in which nothing public answers.
const AZURE_WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0 // "this network"
        || a == 10
        || a == 127
        || (a == 100 && (64..128).contains(&b)) // carrier-grade NAT
        || (a == 169 && b == 254) // link-local, cloud metadata
        || ip == AZURE_WIRE_SERVER
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
    // 2000::/3 is the only global unicast space. Outside it lie loopback, unique local, link-local and multicast addresses,
    // and the forms that carry an IPv4 address: mapped and compatible (::/96, ::ffff:0:0/96), NAT64 (64:ff9b::/96, and
    // 64:ff9b:1::/48 for local use). Those are refused whatever they carry: who is allowed to translate, and to where, is
    // not ours to know.
    let global_unicast = (s[0] & 0xe000) == 0x2000;
    let special = match s[0] {
        // IETF protocol assignments, Teredo (2001::/32), ORCHID; documentation.
        0x2001 => s[1] < 0x200 || s[1] == 0xdb8,
        // 6to4 carries an IPv4 address.
        0x2002 => true,
        // Documentation.
        0x3fff => s[1] < 0x1000,
        _ => false,
    };
    // ISATAP (RFC 5214): an interface identifier that carries an IPv4 address.
    let isatap = (s[4] & 0xfdff) == 0 && s[5] == 0x5efe;
    global_unicast && !special && !isatap
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
            "https://example.com./",
            "https://EXAMPLE.com",
            "https://b\u{fc}cher.example/in",
            "https://xn--bcher-kva.example/in",
            "https://example.com/?to=http://127.0.0.1/#@10.0.0.1",
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
            // Spellings of loopback: one number, octal, hexadecimal, short, trailing dot, percent-encoded, full-width digits.
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://%31%32%37.0.0.1/",
            "https://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
            "https://localhost./",
            "https://LOCALHOST/",
            "https://metadata.google.internal/",
            "https://printer.local./",
            // Not quite URLs.
            "https://example.com/ x",
            " https://example.com/",
            "https://exam\tple.com/",
            "https:\\\\example.com/",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://@example.com:80@10.0.0.1/",
            "javascript:alert(1)",
        ] {
            assert!(check(bad, false).is_err(), "{bad}");
        }
        assert!(check(&format!("https://example.com/{}", "a".repeat(2048)), false).is_err());
    }

    /// RFC 6890 and the IANA registries; each block by its first and last address where it has neighbours.
    #[test]
    fn special_purpose_addresses_are_not_connected_to() {
        for inside in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::a00:1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "2606:4700::5efe:10.0.0.1",
            "2606:4700::200:5efe:a00:1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
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
        assert!(!may_connect("::ffff:127.0.0.1".parse().unwrap(), true));
    }
}
