//! The addresses of hosts by their names, with a bound on how many are looked up at once.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::Permit;

/// How many names are looked up at once, for all tenants. Each takes one of Tokio's 512 threads for what blocks, for half a
/// minute when no server of names answers, and the store, the operator and what is loaded need these threads too. A tenant
/// has a bound of its own, so that it takes several to keep others waiting.
const LOOKUPS: usize = 128;

/// Looks up names.
#[derive(Clone)]
pub(super) struct Lookups {
    free: Arc<Semaphore>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self::at_once(LOOKUPS)
    }
}

impl Lookups {
    fn at_once(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
        }
    }

    /// The addresses of a host. When the future is dropped, a lookup that has begun goes on, as nothing stops it, and
    /// counts until it has ended.
    pub(super) async fn find(
        &self,
        host: &str,
        port: u16,
        permit: Permit,
    ) -> io::Result<Vec<SocketAddr>> {
        let host = host.to_owned();
        let lookup = move || Ok((host.as_str(), port).to_socket_addrs()?.collect());
        self.run(lookup, permit).await
    }

    async fn run<T: Send + 'static>(
        &self,
        lookup: impl FnOnce() -> io::Result<T> + Send + 'static,
        permit: Permit,
    ) -> io::Result<T> {
        let own = permit.lookups.clone().acquire_owned().await;
        let own = own.map_err(io::Error::other)?;
        let place = self.free.clone().acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let running = spawn_blocking(move || {
            let _until_the_end = (place, own, permit);
            lookup()
        });
        running.await?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::sync::oneshot;
    use tokio::time::{sleep, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn permit(of: &Arc<Semaphore>) -> Permit {
        Permit {
            request: Arc::new(of.clone().acquire_owned().await.unwrap()),
            lookups: Arc::new(Semaphore::new(1)),
        }
    }

    #[tokio::test]
    async fn a_tenants_lookups_wait_for_its_own() {
        let lookups = Lookups::at_once(2);
        let requests = Arc::new(Semaphore::new(2));
        let first = permit(&requests).await;
        let busy = first.lookups.clone().acquire_owned().await.unwrap();
        assert!(lookups.run(|| Ok(()), first).now_or_never().is_none());
        let other = permit(&requests).await;
        let other = lookups.run(|| Ok(2), other);
        assert_eq!(timeout(PATIENCE, other).await.unwrap().unwrap(), 2);
        drop(busy);
    }

    #[tokio::test]
    async fn a_lookup_that_nobody_waits_for_counts_until_it_has_ended() {
        let (lookups, requests) = (Lookups::at_once(1), Arc::new(Semaphore::new(2)));
        let (began, begun) = oneshot::channel();
        let (answer, answered) = mpsc::channel();
        let looking = {
            let (lookups, permit) = (lookups.clone(), permit(&requests).await);
            let lookup = move || {
                began.send(()).unwrap();
                answered.recv().map_err(io::Error::other)
            };
            tokio::spawn(async move { lookups.run(lookup, permit).await })
        };
        timeout(PATIENCE, begun).await.unwrap().unwrap();
        looking.abort();
        assert!(looking.await.unwrap_err().is_cancelled());
        assert_eq!(requests.available_permits(), 1);

        // Who leaves before its lookup has begun counts no longer.
        let second = lookups.run(|| Ok(()), permit(&requests).await);
        assert!(second.now_or_never().is_none());
        assert_eq!(requests.available_permits(), 1);
        let mut third = Box::pin(lookups.run(|| Ok(3), permit(&requests).await));
        assert!((&mut third).now_or_never().is_none());

        answer.send(()).unwrap();
        assert_eq!(timeout(PATIENCE, third).await.unwrap().unwrap(), 3);
        let all_free = async {
            while requests.available_permits() < 2 || lookups.free.available_permits() < 1 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, all_free).await.unwrap();
    }
}
