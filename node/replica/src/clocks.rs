//! Whether this node's wall clock is right, by what the validators say that theirs
//! show. A node whose clock is apart from the others' does not lead, and judges block
//! times by their clocks instead of its own. The comparison is by the monotonic clock,
//! so that a wall clock that jumps is found out before it is used.
//!
//! Nobody is believed alone: a clock is apart if it is off, in one direction, from
//! validators with more power than all others that are heard, this node among them,
//! and with more than a third of all power. One that is wrong and one that lies cannot
//! make the clocks of two others look wrong; where two halves differ, nobody knows who
//! is right, and both go on. Nodes without a seat are not asked; any member can
//! register some.

use std::collections::BTreeMap;
use std::fmt;

use consilium_consensus::voting::Clock;
use consilium_proto::ids::{NodeId, TimeMs};
use consilium_proto::validators::{Validator, ValidatorSet};

/// Of what was said in this time, and in as much before it, the one with the least
/// delay counts.
const WINDOW_MS: u64 = 5_000;

/// How far a clock is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// Milliseconds ahead of the others; behind them if negative.
    pub ahead_ms: i64,
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.ahead_ms < 0 { "behind" } else { "ahead of" };
        let ms = self.ahead_ms.unsigned_abs();
        write!(f, "{}.{:03} s {side} those of the other validators", ms / 1_000, ms % 1_000)
    }
}

/// What a peer said: its wall clock minus this node's monotonic one, which does not
/// change when this node's wall clock is set. Delays make it smaller.
#[derive(Debug, Clone, Copy)]
struct Heard {
    window: u64,
    offset: i128,
    /// Of the window before.
    before: Option<i128>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    heard: BTreeMap<NodeId, Heard>,
    skew: Option<Skew>,
    confirmed: bool,
}

impl Clocks {
    /// What this node's clock would show if it were right.
    pub(crate) fn right(&self, now: Clock) -> Clock {
        let Some(skew) = self.skew else { return now };
        let wall = i128::from(now.wall.0) - i128::from(skew.ahead_ms);
        let wall = u64::try_from(wall).unwrap_or(if wall < 0 { 0 } else { u64::MAX });
        Clock { wall: TimeMs(wall), ..now }
    }

    /// How far this node's clock is off, as of the last look; `None` if it is right
    /// for all that is known.
    pub(crate) fn skew(&self) -> Option<Skew> {
        self.skew
    }

    /// Whether this node's clock shows about what those of more than half of all power do, its
    /// own included. Whoever does not have that cannot say that another's is behind.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Validators that have said nothing lately.
    pub(crate) fn unheard<'a>(&self, me: NodeId, validators: &'a ValidatorSet) -> impl Iterator<Item = &'a Validator> {
        validators.seats().iter().filter(move |seat| seat.id != me && !self.heard.contains_key(&seat.id))
    }

    /// A peer says what its clock shows.
    pub(crate) fn hear(&mut self, peer: NodeId, wall: TimeMs, now: Clock) {
        let (window, offset) = (now.monotonic_ms / WINDOW_MS, i128::from(wall.0) - i128::from(now.monotonic_ms));
        let heard = match self.heard.get(&peer) {
            Some(heard) if heard.window == window => Heard { offset: heard.offset.max(offset), ..*heard },
            Some(heard) => Heard { window, offset, before: (heard.window + 1 == window).then_some(heard.offset) },
            None => Heard { window, offset, before: None },
        };
        self.heard.insert(peer, heard);
    }

    /// Compares this node's clock with the others'.
    pub(crate) fn look(&mut self, me: NodeId, validators: &ValidatorSet, tolerance_ms: u64, now: Clock) {
        self.heard
            .retain(|id, heard| validators.seat(*id).is_some() && heard.window + 1 >= now.monotonic_ms / WINDOW_MS);
        let own = i128::from(now.wall.0) - i128::from(now.monotonic_ms);
        let total = validators.total_power();
        let others = validators.seats().iter().filter(|seat| seat.id != me);
        let ahead: Vec<(i128, u128)> = others
            .filter_map(|seat| self.heard.get(&seat.id).map(|heard| (heard, u128::from(seat.power.0))))
            .map(|(heard, power)| (own - heard.before.map_or(heard.offset, |b| b.max(heard.offset)), power))
            .collect();
        let own_power = validators.seat(me).map_or(0, |seat| u128::from(seat.power.0));
        let heard = own_power + ahead.iter().map(|(_, power)| power).sum::<u128>();
        let alike = ahead.iter().filter(|(ahead, _)| ahead.unsigned_abs() <= u128::from(tolerance_ms));
        self.confirmed = 2 * (own_power + alike.map(|(_, power)| power).sum::<u128>()) > total;
        let off = |side: i128| {
            let mut off: Vec<_> = ahead.iter().filter(|(ahead, _)| ahead * side > i128::from(tolerance_ms)).collect();
            off.sort_unstable();
            let power: u128 = off.iter().map(|(_, power)| power).sum();
            // One of them may lie about how much.
            off.get(off.len() / 2).filter(|_| 2 * power > heard && 3 * power > total).map(|(ahead, _)| *ahead)
        };
        let clamp = |ahead: i128| i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX });
        self.skew = off(1).or_else(|| off(-1)).map(|ahead| Skew { ahead_ms: clamp(ahead) });
    }
}

#[cfg(test)]
mod tests;
