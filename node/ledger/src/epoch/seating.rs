//! An election over the rows of a view, without writing: who would be seated if
//! the epoch ended now, and why the others would not.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::ids::NodeId;
use consilium_proto::parameters::Parameters;
use consilium_proto::pb::{self, CandidateState, EpochState, JailReason, MemberStatus, NodeStatus, NotSeatedReason};
use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};
use consilium_proto::validators::{Validator, ValidatorSet};

use crate::election::{Candidate, Election, Reason, Rules, elect};
use crate::in_force::EpochInForce;
use crate::participation::Presence;
use crate::roster::corrupt;
use crate::stake::{self, Accounts, ActiveStake};
use crate::view::{StateReader, StoreFault, View};

/// What an election comes to.
#[derive(Debug)]
pub(super) struct Seating {
    pub(super) set: ValidatorSet,
    /// Ascending by raft id.
    pub(super) candidates: Vec<CandidateState>,
    /// Nobody was eligible: the set is the one before.
    pub(super) kept_previous: bool,
}

/// The election as if the epoch ended with this block, under the parameters and
/// with all the rows that the view holds; height and time are left at 0. Writes
/// nothing.
pub(crate) fn forecast<R: StateReader>(view: &View<'_, R>, epoch: &EpochInForce) -> Result<EpochState, StoreFault> {
    let parameters = view.parameters()?;
    let presence = Presence::load(view)?;
    let accounts = stake::settled(view, epoch.next(), parameters.unbonding_epochs)?;
    let Seating { set, candidates, kept_previous } = Seating::hold(view, epoch, &parameters, &presence, &accounts)?;
    Ok(EpochState {
        epoch: epoch.next().0,
        first_height: 0,
        start_ms: 0,
        validators: Some((&set).into()),
        candidates,
        kept_previous,
    })
}

/// Seated validators that missed too much and are not jailed yet.
pub(super) fn absent<R: StateReader>(
    view: &View<'_, R>,
    epoch: &EpochInForce,
    parameters: &Parameters,
    presence: &Presence,
) -> Result<BTreeSet<NodeId>, StoreFault> {
    let mut absent = BTreeSet::new();
    if !presence.tells_of_absence(epoch)? {
        return Ok(absent);
    }
    for node in epoch.seats().iter().map(|seat| NodeId(seat.validator)) {
        if presence.missed_too_much(node, parameters.jail_missed_percent) && !is_jailed(view, node)? {
            absent.insert(node);
        }
    }
    Ok(absent)
}

fn is_jailed<R: StateReader>(view: &View<'_, R>, node: NodeId) -> Result<bool, StoreFault> {
    Ok(view.standing(node)?.jailed != JailReason::Unspecified as i32)
}

impl Seating {
    pub(super) fn hold<R: StateReader>(
        view: &View<'_, R>,
        epoch: &EpochInForce,
        parameters: &Parameters,
        presence: &Presence,
        accounts: &Accounts,
    ) -> Result<Self, StoreFault> {
        let absent = absent(view, epoch, parameters, presence)?;
        let absence_tells = presence.tells_of_absence(epoch)?;
        let active = ActiveStake::of(view, accounts)?;
        let mut candidates = Vec::new();
        for id in view.roster()?.nodes.into_iter().map(NodeId) {
            let mut candidate = candidate(view, epoch, presence, &active, id)?;
            candidate.jailed |= absent.contains(&id);
            candidate.caught_up |= candidate.seated && !absence_tells;
            candidates.push(candidate);
        }
        let election = elect(&candidates, &rules(parameters));
        let kept_previous = election.seats.is_empty();
        let set = if kept_previous { epoch.set()? } else { seated_set(view, parameters, &election)? };
        Ok(Self { candidates: outcome(&candidates, &election, &set), set, kept_previous })
    }
}

fn rules(parameters: &Parameters) -> Rules {
    let (cap_numerator, cap_denominator) = parameters.power_cap.fraction();
    Rules {
        max_validators: parameters.max_validators,
        max_seats_per_member: parameters.max_seats_per_member,
        min_self_delegation: parameters.min_self_delegation,
        hysteresis_percent: parameters.hysteresis_percent,
        cap_numerator,
        cap_denominator,
    }
}

fn candidate<R: StateReader>(
    view: &View<'_, R>,
    epoch: &EpochInForce,
    presence: &Presence,
    active: &ActiveStake,
    id: NodeId,
) -> Result<Candidate, StoreFault> {
    let node = required_node(view, id)?;
    let seated = epoch.is_seated(id);
    Ok(Candidate {
        id,
        stake: active.of_node(id),
        self_delegation: active.of_member(&node.member, id),
        seated,
        jailed: is_jailed(view, id)?,
        // A seat is not lost because an epoch ended before its votes were seen.
        caught_up: presence.seen_in_epoch(id) || (seated && presence.seen_in_previous_epoch(id)),
        retiring: node.status != NodeStatus::Active as i32,
        member_active: view.member(&node.member)?.is_some_and(|m| m.status == MemberStatus::Active as i32),
        member: node.member,
    })
}

pub(super) fn required_node<R: StateReader>(view: &View<'_, R>, id: NodeId) -> Result<pb::NodeState, StoreFault> {
    view.node(id)?.ok_or_else(|| corrupt(format!("node {id} of the roster is absent")))
}

fn seated_set<R: StateReader>(
    view: &View<'_, R>,
    parameters: &Parameters,
    election: &Election,
) -> Result<ValidatorSet, StoreFault> {
    let mut validators = Vec::with_capacity(election.seats.len());
    for seat in &election.seats {
        let node = required_node(view, seat.id)?;
        let key = VerifyingKey::from_raw(SignatureAlgorithm::Es256, &node.vote_key)
            .map_err(|_| corrupt(format!("the vote key of node {} is malformed", seat.id)))?;
        validators.push(Validator { id: seat.id, power: seat.power, key });
    }
    ValidatorSet::new(validators, parameters.quorum).map_err(|e| corrupt(e.to_string()))
}

fn outcome(candidates: &[Candidate], election: &Election, set: &ValidatorSet) -> Vec<CandidateState> {
    let reasons: BTreeMap<NodeId, Reason> = election.not_seated.iter().copied().collect();
    let state = |c: &Candidate| {
        let (reason, stake_needed) = reasons.get(&c.id).map_or((NotSeatedReason::Unspecified, 0), describe);
        CandidateState {
            node: c.id.0,
            member: c.member.clone(),
            stake: c.stake,
            self_delegation: c.self_delegation,
            power: set.seat(c.id).map_or(0, |seat| seat.power.0),
            reason: reason as i32,
            stake_needed,
        }
    };
    candidates.iter().map(state).collect()
}

fn describe(reason: &Reason) -> (NotSeatedReason, u64) {
    match *reason {
        Reason::MemberNotActive => (NotSeatedReason::MemberNotActive, 0),
        Reason::Retiring => (NotSeatedReason::Retiring, 0),
        Reason::Jailed => (NotSeatedReason::Jailed, 0),
        Reason::NotCaughtUp => (NotSeatedReason::NotCaughtUp, 0),
        Reason::BelowMinSelfDelegation => (NotSeatedReason::BelowMinSelfDelegation, 0),
        Reason::NoStake => (NotSeatedReason::NoStake, 0),
        Reason::MemberHasAllItsSeats => (NotSeatedReason::MemberHasAllItsSeats, 0),
        Reason::Outranked { needed_stake } => (NotSeatedReason::Outranked, needed_stake),
    }
}
