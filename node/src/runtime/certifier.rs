//! The certifier: one thread around [`Voting`], which decides what is signed
//! and what is certified. This file owns the guard's file, the outbox, metrics
//! and alarms, and does what voting asks for, in the order in which it asks.
//!
//! Inputs are taken in batches, so that the votes of a batch share one sync of
//! the guard.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use consilium_consensus::voting::{Clock, Effect, Start, VoteGuard, Voting, VotingError};
use consilium_ledger::{Table, keys};
use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, HeaderHash, Height, NodeId};
use consilium_proto::pb::EpochState;
use consilium_proto::signing::{SigningKey, VerifyingKey};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{CertifiedHeader, Equivocation, Vote};
use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::Fault;
use super::shared::{Shared, now_ms, record_seconds};
use crate::identity::topology::validator_history;
use crate::storage::StorageError;
use crate::storage::guard::{Guard, GuardState};
use crate::storage::raft_log::RaftLog;
use crate::transport::Outbox;

/// How long to wait for an input, at most: repetitions depend on it.
const IDLE: Duration = Duration::from_millis(125);
/// Inputs taken before votes are made.
const INPUTS_MAX: usize = 1_024;

/// Inputs.
#[derive(Debug)]
pub enum CertifierMsg {
    /// This node executed a block.
    Executed {
        /// Its header.
        header: Box<Header>,
        /// Whether it may vote on it: not on blocks taken over as certified.
        votable: bool,
        /// The set that follows, if the block ends an epoch.
        next_set: Option<ValidatorSet>,
    },
    /// Vote keys of all nodes, after a block that changed the nodes or the
    /// parameters.
    Nodes(BTreeMap<NodeId, VerifyingKey>),
    /// A vote.
    Vote {
        /// The peer that sent it: its own, or one passed on.
        from: NodeId,
        /// The vote.
        vote: Vote,
    },
    /// A certified header from a peer.
    Certificate(Box<CertifiedHeader>),
    /// A peer lacks certificates from a height on.
    UncertifiedFrom {
        /// The peer.
        peer: NodeId,
        /// The height.
        height: Height,
    },
    /// End.
    Stop,
}

/// The certifier's state.
pub struct Certifier {
    shared: Arc<Shared>,
    outbox: Outbox,
    log: RaftLog,
    guard: Guard,
    voting: Voting,
    started: Instant,
    executed_at: BTreeMap<Height, Instant>,
}

impl Certifier {
    /// Starts above the certified height; `headers` are executed and not
    /// certified, with the set that follows those that end an epoch: all of
    /// these, and the newest others.
    ///
    /// # Errors
    /// If the disk fails, or what it holds does not fit together.
    pub fn new(
        shared: Arc<Shared>,
        outbox: Outbox,
        log: RaftLog,
        guard: Guard,
        key: SigningKey,
        mut headers: Vec<(Header, Option<ValidatorSet>)>,
    ) -> Result<Self, Fault> {
        let certified = shared.certified.borrow().as_deref().cloned();
        let height = certified.as_ref().map_or(Height::GENESIS, |c| c.header.height);
        let epoch = certified.as_ref().map_or(Epoch(0), |c| c.header.epoch);
        // The guard's own header may be older than the newest.
        let guarded = guard.state().voted_height;
        if guarded > height && headers.iter().all(|(header, _)| header.height != guarded) {
            headers.extend(shared.ledger.header(guarded)?.map(|header| (header, None)));
            headers.sort_by_key(|(header, _)| header.height);
        }
        let topology = shared.topology.get();
        let mut voting = Voting::new(Start {
            me: shared.me,
            key: Arc::new(key),
            ledger_id: shared.genesis.ledger_id,
            clock_skew_max_ms: topology.parameters().clock_skew_max_ms,
            guard: VoteGuard { voted_height: guarded, voted_header: guard.state().voted_header },
            certified,
            validators: validators_at(&shared, epoch, height.next())?,
            nodes: topology.vote_keys(),
        });
        for (header, next_set) in headers {
            voting.executed(header, true, next_set)?;
        }
        Ok(Self { shared, outbox, log, guard, voting, started: Instant::now(), executed_at: BTreeMap::new() })
    }

