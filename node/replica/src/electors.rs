//! Whose grants make a leader, as far as this node can know: the validators of its own
//! ledger, and those that certified changes of a peer lead to. A node that was away for
//! many epochs follows those before it can believe a leader.
//!
//! It must never take validators on a peer's word, nor on a block's that is not certified:
//! each set is certified by the one before, back to one of this node's own ledger.

use std::collections::{BTreeMap, BTreeSet};

use consilium_consensus::{Core, Electorate, LogReader, Mandate, RaftId};
use consilium_proto::ids::{Epoch, Height, LedgerId, NodeId};
use consilium_proto::light_client::{SetChange, TrustedSet};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::CertifiedHeader;

use crate::ports::{Ledger, PortFault};
use crate::topology::{Topology, begins_above, boundaries, epoch_after, raft_ids, set_of_epoch, validators_above};

/// Changes in one answer; whoever lacks more asks again.
const CHANGES_MAX: usize = 8;

/// Validators that certify from some height on.
#[derive(Debug, Clone)]
struct Sets {
    epoch: Epoch,
    /// `current` certifies heights above this one.
    above: Height,
    current: ValidatorSet,
    /// Those before: Raft's voters follow an election within seconds, not at once.
    before: Option<ValidatorSet>,
}

/// Validators beyond those of this node's ledger.
#[derive(Debug)]
struct Ahead {
    trusted: TrustedSet,
    sets: Sets,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Electors {
    /// The certified height as of which they were read.
    certified: Option<Height>,
    /// By this node's ledger.
    own: Option<Sets>,
    seats: BTreeSet<RaftId>,
    ahead: Option<Ahead>,
    /// Raft's voters are the seats.
    settled: bool,
    /// The core was not told of all yet.
    untold: bool,
    /// The tick at which each peer was asked, or answered, last.
    asked: BTreeMap<NodeId, u64>,
    answered: BTreeMap<NodeId, u64>,
}

impl Electors {
    /// Tells the core whose grants count, if that has changed. The next validators count from
    /// the certificate on that begins their epoch, those before them until Raft's voters have
    /// followed.
    ///
    /// # Errors
    /// If the disk fails or a row is damaged.
    pub(crate) fn follow<L: Ledger, R: LogReader>(
        &mut self,
        core: &mut Core<R>,
        ledger: &L,
        topology: &Topology,
        certified: Height,
    ) -> Result<(), PortFault> {
        self.read_sets(ledger, topology, certified)?;
        let settled = !core.membership().is_joint() && core.membership().voters == self.seats;
        self.untold |= std::mem::replace(&mut self.settled, settled) != settled;
        let Some(own) = self.own.as_ref().filter(|_| self.untold) else { return Ok(()) };
        let mut standing = vec![own.current.clone()];
        standing.extend(own.before.clone().filter(|_| !settled));
        let ahead = self.ahead.as_ref().map(|ahead| &ahead.sets);
        let before = ahead.and_then(|sets| sets.before.clone());
        let known = std::iter::once(own.current.clone()).chain(own.before.clone()).chain(before);
        let electorate = Electorate::new(standing, known.collect());
        core.set_electorate(electorate.with_ahead(ahead.map(|sets| sets.current.clone())));
        self.untold = false;
        Ok(())
    }

    fn read_sets(&mut self, ledger: &impl Ledger, topology: &Topology, certified: Height) -> Result<(), PortFault> {
        if self.certified == Some(certified) {
            return Ok(());
        }
        self.certified = Some(certified);
        let executed = topology.epoch();
        let begun = certified.next() >= executed.first_height;
        let epoch = if begun { executed.epoch } else { epoch_after(ledger, certified)? };
        if self.own.as_ref().is_some_and(|own| own.epoch == epoch) {
            return Ok(());
        }
        let current = set_of_epoch(ledger, epoch)?.ok_or_else(|| PortFault::corrupt("epoch", "absent"))?;
        let before = epoch.0.checked_sub(1).map(|before| set_of_epoch(ledger, Epoch(before))).transpose()?.flatten();
        self.seats = raft_ids(&current);
        self.own = Some(Sets { epoch, above: begins_above(ledger, epoch)?, current, before });
        if self.ahead.as_ref().is_some_and(|ahead| ahead.sets.epoch <= epoch) {
            self.ahead = None;
        }
        self.untold = true;
        Ok(())
    }

    /// Whether a leader should be elected again: its mandate is of validators before those of
    /// today, and Raft's voters are today's; or of some that nobody needs to know any more.
    pub(crate) fn is_outdated(&self, mandate: Option<&Mandate>) -> bool {
        let (Some(mandate), Some(own)) = (mandate, &self.own) else { return false };
        let granted = |set: &ValidatorSet| set.hash() == mandate.validators_hash;
        !granted(&own.current) && (self.settled || !own.before.as_ref().is_some_and(granted))
    }

    /// The newest epoch whose validators are known.
    pub(crate) fn newest_epoch(&self) -> Epoch {
        let newest = self.ahead.as_ref().map(|ahead| &ahead.sets).or(self.own.as_ref());
        newest.map_or(Epoch(0), |sets| sets.epoch)
    }

    /// The newest validators that are known.
    pub(crate) fn newest_set(&self) -> Option<&ValidatorSet> {
        self.ahead.as_ref().map(|ahead| &ahead.sets).or(self.own.as_ref()).map(|sets| &sets.current)
    }

    /// Whether to ask a peer for its mandate: once a tick at most.
    pub(crate) fn may_ask(&mut self, peer: NodeId, tick: u64) -> bool {
        self.asked.insert(peer, tick) != Some(tick)
    }

    /// Whether to answer a peer that asks: once a tick at most.
    pub(crate) fn may_answer(&mut self, peer: NodeId, tick: u64) -> bool {
        self.answered.insert(peer, tick) != Some(tick)
    }

    /// Follows a change of the validators that a peer shows, if it is the next one.
    pub(crate) fn change(&mut self, ledger_id: LedgerId, change: &SetChange) {
        let Some(own) = &self.own else { return };
        let ahead = self.ahead.get_or_insert_with(|| {
            let trusted = TrustedSet::of_ledger(ledger_id, own.current.clone(), own.above);
            Ahead { trusted, sets: own.clone() }
        });
        if change.boundary.header.epoch != ahead.sets.epoch || ahead.trusted.follow(change).is_err() {
            return;
        }
        let before = std::mem::replace(&mut ahead.sets.current, change.next.clone());
        ahead.sets.before = Some(before);
        ahead.sets.epoch = ahead.sets.epoch.next();
        ahead.sets.above = change.boundary.header.height;
        self.untold = true;
    }
}

/// The changes of the validators that end the epochs from one on, as far as they are
/// certified, not all at once.
///
/// # Errors
/// If the disk fails or a row is damaged.
pub(crate) fn changes_from(ledger: &impl Ledger, epoch: Epoch) -> Result<Vec<SetChange>, PortFault> {
    let mut changes = Vec::new();
    for height in boundaries(ledger, epoch, CHANGES_MAX)? {
        let Some(certificate) = ledger.certificate_at(height)? else { break };
        let header = ledger.header(height)?.ok_or_else(|| PortFault::corrupt("block", "absent"))?;
        let next = validators_above(ledger, &header)?;
        changes.push(SetChange { boundary: CertifiedHeader { header, certificate }, next });
    }
    Ok(changes)
}
