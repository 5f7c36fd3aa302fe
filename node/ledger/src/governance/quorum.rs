//! Whether a change leaves a network that can go on. Two sets matter: the one
//! in force, which must still certify the block that ends the epoch, and the
//! one that an election on the changed state would seat. Of both only those
//! count that were seen in this epoch or the one before: a validator that is
//! down certifies nothing, whatever its power. [`seen_lately`] says when that is
//! not believed.
//!
//! Numbers in, numbers out; the only reading is in [`measure`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use consilium_proto::ids::NodeId;
use consilium_proto::pb::{self, EpochState, MemberStatus, NodeStatus, ParticipationState};
use consilium_proto::validators::{Quorum, ValidatorSet};

use crate::epoch;
use crate::in_force::EpochInForce;
use crate::keys;
use crate::roster::corrupt;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// The power to certify, in one state.
#[derive(Debug, Clone)]
pub(super) struct Measure {
    pub(super) current: ValidatorSet,
    pub(super) members: BTreeMap<NodeId, String>,
    /// Seats of the current set whose node and member are in service.
    pub(super) serving: BTreeSet<NodeId>,
    /// Nodes whose votes were seen lately.
    pub(super) seen: BTreeSet<NodeId>,
    /// What an election would come to.
    pub(super) next: EpochState,
    pub(super) next_set: ValidatorSet,
}

/// Power of some seats against what a certificate needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Power {
    pub(super) part: u128,
    pub(super) total: u128,
    pub(super) quorum: Quorum,
}

impl Power {
    fn of(set: &ValidatorSet, counts: impl Fn(NodeId) -> bool) -> Self {
        let part = set.seats().iter().filter(|seat| counts(seat.id)).map(|seat| u128::from(seat.power.0)).sum();
        Self { part, total: set.total_power(), quorum: set.quorum() }
    }

    pub(super) fn certifies(self) -> bool {
        self.quorum.reached(self.part, self.total)
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (numerator, denominator) = self.quorum.fraction();
        let line = self.total * u128::from(numerator) / u128::from(denominator);
        write!(f, "{} of {}, needs more than {line}", self.part, self.total)
    }
}

/// What a change does to the power to certify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arithmetic {
    /// Of the current set, before.
    pub(super) now: Power,
    /// Of the current set, after: those that the change leaves in service.
    pub(super) after: Power,
    /// Seats that the change takes out of service, seen or not.
    pub(super) leaving: Vec<NodeId>,
    /// Their members.
    pub(super) without: Vec<String>,
    /// Of the next set, after the change; `None` if nobody could be seated.
    pub(super) next: Option<Power>,
    /// Seats of the next set.
    pub(super) next_seats: usize,
    /// Whether an election without the change would give a set that certifies.
    pub(super) next_was_safe: bool,
    /// Nodes that the next election would seat without the change.
    pub(super) unseated: Vec<NodeId>,
    /// Nodes that the next election would seat because of it.
    pub(super) newly_seated: Vec<NodeId>,
}

/// Reads what certifies in `epoch`, and what would after it.
pub(super) fn measure<R: StateReader>(view: &View<'_, R>, epoch: &EpochInForce) -> Result<Measure, StoreFault> {
    let current = epoch.set()?;
    let mut serving = BTreeSet::new();
    let mut members = BTreeMap::new();
    for id in current.seats().iter().map(|seat| seat.id) {
        let node = view.node(id)?.ok_or_else(|| corrupt(format!("seated node {id} is absent")))?;
        let active = view.member(&node.member)?.is_some_and(|m| m.status == MemberStatus::Active as i32);
        if active && node.status == NodeStatus::Active as i32 {
            serving.insert(id);
        }
        members.insert(id, node.member);
    }
    let seen = seen_lately(view, &current)?;
    let next = epoch::forecast(view, epoch)?;
    let set = next.validators.as_ref().ok_or_else(|| corrupt("a forecast has no validators"))?;
    let next_set = ValidatorSet::try_from(set).map_err(|e| corrupt(e.to_string()))?;
    Ok(Measure { current, members, serving, seen, next, next_set })
}

