//! Who may come in: connections are counted, all together and by address, so that no address keeps the others out. Where
//! there is no place, the connection that has been idle the longest gives its own up.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Counts connections.
#[derive(Debug)]
pub(super) struct Door {
    most: usize,
    share: usize,
    inside: Mutex<Inside>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    /// By their numbers: who came first comes first.
    guests: BTreeMap<u64, Arc<Guest>>,
    next: u64,
}

/// A connection.
#[derive(Debug)]
struct Guest {
    address: IpAddr,
    /// Requests in flight.
    busy: AtomicUsize,
    cut: Notify,
}

/// A connection's place; dropping it gives the place up.
#[derive(Debug)]
pub(super) struct Place {
    door: Arc<Door>,
    number: u64,
    guest: Arc<Guest>,
}

/// What became of a connection at the door.
#[derive(Debug)]
pub(super) enum Admission {
    /// It has a place.
    Welcome(Place),
    /// Its address has all the places of its share, and a request is in flight on each.
    ShareTaken,
    /// Everything is full and busy.
    Full,
}

impl Door {
    /// For `most` connections in all; an address gets at most a quarter of them.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let most = most.max(1);
        let inside = Mutex::default();
        Arc::new(Self { most, share: most.div_ceil(4), inside, left: Notify::new() })
    }

    pub(super) fn admit(self: &Arc<Self>, peer: SocketAddr) -> Admission {
        let address = network(peer.ip());
        let mut inside = self.inside();
        let of_it = |g: &Guest| g.address == address;
        if inside.guests.values().filter(|g| of_it(g)).count() >= self.share && !inside.cut_idle(of_it) {
            return Admission::ShareTaken;
        }
        if inside.guests.len() >= self.most && !inside.cut_idle(|_| true) {
            return Admission::Full;
        }
        let guest = Arc::new(Guest { address, busy: AtomicUsize::new(0), cut: Notify::new() });
        let number = inside.next;
        inside.next += 1;
        inside.guests.insert(number, Arc::clone(&guest));
        Admission::Welcome(Place { door: Arc::clone(self), number, guest })
    }

    /// Waits until somebody has left, or a request has ended, since the last time that it was asked.
    pub(super) async fn left(&self) {
        self.left.notified().await;
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Cuts the oldest connection of these on which nothing is in flight.
    fn cut_idle(&mut self, of_these: impl Fn(&Guest) -> bool) -> bool {
        let idle = |g: &Guest| of_these(g) && g.busy.load(Ordering::Relaxed) == 0;
        let oldest = self.guests.iter().find(|(_, g)| idle(g)).map(|(number, _)| *number);
        let cut = oldest.and_then(|number| self.guests.remove(&number));
        if let Some(guest) = &cut {
            guest.cut.notify_one();
        }
        cut.is_some()
    }
}

impl Place {
    /// Waits until the place is needed for somebody else.
    pub(super) async fn cut(&self) {
        self.guest.cut.notified().await;
    }

    /// For what marks requests in flight.
    pub(super) fn marker(&self) -> Marker {
        Marker { door: Arc::clone(&self.door), guest: Arc::clone(&self.guest) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.inside().guests.remove(&self.number);
        self.door.left.notify_one();
    }
}

/// Marks a connection's requests in flight.
#[derive(Clone, Debug)]
pub(super) struct Marker {
    door: Arc<Door>,
    guest: Arc<Guest>,
}

impl Marker {
    /// A request is in flight until the value is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.guest.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }
}

/// A request in flight: its connection is not idle.
#[derive(Debug)]
pub(super) struct Busy(Marker);

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.guest.busy.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.door.left.notify_one();
        }
    }
}

/// Whose share an address counts on: IPv6 gives everyone a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(door: &Arc<Door>, address: &str) -> Option<Place> {
        match door.admit(SocketAddr::new(address.parse().unwrap(), 1)) {
            Admission::Welcome(place) => Some(place),
            Admission::ShareTaken | Admission::Full => None,
        }
    }

    fn is_cut(place: &Place) -> bool {
        !place.door.inside().guests.contains_key(&place.number)
    }

    #[test]
    fn an_address_has_a_quarter_and_its_oldest_idle_connection_goes_first() {
        let door = Door::new(8);
        let first = enter(&door, "192.0.2.1").unwrap();
        let second = enter(&door, "192.0.2.1").unwrap();
        let busy = first.marker().busy();
        let third = enter(&door, "192.0.2.1").unwrap();
        assert!(!is_cut(&first) && is_cut(&second) && !is_cut(&third));
        let also = third.marker().busy();
        assert!(matches!(
            door.admit(SocketAddr::new("::ffff:192.0.2.1".parse().unwrap(), 1)),
            Admission::ShareTaken
        ));
        assert!(enter(&door, "192.0.2.2").is_some(), "others come in");
        drop(also);
        assert!(enter(&door, "192.0.2.1").is_some() && is_cut(&third));
        drop(busy);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let door = Door::new(4);
        let first = enter(&door, "2001:db8::1").unwrap();
        let _second = enter(&door, "2001:db8::2:1").unwrap();
        assert!(is_cut(&first));
        assert!(enter(&door, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn a_full_house_lets_the_idle_go_and_then_nobody_in() {
        let door = Door::new(2);
        let idle = enter(&door, "192.0.2.1").unwrap();
        let other = enter(&door, "192.0.2.2").unwrap();
        let marks = [idle.marker().busy(), other.marker().busy()];
        assert!(matches!(door.admit(SocketAddr::new("192.0.2.3".parse().unwrap(), 1)), Admission::Full));
        drop(marks);
        let _third = enter(&door, "192.0.2.3").unwrap();
        assert!(is_cut(&idle) && !is_cut(&other));
        drop(other);
        assert_eq!(door.inside().guests.len(), 1);
    }
}
