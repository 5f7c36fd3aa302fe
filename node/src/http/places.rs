//! Who has a connection to the listener of probes. There are few places, and whoever reaches the
//! port can take any number: so each address has a few, and a new connection takes the place of
//! the oldest that has not asked for anything yet. A probe asks at once and is answered at once;
//! who is silent makes room for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::CONNECTIONS_MAX;

/// Connections of one address.
const OF_ADDRESS_MAX: usize = 4;
/// Whoever takes longer to receive an answer makes room, too.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// All open connections, by number: the least is the oldest.
#[derive(Debug, Default)]
struct Open {
    last: u64,
    connections: BTreeMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    from: IpAddr,
    /// When it asked for something.
    asked: Option<Instant>,
    cut: CancellationToken,
}

impl Open {
    /// A place for a connection, taken from another one if need be.
    fn take(&mut self, from: IpAddr, now: Instant) -> Option<(u64, CancellationToken)> {
        let of_address = self.connections.values().filter(|connection| connection.from == from).count();
        if of_address >= OF_ADDRESS_MAX {
            self.give_way(now, |connection| connection.from == from)?;
        } else if self.connections.len() >= CONNECTIONS_MAX {
            // Strangers before those of this machine.
            let strangers = self.give_way(now, |connection| !connection.from.is_loopback());
            strangers.or_else(|| self.give_way(now, |_| true))?;
        }
        self.last += 1;
        let cut = CancellationToken::new();
        self.connections.insert(self.last, Connection { from, asked: None, cut: cut.clone() });
        Some((self.last, cut))
    }

    /// Cuts the oldest of some that is silent, or else the oldest that takes long.
    fn give_way(&mut self, now: Instant, of: impl Fn(&Connection) -> bool) -> Option<()> {
        let slow = |connection: &Connection| {
            connection.asked.is_some_and(|asked| now.saturating_duration_since(asked) > ANSWER_TIME)
        };
        let mut eligible = self.connections.iter().filter(|(_, connection)| of(connection));
        let silent = eligible.clone().find(|(_, connection)| connection.asked.is_none());
        let number = silent.or_else(|| eligible.find(|(_, connection)| slow(connection))).map(|(number, _)| *number)?;
        self.connections.remove(&number)?.cut.cancel();
        Some(())
    }
}

/// The places. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<Open>>);

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    number: u64,
    cut: CancellationToken,
}

impl Places {
    /// A place, or `None` if all others are being answered.
    pub(super) fn take(&self, from: IpAddr) -> Option<Place> {
        let (number, cut) = self.open().take(from, Instant::now())?;
        Some(Place { places: self.clone(), number, cut })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes that it asks for something.
    pub(super) fn asks(&self) {
        if let Some(connection) = self.places.open().connections.get_mut(&self.number) {
            connection.asked = Some(Instant::now());
        }
    }

    /// Resolves when it has to make room.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.open().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn address(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    const PROBE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_silent_make_room_and_those_of_an_address_for_each_other() {
        let (mut open, now) = (Open::default(), Instant::now());
        let (_, first) = open.take(address(1), now).unwrap();
        let others: Vec<_> = (1..OF_ADDRESS_MAX).map(|_| open.take(address(1), now).unwrap().1).collect();
        let (_, other) = open.take(address(2), now).unwrap();
        open.take(address(1), now).unwrap();
        assert!(first.is_cancelled() && !other.is_cancelled());
        assert!(others.iter().all(|cut| !cut.is_cancelled()));
        assert_eq!(open.connections.len(), OF_ADDRESS_MAX + 1);
    }

    #[test]
    fn a_probe_gets_in_whoever_is_silent() {
        let (mut open, now) = (Open::default(), Instant::now());
        let (_, early) = open.take(PROBE, now).unwrap();
        let silent: Vec<_> = (0..200).map(|number| open.take(address(number), now).unwrap().1).collect();
        assert_eq!(open.connections.len(), CONNECTIONS_MAX);
        let (probe, cut) = open.take(PROBE, now).unwrap();
        assert!(!early.is_cancelled() && !cut.is_cancelled());
        assert!(open.connections.contains_key(&probe));
        let left = silent.iter().filter(|cut| !cut.is_cancelled()).count();
        assert_eq!(left, CONNECTIONS_MAX - 2);
    }

    #[test]
    fn who_is_being_answered_is_left_alone_for_a_while() {
        let (places, now) = (Places::default(), Instant::now());
        let busy: Vec<Place> = (0..32).map(|number| places.take(address(number)).unwrap()).collect();
        busy.iter().for_each(Place::asks);
        assert!(places.take(PROBE).is_none());
        let later = now + 2 * ANSWER_TIME;
        assert!(places.open().take(PROBE, later).is_some());
        assert!(busy[0].cut.is_cancelled() && !busy[1].cut.is_cancelled());
        drop(busy);
        assert_eq!(places.open().connections.len(), 1);
    }
}
