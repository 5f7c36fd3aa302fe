//! The certifier: signs what this node executed, collects votes, and turns
//! them into block certificates. It owns the guard: no vote leaves before it
//! is remembered durably.
//!
//! Every executed block is voted on, so that validators that are a block apart
//! still meet at a height; votes of one round share one sync. A vote may be
//! lost with a connection, so the newest one is sent again while its height is
//! not certified.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use consilium_consensus::certificates::{CertificateCollector, Collected};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, NodeId, TimeMs};
use consilium_proto::signing::SigningKey;
use consilium_proto::vote::{BlockCertificate, CertifiedHeader, Vote};
use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::Fault;
use super::shared::{Shared, now_ms, record_seconds};
use crate::storage::guard::{Guard, GuardState};
use crate::storage::raft_log::RaftLog;
use crate::transport::Outbox;

/// Votes made in one round, at most; older heights are covered by newer ones.
const VOTES_PER_ROUND_MAX: usize = 32;
/// How often the newest vote is sent again.
const RESEND: Duration = Duration::from_millis(500);
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
    },
    /// A vote, from the peer that cast it.
    Vote(Vote),
    /// A certificate from a peer.
    Certificate(BlockCertificate),
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
    key: SigningKey,
    collector: CertificateCollector,
    /// Executed, not certified.
    headers: BTreeMap<Height, Header>,
    /// Executed, not voted on.
    to_vote: BTreeMap<Height, Header>,
    /// Certificates for heights that this node has not executed yet.
    early: BTreeMap<Height, BlockCertificate>,
    /// A peer's newest certificate for a height that is not executed here yet,
    /// not verified.
    unverified: Option<BlockCertificate>,
    newest_vote: Option<Vote>,
    resend_at: Instant,
    told: BTreeMap<NodeId, Instant>,
    executed_at: BTreeMap<Height, Instant>,
}

