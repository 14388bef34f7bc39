//! Addresses on the command line, with one message for all that is wrong with them.

use std::net::SocketAddr;

/// A parser of the address and port of a listener, for `value_parser`.
///
/// # Errors
/// Which form it has.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}