    /// Runs until all senders are gone.
    ///
    /// # Errors
    /// If the guard cannot be written, or this node's state differs from a
    /// certified header.
    pub fn run(mut self, inputs: &Receiver<CertifierMsg>) -> Result<(), Fault> {
        self.perform()?;
        loop {
            match inputs.recv_timeout(IDLE) {
                Ok(input) => {
                    let more = inputs.try_iter().take(INPUTS_MAX);
                    for input in std::iter::once(input).chain(more) {
                        if matches!(input, CertifierMsg::Stop) {
                            return Ok(());
                        }
                        self.handle(input)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if self.shared.is_quarantined() {
                self.voting.quarantine();
            }
            self.voting.tick(Clock { wall: now_ms(), monotonic_ms: millis(self.started.elapsed()) });
            self.perform()?;
            self.publish_sightings();
        }
    }

    fn handle(&mut self, input: CertifierMsg) -> Result<(), Fault> {
        match input {
            CertifierMsg::Executed { header, votable, next_set } => {
                if votable {
                    self.executed_at.insert(header.height, Instant::now());
                }
                self.voting.executed(*header, votable, next_set)?;
            }
            CertifierMsg::Nodes(keys) => {
                self.voting.set_nodes(keys);
                self.voting.set_clock_skew_max_ms(self.shared.topology.get().parameters().clock_skew_max_ms);
            }
            CertifierMsg::Vote { from, vote } => {
                if from == vote.validator {
                    self.note(&vote);
                }
                self.voting.vote(from, vote);
            }
            CertifierMsg::Certificate(certified) => self.voting.certificate(*certified),
            CertifierMsg::UncertifiedFrom { peer, height } => self.voting.uncertified_from(peer, height),
            CertifierMsg::Stop => {}
        }
        self.perform()
    }

    /// Does what voting asks for, until it asks for nothing more.
    fn perform(&mut self) -> Result<(), Fault> {
        loop {
            let effects = self.voting.take_effects();
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                self.effect(effect)?;
            }
        }
    }

    fn effect(&mut self, effect: Effect) -> Result<(), Fault> {
        match effect {
            Effect::WriteGuard(guard) => {
                self.remember(guard)?;
                self.voting.remembered()?;
            }
            Effect::BroadcastVote(vote) => {
                self.note(&vote);
                self.outbox.broadcast_vote(&vote);
            }
            Effect::RelayVote(vote) => self.outbox.relay_vote(&vote),
            Effect::SendCertificate { to, certified } => self.outbox.send_certificate(to, &certified),
            Effect::SendStored { to, from } => {
                if let Some(certified) = self.stored(from)? {
                    self.outbox.send_certificate(to, &certified);
                }
            }
            Effect::AskPeers { from } => self.outbox.broadcast_uncertified(from),
            Effect::Certified { certified, ends_epoch } => self.certified(*certified, ends_epoch)?,
            Effect::Diverged { height, own, certified } => return Err(self.diverged(height, own, certified)),
            Effect::Evidence(evidence) => self.report(*evidence),
            Effect::Refused { validator, height, problem } => {
                metrics::counter!("consilium_votes_refused_total").increment(1);
                tracing::warn!(validator = validator.0, height = height.0, %problem, "vote refused");
            }
            Effect::Withheld { height, ahead_ms } => {
                tracing::warn!(
                    height = height.0,
                    ahead_ms,
                    "withholding a vote: the block's time is ahead of this node's clock"
                );
            }
        }
        Ok(())
    }

    /// Newest vote of each node, for status and for nodes that lost their disk.
    fn note(&self, vote: &Vote) {
        let mut votes = self.shared.votes.lock().unwrap_or_else(PoisonError::into_inner);
        if votes.get(&vote.validator).is_none_or(|before| before.height < vote.height) {
            votes.insert(vote.validator, vote.clone());
        }
    }

    /// Invariant I9: durable before any signature leaves.
    fn remember(&mut self, guard: VoteGuard) -> Result<(), Fault> {
        let started = Instant::now();
        let commit = self.shared.raft.load().as_ref().map_or(0, |s| s.commit.0);
        let VoteGuard { voted_height, voted_header } = guard;
        let state = GuardState { voted_height, voted_header, last_index: self.log.last().0, commit };
        self.guard.write(state).map_err(Fault::Storage)?;
        record_seconds("consilium_guard_write_seconds", started);
        Ok(())
    }

    fn certified(&mut self, certified: CertifiedHeader, ends_epoch: bool) -> Result<(), Fault> {
        let height = certified.header.height;
        self.shared.ledger.write_certificate(&certified.certificate).map_err(Fault::Storage)?;
        if ends_epoch {
            // Before any vote of the next epoch.
            self.shared.ledger.sync().map_err(Fault::Storage)?;
        }
        let pending = self.executed_at.split_off(&height.next());
        for at in std::mem::replace(&mut self.executed_at, pending).into_values() {
            record_seconds("consilium_certify_seconds", at);
        }
        metrics::gauge!("consilium_certified_height").set(height.0 as f64);
        self.shared.certified.send_replace(Some(Arc::new(certified)));
        self.shared.waiters.certified(height);
        let now = Instant::now();
        self.shared.complete_cuts(|cut| {
            if cut.height <= height && cut.certified.is_none() {
                cut.certified = Some(now);
            }
        });
        Ok(())
    }

    /// This node is wrong: it stops and takes the certified chain.
    fn diverged(&self, height: Height, own: HeaderHash, certified: HeaderHash) -> Fault {
        self.shared.quarantined.store(true, Ordering::Release);
        let message = format!(
            "this node computed header {own} at height {height}, the validators certified {certified}: it has stopped \
             voting and serving, and takes the certified chain from its peers"
        );
        self.shared.alarms.raise("state_diverged", message);
        Fault::Diverged { height }
    }

    fn report(&self, evidence: Equivocation) {
        let Equivocation { first, second } = &evidence;
        let message = format!(
            "node {} signed two headers of height {}: {} and {}",
            first.validator, first.height, first.header_hash, second.header_hash
        );
        self.shared.alarms.raise("equivocation", message);
        self.shared.sightings().evidence.entry(first.validator).or_insert(evidence);
    }

    /// For the blocks that this node proposes: votes of nodes that the ledger
    /// has not seen lately.
    fn publish_sightings(&mut self) {
        let unseen = self.shared.sightings().unseen.clone();
        let votes = self.voting.presence(|id| unseen.contains(&id));
        self.shared.sightings().votes = votes.into_iter().map(|vote| (vote.validator, vote)).collect();
    }

    /// The certified header of the first epoch boundary at or above a height,
    /// else the newest.
    fn stored(&self, from: Height) -> Result<Option<CertifiedHeader>, StorageError> {
        let newest = self.voting.newest_certified().cloned();
        let ledger = &self.shared.ledger;
        let Some(header) = ledger.header(from)? else { return Ok(newest) };
        let next: Option<EpochState> = ledger.message(Table::State, &keys::epoch(Epoch(header.epoch.0 + 1)))?;
        let boundary = next.map(|next| Height(next.first_height.saturating_sub(1)));
        let Some(boundary) = boundary.filter(|height| *height <= self.voting.certified()) else { return Ok(newest) };
        let (header, certificate) = (ledger.header(boundary)?, ledger.certificate_at(boundary)?);
        Ok(header.zip(certificate).map(|(header, certificate)| CertifiedHeader { header, certificate }).or(newest))
    }
}

/// The set that certifies a height, which is in the given epoch or starts the
/// one after it.
fn validators_at(shared: &Shared, epoch: Epoch, height: Height) -> Result<ValidatorSet, StorageError> {
    let history = validator_history(&shared.ledger, epoch)?;
    let at = history.into_iter().take_while(|(first, _)| *first <= height).last();
    at.map(|(_, set)| set).ok_or_else(|| StorageError::corrupt("epoch", "absent"))
}

fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

impl From<VotingError> for Fault {
    fn from(error: VotingError) -> Self {
        match error {
            VotingError::Signing(error) => Self::Signing(error.to_string()),
            VotingError::OtherValidators { .. } | VotingError::Reexecuted { .. } => {
                StorageError::corrupt("ledger", error).into()
            }
        }
    }
}
