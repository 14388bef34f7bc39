//! Name resolution that hands out public addresses only.
//!
//! The check sits inside the resolver because nothing lies between it and the connect: a name that resolved to a public
//! address when the endpoint was made and to 169.254.169.254 now (DNS rebinding) finds no way through.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use proofmill_contract::webhook_url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

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

/// Lookups at once. The system's resolver blocks a thread for each, and a name server that does not answer does so
/// for longer than a try takes: the threads are the store's too.
const LOOKUPS: usize = 128;

/// An answer that those who asked at the same time share.
type Found = Shared<BoxFuture<'static, Result<Vec<SocketAddr>, Arc<std::io::Error>>>>;

/// Filters what a lookup returns. Of each host one lookup is under way at a time, so that a host whose name server hangs
/// costs one thread and not one per delivery; a finished one is used by those who waited for it and by nobody later.
pub struct PublicResolver {
    lookup: Lookup,
    allow_loopback: bool,
    room: Arc<Semaphore>,
    under_way: Arc<Mutex<HashMap<String, Found>>>,
}

impl PublicResolver {
    /// A resolver over `lookup`; loopback only under the development switch.
    pub fn new(lookup: Lookup, allow_loopback: bool) -> Self {
        Self { lookup, allow_loopback, room: Arc::new(Semaphore::new(LOOKUPS)), under_way: Arc::default() }
    }

    fn found(&self, host: &str) -> Found {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = under_way.get(host) {
            return found.clone();
        }
        let (lookup, room, finished) = (self.lookup.clone(), self.room.clone(), self.under_way.clone());
        let name = host.to_owned();
        // A task of its own: whoever asked may give up, and what nobody waits for must not stay to be found later.
        let task = tokio::spawn(async move {
            let _permit = room.acquire_owned().await;
            let found = lookup(name.clone()).await.map_err(Arc::new);
            finished.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            found
        });
        let lost = |error| Arc::new(std::io::Error::other(error));
        let found = task.map(move |found| found.map_err(lost).flatten()).boxed().shared();
        under_way.insert(host.to_owned(), found.clone());
        found
    }
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, allow_loopback) = (self.found(name.as_str()), self.allow_loopback);
        Box::pin(async move {
            let found = found.await.map_err(|error| std::io::Error::new(error.kind(), error.to_string()))?;
            let addresses: Vec<SocketAddr> =
                found.into_iter().filter(|address| webhook_url::may_connect(address.ip(), allow_loopback)).collect();
            if addresses.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn those_who_ask_for_a_host_at_once_share_one_lookup_and_nobody_later_does() {
        let (lookups, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (counter, gate) = (lookups.clone(), answers.clone());
        let lookup: Lookup = Arc::new(move |host| {
            counter.fetch_add(1, Ordering::SeqCst);
            let gate = gate.clone();
            Box::pin(async move {
                gate.acquire_owned().await.unwrap().forget();
                let last = if host == "one.example.com" { 1 } else { 2 };
                Ok(vec![SocketAddr::from(([93, 184, 216, last], 0))])
            })
        });
        let resolver = PublicResolver::new(lookup, false);
        let ask = |host: &str| resolver.resolve(host.parse().unwrap());
        let asked = [ask("one.example.com"), ask("one.example.com"), ask("two.example.com"), ask("one.example.com")];
        answers.add_permits(2);
        let found = futures::future::join_all(asked).await;
        let last = |found: Addrs| found.map(|address| address.to_string()).collect::<Vec<_>>();
        let found: Vec<_> = found.into_iter().map(|found| last(found.unwrap())).collect();
        assert_eq!(found[0], ["93.184.216.1:0"]);
        assert_eq!((&found[1], &found[3]), (&found[0], &found[0]));
        assert_eq!(found[2], ["93.184.216.2:0"]);
        assert_eq!(lookups.load(Ordering::SeqCst), 2);
        let again = ask("one.example.com");
        answers.add_permits(1);
        assert!(again.await.is_ok());
        assert_eq!(lookups.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_lookup_that_nobody_waits_for_any_more_is_not_found_later() {
        let (lookups, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (counter, gate) = (lookups.clone(), answers.clone());
        let lookup: Lookup = Arc::new(move |_| {
            let turn = u8::try_from(counter.fetch_add(1, Ordering::SeqCst)).unwrap();
            let gate = gate.clone();
            Box::pin(async move {
                gate.acquire_owned().await.unwrap().forget();
                Ok(vec![SocketAddr::from(([93, 184, 216, turn], 0))])
            })
        });
        let resolver = PublicResolver::new(lookup, false);
        drop(resolver.resolve("one.example.com".parse().unwrap()));
        answers.add_permits(1);
        while !resolver.under_way.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        answers.add_permits(1);
        let mut found = resolver.resolve("one.example.com".parse().unwrap()).await.unwrap();
        assert_eq!(found.next().unwrap().to_string(), "93.184.216.1:0");
    }
}