impl Certifier {
    /// Starts above a certified height; `headers` are executed and not certified.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        outbox: Outbox,
        log: RaftLog,
        guard: Guard,
        key: SigningKey,
        headers: Vec<Header>,
    ) -> Self {
        let collector = CertificateCollector::new(shared.topology.validators().clone(), shared.certified_height());
        let headers: BTreeMap<_, _> = headers.into_iter().map(|h| (h.height, h)).collect();
        Self {
            shared,
            outbox,
            log,
            guard,
            key,
            collector,
            to_vote: headers.clone(),
            headers,
            early: BTreeMap::new(),
            unverified: None,
            newest_vote: None,
            resend_at: Instant::now(),
            told: BTreeMap::new(),
            executed_at: BTreeMap::new(),
        }
    }

    /// Runs until all senders are gone.
    ///
    /// # Errors
    /// If the guard cannot be written, or this node's state differs from a
    /// certified header.
    pub fn run(mut self, inputs: &Receiver<CertifierMsg>) -> Result<(), Fault> {
        for height in self.headers.keys().copied().collect::<Vec<_>>() {
            self.repeat_guarded_vote(height)?;
        }
        loop {
            match inputs.recv_timeout(RESEND / 4) {
                Ok(CertifierMsg::Stop) => return Ok(()),
                Ok(input) => {
                    self.handle(input)?;
                    for input in inputs.try_iter().take(INPUTS_MAX).collect::<Vec<_>>() {
                        if matches!(input, CertifierMsg::Stop) {
                            return Ok(());
                        }
                        self.handle(input)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.vote()?;
            self.resend();
        }
    }

    fn handle(&mut self, input: CertifierMsg) -> Result<(), Fault> {
        match input {
            CertifierMsg::Executed { header, votable } => self.executed(*header, votable),
            CertifierMsg::Vote(vote) => self.collect(vote),
            CertifierMsg::Certificate(certificate) => self.certificate(certificate),
            CertifierMsg::UncertifiedFrom { peer, height } => {
                self.tell(peer, height);
                Ok(())
            }
            CertifierMsg::Stop => Ok(()),
        }
    }

    fn executed(&mut self, header: Header, votable: bool) -> Result<(), Fault> {
        let height = header.height;
        if votable {
            self.executed_at.insert(height, Instant::now());
            self.to_vote.insert(height, header.clone());
        }
        self.headers.insert(height, header);
        self.repeat_guarded_vote(height)?;
        if let Some(certificate) = self.early.remove(&height) {
            self.certified(certificate)?;
        }
        match self.unverified.take_if(|c| c.height <= height) {
            Some(certificate) => self.certificate(certificate),
            None => Ok(()),
        }
    }

    /// After a restart the vote that the guard remembers may not have left. It
    /// is made again when its block is executed again, and only for the very
    /// header that the guard holds.
    fn repeat_guarded_vote(&mut self, height: Height) -> Result<(), Fault> {
        let state = self.guard.state();
        if self.newest_vote.is_some() || height != state.voted_height || height <= self.collector.certified() {
            return Ok(());
        }
        let Some(header) = self.headers.get(&height).filter(|h| h.hash() == state.voted_header) else {
            return Ok(());
        };
        let vote = Vote::sign(self.shared.me, header, &self.key).map_err(|e| Fault::Signing(e.to_string()))?;
        self.outbox.broadcast_vote(&vote);
        self.newest_vote = Some(vote.clone());
        self.collect(vote)
    }

    fn vote(&mut self) -> Result<(), Fault> {
        let guarded = self.guard.state();
        let certified = self.collector.certified();
        self.to_vote.retain(|height, _| *height > guarded.voted_height && *height > certified);
        if self.to_vote.is_empty() || self.shared.is_quarantined() || !self.has_seat() {
            return Ok(());
        }
        let latest = TimeMs(now_ms().0.saturating_add(self.shared.genesis.parameters.clock_skew_max_ms));
        let votable: Vec<Header> = self.to_vote.values().take_while(|h| h.time <= latest).cloned().collect();
        let Some(newest) = votable.last() else {
            tracing::warn!("withholding a vote: the block's time is ahead of this node's clock");
            return Ok(());
        };
        self.remember(newest)?;
        let skip = votable.len().saturating_sub(VOTES_PER_ROUND_MAX);
        for header in &votable[skip..] {
            let vote = Vote::sign(self.shared.me, header, &self.key).map_err(|e| Fault::Signing(e.to_string()))?;
            self.outbox.broadcast_vote(&vote);
            self.newest_vote = Some(vote.clone());
            self.collect(vote)?;
        }
        self.resend_at = Instant::now() + RESEND;
        Ok(())
    }

    fn has_seat(&self) -> bool {
        self.shared.topology.validators().seat(self.shared.me).is_some()
    }

    /// Invariant I9: durable before any signature leaves.
    fn remember(&mut self, newest: &Header) -> Result<(), Fault> {
        let started = Instant::now();
        let commit = self.shared.raft.load().as_ref().map_or(0, |s| s.commit.0);
        let state = GuardState {
            voted_height: newest.height,
            voted_header: newest.hash(),
            last_index: self.log.last().0,
            commit,
        };
        self.guard.write(state).map_err(Fault::Storage)?;
        record_seconds("consilium_guard_write_seconds", started);
        Ok(())
    }

    fn collect(&mut self, vote: Vote) -> Result<(), Fault> {
        let (validator, height) = (vote.validator, vote.height);
        self.note(&vote);
        match self.collector.add(vote) {
            Collected::Counted => Ok(()),
            Collected::OutsideWindow => {
                self.tell(validator, height);
                Ok(())
            }
            Collected::NoSeat | Collected::Forged => {
                metrics::counter!("consilium_votes_refused_total").increment(1);
                tracing::warn!(validator = validator.0, height = height.0, "vote refused");
                Ok(())
            }
            Collected::Evidence(evidence) => {
                let culprit = evidence.first.validator;
                let message = format!(
                    "node {culprit} signed two headers of height {height}: {} and {}",
                    evidence.first.header_hash, evidence.second.header_hash
                );
                self.shared.alarms.raise("equivocation", message);
                Ok(())
            }
            Collected::Certified(certificate) => self.certified(certificate),
        }
    }

    fn note(&self, vote: &Vote) {
        let mut votes = self.shared.votes.lock().unwrap_or_else(PoisonError::into_inner);
        if votes.get(&vote.validator).is_none_or(|before| before.height < vote.height) {
            votes.insert(vote.validator, vote.clone());
        }
    }

    /// Sends the newest certificate to a peer that votes for what is certified.
    fn tell(&mut self, peer: NodeId, height: Height) {
        if peer == self.shared.me || height > self.collector.certified() {
            return;
        }
        let recently = self.told.get(&peer).is_some_and(|at| at.elapsed() < RESEND / 2);
        let certified = self.shared.certified.borrow().clone();
        if let (false, Some(certified)) = (recently, certified) {
            self.told.insert(peer, Instant::now());
            self.outbox.send_certificate(peer, &certified.certificate);
        }
    }

    fn certificate(&mut self, certificate: BlockCertificate) -> Result<(), Fault> {
        if certificate.height <= self.collector.certified() {
            return Ok(());
        }
        match self.headers.get(&certificate.height) {
            // It verifies against what this node executed, or is of no use yet.
            Some(header) if certificate.verify(header, self.shared.topology.validators()).is_ok() => {
                self.collector.advance(certificate.height);
                self.certified(certificate)
            }
            Some(_) => Ok(()),
            None => {
                let newer = self.unverified.as_ref().is_none_or(|held| held.height < certificate.height);
                if newer && certificate.height > self.shared.certified_height() {
                    self.unverified = Some(certificate);
                }
                Ok(())
            }
        }
    }

    /// A quorum signed. If it signed something else than this node executed,
    /// this node is wrong: it stops and takes the certified chain.
    fn certified(&mut self, certificate: BlockCertificate) -> Result<(), Fault> {
        let height = certificate.height;
        let Some(header) = self.headers.get(&height).cloned() else {
            // Not executed here yet, or executed and still on its way here.
            if height > self.shared.certified_height() {
                self.early.insert(height, certificate);
            }
            return Ok(());
        };
        if header.hash() != certificate.header_hash {
            self.shared.quarantined.store(true, Ordering::Release);
            let message = format!(
                "this node computed header {} at height {height}, the validators certified {}: it has stopped voting \
                 and serving, and takes the certified chain from its peers",
                header.hash(),
                certificate.header_hash
            );
            self.shared.alarms.raise("state_diverged", message);
            return Err(Fault::Diverged { height });
        }
        self.shared.ledger.write_certificate(&certificate).map_err(Fault::Storage)?;
        self.headers = self.headers.split_off(&height.next());
        self.early = self.early.split_off(&height.next());
        let pending = self.executed_at.split_off(&height.next());
        for at in std::mem::replace(&mut self.executed_at, pending).into_values() {
            record_seconds("consilium_certify_seconds", at);
        }
        metrics::gauge!("consilium_certified_height").set(height.0 as f64);
        self.shared.certified.send_replace(Some(Arc::new(CertifiedHeader { header, certificate })));
        self.shared.waiters.certified(height);
        Ok(())
    }

    fn resend(&mut self) {
        if Instant::now() < self.resend_at {
            return;
        }
        self.resend_at = Instant::now() + RESEND;
        if let Some(vote) = self.newest_vote.as_ref().filter(|v| v.height > self.collector.certified()) {
            self.outbox.broadcast_vote(vote);
        }
        if !self.headers.is_empty() {
            self.outbox.broadcast_uncertified(self.collector.certified().next());
        }
    }
}
