//! How many connections there are: in all, and from one address. Nothing is written here; who accepts asks, and holds
//! what it gets as long as the connection lasts. How many there may be, it says each time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Busy;
use crate::config::Limits;
use crate::metrics::{self, Metrics};

/// How many connections that are one too many are told so at once. A further one is closed as it stands, so that a flood
/// of them costs no more than accepting it.
const REFUSALS: usize = 64;

/// The connections that there are.
pub(super) struct Admission {
    places: Arc<AtomicUsize>,
    refusals: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    metrics: Arc<Metrics>,
}

/// What a new connection gets.
pub(super) enum Ticket {
    /// It is served.
    Place(Place),
    /// It is told why it is not.
    Refusal(Refusal),
}

/// One connection among those that there may be, until it is dropped.
pub(super) struct Place {
    _taken: Taken,
    /// None for one of a proxy that is trusted, which many clients share.
    _counted: Option<Counted>,
}

/// The right to tell a connection why it is not served.
pub(super) struct Refusal {
    _permit: OwnedSemaphorePermit,
    pub(super) reason: Reason,
}

/// Why a connection is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    /// There are as many as there may be.
    #[error("there are as many connections as there may be (limits.connections)")]
    Full,
    /// The same of those from its address.
    #[error(
        "there are as many connections from there as there may be (limits.connections-per-address)"
    )]
    TooMany,
}

/// What a connection holds as long as it lasts, as a socket too.
pub(super) struct Held {
    /// A server that stops waits for it.
    pub(super) busy: Busy,
    pub(super) _place: Place,
    /// For one that has come by a proxy which said whose it is.
    pub(super) _counted: Option<Counted>,
}

impl Admission {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            places: Arc::default(),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            addresses: Arc::default(),
            metrics,
        }
    }

    /// What a connection gets that has just come from an address, or, with none, from one that is not counted; nothing
    /// when it is to be closed as it stands.
    pub(super) fn ticket(&self, address: Option<IpAddr>, limits: &Limits) -> Option<Ticket> {
        let reason = match self.place(address, limits) {
            Ok(place) => return Some(Ticket::Place(place)),
            Err(reason) => reason,
        };
        let permit = self.refusals.clone().try_acquire_owned().ok()?;
        Some(Ticket::Refusal(Refusal {
            _permit: permit,
            reason,
        }))
    }

    fn place(&self, address: Option<IpAddr>, limits: &Limits) -> Result<Place, Reason> {
        let taken = Taken::one_of(&self.places, limits.connections);
        let counted = |address| self.count(address, limits);
        Ok(Place {
            _taken: taken.ok_or_else(|| self.refused(Reason::Full))?,
            _counted: address.map(counted).transpose()?,
        })
    }

    /// Counts one more connection from an address, for as long as what is returned is held.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(super) fn count(&self, address: IpAddr, limits: &Limits) -> Result<Counted, Reason> {
        let most = limits.connections_per_address;
        let counted = self.addresses.count(address, most);
        counted.map_err(|reason| self.refused(reason))
    }

    fn refused(&self, reason: Reason) -> Reason {
        self.metrics.refused(match reason {
            Reason::Full => metrics::Refusal::Full,
            Reason::TooMany => metrics::Refusal::Address,
        });
        reason
    }
}

/// One of so many, until it is dropped.
struct Taken(Arc<AtomicUsize>);

impl Taken {
    /// One more; none when there are as many as there may be.
    fn one_of(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let relaxed = Ordering::Relaxed;
        let more = |taken: usize| (taken < most).then_some(taken + 1);
        let counted = taken.try_update(relaxed, relaxed, more);
        counted.is_ok().then(|| Self(taken.clone()))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open connections by the networks that they come from. One that has none takes no memory.
#[derive(Default)]
struct Addresses {
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Addresses {
    fn count(self: &Arc<Self>, address: IpAddr, most: usize) -> Result<Counted, Reason> {
        let network = network(address);
        let mut open = self.open();
        let count = open.get(&network).copied().unwrap_or_default();
        if count >= most {
            return Err(Reason::TooMany);
        }
        open.insert(network, count + 1);
        Ok(Counted {
            addresses: self.clone(),
            network,
        })
    }

    // Each change is complete before anything could panic.
    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection among those of its network, until it is dropped.
pub(super) struct Counted {
    addresses: Arc<Addresses>,
    network: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.addresses.open();
        if let Entry::Occupied(mut count) = open.entry(self.network) {
            match *count.get() {
                0 | 1 => _ = count.remove(),
                more => _ = count.insert(more - 1),
            }
        }
    }
}

/// The addresses that are counted as one: an IPv4 address, or all IPv6 addresses with the same first 64 bits. One client
/// has at least so many of the latter and can take another for each connection.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, connections_per_address: usize) -> (Admission, Limits) {
        let limits = Limits {
            connections,
            connections_per_address,
            ..Limits::default()
        };
        (Admission::new(Arc::default()), limits)
    }

    #[test]
    fn there_are_as_many_connections_as_allowed_and_then_refusals() {
        let (admission, limits) = admission(2, 1);
        let mut places: Vec<_> = (0..2).map(|_| admission.ticket(None, &limits)).collect();
        assert!(places.iter().all(|it| matches!(it, Some(Ticket::Place(_)))));
        let is_full = |it: &Option<Ticket>| matches!(it, Some(Ticket::Refusal(refusal)) if refusal.reason == Reason::Full);
        let refusals: Vec<_> = (0..REFUSALS)
            .map(|_| admission.ticket(None, &limits))
            .collect();
        assert!(refusals.iter().all(is_full));
        assert!(admission.ticket(None, &limits).is_none());
        places.pop();
        assert!(matches!(
            admission.ticket(None, &limits),
            Some(Ticket::Place(_))
        ));
    }

    #[test]
    fn when_there_may_be_fewer_nobody_goes_and_nobody_comes() {
        let (admission, limits) = admission(2, 100);
        let fewer = Limits {
            connections: 1,
            ..limits.clone()
        };
        let places = [(); 2].map(|()| admission.ticket(None, &limits));
        let comes = || matches!(admission.ticket(None, &fewer), Some(Ticket::Place(_)));
        assert!(!comes());
        let [one, two] = places;
        drop(one);
        assert!(!comes());
        drop(two);
        assert!(comes());
    }

    #[test]
    fn one_that_is_refused_takes_no_place() {
        let (admission, limits) = admission(2, 1);
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        let _place = admission.ticket(address, &limits);
        for _ in 0..2 {
            let ticket = admission.ticket(address, &limits);
            assert!(matches!(ticket, Some(Ticket::Refusal(it)) if it.reason == Reason::TooMany));
        }
        assert!(matches!(
            admission.ticket(None, &limits),
            Some(Ticket::Place(_))
        ));
    }

    #[test]
    fn an_address_has_as_many_as_allowed_and_one_that_has_none_is_forgotten() {
        let (admission, limits) = admission(100, 2);
        let count = |address: &str| admission.count(address.parse().unwrap(), &limits);
        for (first, same, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8:0:1::1"),
        ] {
            let one = count(first).unwrap();
            let two = count(same).unwrap();
            assert!(matches!(count(first), Err(Reason::TooMany)));
            assert!(matches!(count(same), Err(Reason::TooMany)));
            let others = [count(other).unwrap(), count(other).unwrap()];
            drop(one);
            let three = count(same).unwrap();
            assert!(count(first).is_err());
            drop((two, three, others));
            assert!(admission.addresses.open().is_empty());
        }
    }
}