/// Nodes whose votes are on the ledger since the epoch before. What a block
/// holds is the leader's choice: while no quorum of the seats is seen, nobody is
/// believed to be absent, or a leader that leaves out votes could prevent its
/// own suspension.
fn seen_lately<R: StateReader>(view: &View<'_, R>, current: &ValidatorSet) -> Result<BTreeSet<NodeId>, StoreFault> {
    let presence: ParticipationState = view.message(Table::State, &keys::participation())?.unwrap_or_default();
    let seen = presence.nodes.iter().filter(|n| n.seen_in_epoch || n.seen_in_previous_epoch).map(|n| NodeId(n.node));
    let mut seen: BTreeSet<NodeId> = seen.collect();
    if !Power::of(current, |id| seen.contains(&id)).certifies() {
        seen.extend(current.seats().iter().map(|seat| seat.id));
    }
    Ok(seen)
}

impl Measure {
    fn certifying(&self) -> Power {
        Power::of(&self.current, |id| self.serving.contains(&id) && self.seen.contains(&id))
    }

    fn next_certifying(&self) -> Option<Power> {
        (!self.next.kept_previous).then(|| Power::of(&self.next_set, |id| self.seen.contains(&id)))
    }
}

fn seated_only_in(set: &ValidatorSet, other: &ValidatorSet) -> Vec<NodeId> {
    set.seats().iter().map(|seat| seat.id).filter(|id| other.seat(*id).is_none()).collect()
}

impl Arithmetic {
    /// How it is without any change.
    pub(super) fn of(state: Measure) -> Self {
        Self::between(state.clone(), state)
    }

    /// What a change between two states of one epoch does.
    pub(super) fn between(before: Measure, after: Measure) -> Self {
        let leaves = |id: NodeId| before.serving.contains(&id) && !after.serving.contains(&id);
        let without: BTreeSet<&String> =
            before.members.iter().filter(|(id, _)| leaves(**id)).map(|(_, member)| member).collect();
        Self {
            now: before.certifying(),
            after: after.certifying(),
            leaving: before.serving.iter().copied().filter(|id| leaves(*id)).collect(),
            without: without.into_iter().cloned().collect(),
            next: after.next_certifying(),
            next_seats: after.next_set.seats().len(),
            next_was_safe: before.next_certifying().is_some_and(Power::certifies),
            unseated: seated_only_in(&before.next_set, &after.next_set),
            newly_seated: seated_only_in(&after.next_set, &before.next_set),
        }
    }

    /// Whether the network could not go on. A change that takes nobody out of
    /// service is not to blame for a network that could not go on without it.
    pub(super) fn strands(&self) -> bool {
        let next_is_safe = self.next.is_some_and(Power::certifies);
        let takes_power = !self.leaving.is_empty();
        (takes_power && !self.after.certifies()) || (!next_is_safe && (takes_power || self.next_was_safe))
    }
}

impl From<&Arithmetic> for pb::QuorumArithmetic {
    fn from(arithmetic: &Arithmetic) -> Self {
        Self {
            now: Some(arithmetic.now.into()),
            after: Some(arithmetic.after.into()),
            leaving: arithmetic.leaving.iter().map(|id| id.0).collect(),
            next: arithmetic.next.map(Into::into),
            next_seats: u32::try_from(arithmetic.next_seats).unwrap_or(u32::MAX),
        }
    }
}

impl From<Power> for pb::CertifyingPower {
    fn from(power: Power) -> Self {
        // VALIDATORS_MAX times VOTING_POWER_MAX is below 2^56.
        let in_64_bits = |power: u128| u64::try_from(power).unwrap_or(u64::MAX);
        let (numerator, denominator) = power.quorum.fraction();
        Self { part: in_64_bits(power.part), total: in_64_bits(power.total), numerator, denominator }
    }
}

/// As a refused proposal records it.
impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certifies now: {}", self.now)?;
        if !self.leaving.is_empty() {
            write!(f, "; without {}: {}", self.without.join(", "), self.after)?;
        }
        match self.next {
            Some(next) => write!(f, "; next epoch, with {} seats: {next}", self.next_seats),
            None => write!(f, "; next epoch: nobody could be seated"),
        }
    }
}

#[cfg(test)]
mod tests;
