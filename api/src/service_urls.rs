//! The forms of the URLs that name other services. They hold passwords: no message repeats a part of them.

use proofmill_queue::RabbitConfig;

/// Where PostgreSQL is, in the forms that libpq reads (several hosts, a socket's directory in the query).
///
/// # Errors
/// Which form it has.
pub(crate) fn database_url(text: &str) -> Result<String, String> {
    let expected = || {
        "expected postgres://USER:PASSWORD@HOST:PORT/DATABASE, percent-encoded, with a port from 1 to 65535".to_owned()
    };
    let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let rest = rest.filter(|rest| !rest.is_empty()).ok_or_else(expected)?;
    let graphic = rest.bytes().all(|byte| byte > b' ' && byte != 0x7f);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    if graphic && hosts.split(',').all(is_host) { Ok(text.to_owned()) } else { Err(expected()) }
}

/// Where RabbitMQ is.
///
/// # Errors
/// Which form it has.
pub(crate) fn amqp_uri(text: &str) -> Result<String, String> {
    let config = RabbitConfig::new(text, "check");
    let known = text.starts_with("amqp://") || text.starts_with("amqps://");
    if known && config.check().is_ok() {
        return Ok(text.to_owned());
    }
    Err("expected amqp://USER:PASSWORD@HOST:PORT/VHOST, percent-encoded; amqps:// for TLS".to_owned())
}

/// `HOST`, `HOST:PORT`, `[IPV6]:PORT` or nothing, which is the local socket.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((host, port)) = rest.split_once(']') else { return false };
            if host.parse::<std::net::Ipv6Addr>().is_err() || !(port.is_empty() || port.starts_with(':')) {
                return false;
            }
            ("", port.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0);
    !host.contains(['@', ':', '[', ']']) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_of_the_service_is_told_the_form_and_no_password() {
        for good in [
            "postgres://u:p@h/db",
            "postgresql://h",
            "postgres://u@h:5432/db?sslmode=require",
            "postgres:///db?host=/run/postgresql",
            "postgres://u@/db?host=/tmp/socket",
            "postgres://a:1,b:2/db",
            "postgres://u:p@[::1]:5432/db",
        ] {
            assert_eq!(database_url(good).as_deref(), Ok(good));
        }
        for bad in [
            "mysql://u:hunter2@h/db",
            "foo",
            "",
            "postgres://",
            "postgres:h",
            "sqlite:hunter2",
            "postgres://u:hunter2@h:99999/db",
            "postgres://u:hunter2@h:0/db",
            "postgres://u:hunter2@h:x/db",
            "postgres://u:hunter2@h /db",
            "postgres://[::1/db",
        ] {
            let told = database_url(bad).unwrap_err();
            assert!(told.starts_with("expected postgres://") && !told.contains("hunter2"), "{bad}: {told}");
        }
        for good in ["amqp://localhost", "amqp://u:p@h:5672/vhost", "amqps://u:p@h/%2f"] {
            assert_eq!(amqp_uri(good).as_deref(), Ok(good));
        }
        for bad in ["http://x", "foo", "", "amqp://u:hunter2@h:99999", "ampq://u:hunter2@h"] {
            let told = amqp_uri(bad).unwrap_err();
            assert!(told.starts_with("expected amqp://") && !told.contains("hunter2"), "{bad}: {told}");
        }
    }
}
