//! Name resolution that hands out public addresses only.
//!
//! The check sits inside the resolver because nothing lies between it and the connect: a name that resolved to a public
//! address when the endpoint was made and to 169.254.169.254 now (DNS rebinding) finds no way through.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use proofmill_contract::webhook_url::may_connect;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Looks a host up: name to addresses.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The system's resolver.
pub fn system_lookup() -> Lookup {
    Arc::new(|host| Box::pin(async move { Ok(tokio::net::lookup_host((host.as_str(), 0)).await?.collect()) }))
}

/// A host whose addresses are all inside.
#[derive(Debug, thiserror::Error)]
#[error("the host resolves to no public address")]
pub struct NotPublic;

/// Filters what a lookup returns.
pub struct PublicResolver {
    lookup: Lookup,
    allow_loopback: bool,
}

impl PublicResolver {
    /// A resolver over `lookup`; loopback only under the development switch.
    pub fn new(lookup: Lookup, allow_loopback: bool) -> Self {
        Self { lookup, allow_loopback }
    }
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, allow_loopback) = ((self.lookup)(name.as_str().to_owned()), self.allow_loopback);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> =
                found.await?.into_iter().filter(|address| may_connect(address.ip(), allow_loopback)).collect();
            if addresses.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
