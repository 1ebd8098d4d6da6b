//! How many connections each address holds open, so that one client cannot take them all.
//!
//! An IPv6 customer owns a /64 at least; counting single addresses there would count nothing.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;

/// The count of open connections by address.
pub(super) struct Addresses {
    /// The most for one address; 0 for no limit.
    limit: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One counted connection; given back when dropped.
pub(super) struct Slot {
    addresses: Arc<Addresses>,
    key: IpAddr,
}

impl Addresses {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            open: Mutex::new(HashMap::new()),
        })
    }

    /// Counts a connection in; `None` when the address has its fill.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let key = network(address);
        let mut open = self.open.lock();
        let count = open.entry(key).or_default();
        if self.limit != 0 && *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Slot {
            addresses: Arc::clone(self),
            key,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock();
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

/// What is counted as one: an IPv4 address, an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_with_its_fill_waits_for_one_to_close() {
        let addresses = Addresses::new(2);
        let first = addresses.enter(ip("192.0.2.1"));
        let second = addresses.enter(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(addresses.enter(ip("192.0.2.1")).is_none());
        assert!(addresses.enter(ip("192.0.2.2")).is_some());
        drop(first);
        assert!(addresses.enter(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_together_and_nothing_is_left_behind() {
        let addresses = Addresses::new(1);
        let held = addresses.enter(ip("2001:db8::1"));
        assert!(addresses.enter(ip("2001:db8::ffff:2")).is_none());
        assert!(addresses.enter(ip("2001:db8:0:1::1")).is_some());
        drop(held);
        assert!(addresses.open.lock().is_empty());
    }
}
