//! The election: which nodes are seated for the next epoch, with which power,
//! and why each of the others is not. A function of its arguments and nothing
//! else: it reads no state, keeps none, and does not depend on the order of
//! its input. Integers only, so that every node elects alike.
//!
//! 1. *Eligible* is who passes the checks in the order of [`Reason`].
//! 2. *Order*: effective stake, descending; ties by lower raft id. Effective is
//!    stake x (100 + hysteresis) for a node that is seated now, stake x 100 for
//!    another, so that a seat does not change hands over a trifle.
//! 3. *Seats*: down that order, passing over nodes whose member has all its
//!    seats, until all seats are taken.
//! 4. *Power* ([`power`]): a member's stake is what its seated nodes gathered,
//!    in thousandths so that small stakes can be shared among seats. All
//!    members are cut down to one common level, the highest at which no member
//!    holds `cap` or more of what is then the total. Seats share their member's
//!    power in proportion to their stake. With too few members for any level
//!    to do (three for a cap of one third) the level is the smallest member's
//!    stake: all members are equal.
//!
//! Below a cap of one third no member can halt the network alone, because the
//! others are a quorum of more than two thirds.

mod power;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use consilium_proto::ids::{NodeId, VotingPower};
use consilium_proto::limits::VALIDATORS_MAX;

/// A node that may be elected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node. No two candidates of an election have the same.
    pub id: NodeId,
    /// Trust domain of the member that runs it.
    pub member: String,
    /// Stake delegated to it by all active members, its own included.
    pub stake: u64,
    /// Of that, what its own member delegates.
    pub self_delegation: u64,
    /// Whether it has a seat in the epoch that ends.
    pub seated: bool,
    /// Whether it is jailed.
    pub jailed: bool,
    /// Whether its votes were seen lately.
    pub caught_up: bool,
    /// Whether its member takes it out of service.
    pub retiring: bool,
    /// Whether its member is active.
    pub member_active: bool,
}

/// What the parameters of the ledger say about elections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Seats; at most [`VALIDATORS_MAX`] count.
    pub max_validators: u32,
    /// Seats of one member.
    pub max_seats_per_member: u32,
    /// Stake that a member must delegate to its own node for it to be elected.
    pub min_self_delegation: u64,
    /// By how many percent a challenger's stake must exceed a seated node's.
    pub hysteresis_percent: u32,
    /// A member's share of the power stays below `cap_numerator / cap_denominator`.
    pub cap_numerator: u32,
    /// See `cap_numerator`.
    pub cap_denominator: u32,
}

/// Why a candidate is not seated: the first of these that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its member is suspended or removed.
    MemberNotActive,
    /// Its member takes it out of service.
    Retiring,
    /// It is jailed.
    Jailed,
    /// Its votes were not seen lately.
    NotCaughtUp,
    /// Its own member delegates too little to it.
    BelowMinSelfDelegation,
    /// Nobody delegates to it.
    NoStake,
    /// Nodes of the same member with more stake have all its seats.
    MemberHasAllItsSeats,
    /// All seats went to nodes ahead of it.
    Outranked {
        /// Stake that would have got it a seat, all else being equal.
        needed_stake: u64,
    },
}

/// A seated node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// The node.
    pub id: NodeId,
    /// Its power, at least 1.
    pub power: VotingPower,
    /// Its stake.
    pub stake: u64,
}

/// The outcome: each candidate is in exactly one of the lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Election {
    /// In order of rank. Empty if nobody is eligible.
    pub seats: Vec<Seat>,
    /// Ascending by id.
    pub not_seated: Vec<(NodeId, Reason)>,
}

/// Elects. See the module's description for the algorithm.
#[must_use]
pub fn elect(candidates: &[Candidate], rules: &Rules) -> Election {
    let mut not_seated = Vec::new();
    let mut ranked = Vec::new();
    for candidate in candidates {
        match ineligible(candidate, rules) {
            Some(reason) => not_seated.push((candidate.id, reason)),
            None => ranked.push(candidate),
        }
    }
    ranked.sort_by_key(|c| rank(c, rules));
    let (seated, passed_over) = take_seats(&ranked, rules);
    not_seated.extend(passed_over);
    not_seated.sort_by_key(|(id, _)| *id);
    Election { seats: power::assign(&seated, rules), not_seated }
}

fn ineligible(candidate: &Candidate, rules: &Rules) -> Option<Reason> {
    let Candidate { id: _, member: _, stake, self_delegation, seated: _, jailed, caught_up, retiring, member_active } =
        *candidate;
    let checks = [
        (!member_active, Reason::MemberNotActive),
        (retiring, Reason::Retiring),
        (jailed, Reason::Jailed),
        (!caught_up, Reason::NotCaughtUp),
        (self_delegation < rules.min_self_delegation, Reason::BelowMinSelfDelegation),
        (stake == 0, Reason::NoStake),
    ];
    checks.into_iter().find_map(|(fails, reason)| fails.then_some(reason))
}

/// Sorts the candidate with the best claim first.
fn rank(candidate: &Candidate, rules: &Rules) -> (Reverse<u128>, NodeId) {
    (Reverse(u128::from(candidate.stake) * percent(candidate, rules)), candidate.id)
}

fn percent(candidate: &Candidate, rules: &Rules) -> u128 {
    100 + if candidate.seated { u128::from(rules.hysteresis_percent) } else { 0 }
}

type PassedOver = Vec<(NodeId, Reason)>;

fn take_seats<'a>(ranked: &[&'a Candidate], rules: &Rules) -> (Vec<&'a Candidate>, PassedOver) {
    let seats_max = (rules.max_validators as usize).min(VALIDATORS_MAX);
    let mut taken: BTreeMap<&str, u32> = BTreeMap::new();
    let mut seated: Vec<&Candidate> = Vec::new();
    let mut passed_over = Vec::new();
    for candidate in ranked {
        let of_member = taken.entry(&candidate.member).or_default();
        if *of_member >= rules.max_seats_per_member {
            passed_over.push((candidate.id, Reason::MemberHasAllItsSeats));
        } else if seated.len() >= seats_max {
            let needed_stake = seated.last().map_or(u64::MAX, |last| needed_stake(candidate, last, rules));
            passed_over.push((candidate.id, Reason::Outranked { needed_stake }));
        } else {
            *of_member += 1;
            seated.push(candidate);
        }
    }
    (seated, passed_over)
}

/// The least stake with which `candidate` ranks before `last`, the last one
/// seated. That gets it a seat: before `last` no more of its member are seated
/// than were at its own turn.
fn needed_stake(candidate: &Candidate, last: &Candidate, rules: &Rules) -> u64 {
    let (Reverse(to_beat), _) = rank(last, rules);
    let percent = percent(candidate, rules);
    let needed = if candidate.id < last.id { to_beat.div_ceil(percent) } else { to_beat / percent + 1 };
    u64::try_from(needed).unwrap_or(u64::MAX)
}
