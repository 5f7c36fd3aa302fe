//! Voting power of the seated: one level for all members, found by halving,
//! then each member's power split among its seats. Never gives a seat nothing,
//! and never more than [`VOTING_POWER_MAX`].

use std::cmp::Reverse;
use std::collections::BTreeMap;

use consilium_proto::ids::{NodeId, VotingPower};
use consilium_proto::limits::{VALIDATORS_MAX, VOTING_POWER_MAX};

use super::{Candidate, Rules, Seat};

/// Power of one unit of stake, and the least power of a member: enough that
/// each of its seats gets some.
const SCALE: u128 = 1_000;
const _: () = assert!(VALIDATORS_MAX as u128 <= SCALE && SCALE <= VOTING_POWER_MAX as u128);

/// Gives each of the seated its power; keeps their order.
pub(super) fn assign(seated: &[&Candidate], rules: &Rules) -> Vec<Seat> {
    let mut members: BTreeMap<&str, Vec<&Candidate>> = BTreeMap::new();
    for candidate in seated {
        members.entry(&candidate.member).or_default().push(candidate);
    }
    let stakes = scaled(members.values().map(|seats| total_stake(seats)).collect());
    let level = level(&stakes, rules.cap_numerator.into(), rules.cap_denominator.into());
    let mut powers = BTreeMap::new();
    for (seats, stake) in members.values().zip(stakes) {
        powers.extend(split(stake.min(level), seats));
    }
    let seat = |c: &&Candidate| Seat { id: c.id, power: powers[&c.id], stake: c.stake };
    seated.iter().map(seat).collect()
}

fn total_stake(seats: &[&Candidate]) -> u128 {
    seats.iter().map(|c| u128::from(c.stake)).sum()
}

/// Members' stakes in units of power. All are divided alike when the largest
/// would not fit, before the cap is applied, so that rounding cannot break it.
fn scaled(stakes: Vec<u128>) -> Vec<u128> {
    let largest = stakes.iter().max().copied().unwrap_or(0) * SCALE;
    let divisor = largest.div_ceil(u128::from(VOTING_POWER_MAX)).max(1);
    stakes.into_iter().map(|stake| (stake * SCALE / divisor).max(SCALE)).collect()
}

/// The highest level to which all members are cut so that none holds the cap;
/// the smallest stake if no level does that.
///
/// With members cut to a level `l`, the slack numerator x total(l) - denominator
/// x l is concave in `l` and 0 at 0. So if it is positive anywhere, it is at
/// the smallest stake, and from there on it is positive up to one point and
/// never after.
fn level(stakes: &[u128], numerator: u128, denominator: u128) -> u128 {
    let below_cap = |level: u128| {
        let total: u128 = stakes.iter().map(|s| s.min(&level)).sum();
        level * denominator < total * numerator
    };
    let mut holds = stakes.iter().min().copied().unwrap_or(0);
    let mut highest = stakes.iter().max().copied().unwrap_or(0);
    if !below_cap(holds) {
        return holds;
    }
    while holds < highest {
        let middle = holds + (highest - holds).div_ceil(2);
        if below_cap(middle) {
            holds = middle;
        } else {
            highest = middle - 1;
        }
    }
    holds
}

/// One unit for each seat, the rest in proportion to stake by largest
/// remainder, ties by lower id.
fn split(power: u128, seats: &[&Candidate]) -> Vec<(NodeId, VotingPower)> {
    let rest = power - seats.len() as u128;
    let total = total_stake(seats);
    let quota = |c: &Candidate| rest * u128::from(c.stake);
    let given: u128 = seats.iter().map(|c| quota(c) / total).sum();
    let mut by_remainder: Vec<_> = seats.to_vec();
    by_remainder.sort_by_key(|c| (Reverse(quota(c) % total), c.id));
    let left_over = usize::try_from(rest - given).expect("fewer units than seats are left over");
    let share = |(i, c): (usize, &&Candidate)| {
        let power = 1 + quota(c) / total + u128::from(i < left_over);
        (c.id, VotingPower(u64::try_from(power).expect("a member's power is at most VOTING_POWER_MAX")))
    };
    by_remainder.iter().enumerate().map(share).collect()
}
