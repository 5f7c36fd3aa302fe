//! The replica: one value that holds all parts and lets them work on what came in
//! until nothing is left to do. It decides which part hears what, and in which
//! order; what each does is its own.

mod behind;
mod inputs;
mod recalling;
mod submissions;
mod turn;

use std::collections::VecDeque;
use std::sync::Arc;

use consilium_consensus::voting::{Clock, Start as VotingStart, VoteGuard, Voting};
use consilium_consensus::{Config as CoreConfig, Core, LogEntry, LogReader, Signer};
use consilium_ledger::unseen_nodes;
use consilium_proto::ids::{Height, LedgerId, NodeId, TimeMs};
use consilium_proto::signing::SigningKey;
use consilium_proto::vote::{CertifiedHeader, Vote};

use crate::catch_up::{Attachments, Audit, CatchUp};
use crate::certify::{Certifier, CertifyInput, uncertified};
use crate::clocks::Clocks;
use crate::electors::Electors;
use crate::entries::Entries;
use crate::execute::{Executor, Rules};
use crate::fault::Fault;
use crate::forward::Forwarding;
use crate::io::{Applied, CallId, Input, Output, Status};
use crate::order::leading::Leading;
use crate::order::log_pace::LogPace;
use crate::order::mempool::Mempool;
use crate::order::oversight::Oversight;
use crate::order::proposing::Proposing;
use crate::order::quota::{AccessQuota, Quotas};
use crate::order::rights::Rights;
use crate::order::split::Splits;
use crate::ports::{Ledger, PortFault};
use crate::rations::Rations;
use crate::reads::Reads;
use crate::recall::Recall;
use crate::rounds::Rounds;
use crate::start::Recovered;
use crate::topology::{Introduction, Topology, validators_above};
use crate::waiters::Waiters;

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Raft's.
    pub core: CoreConfig,
    /// Blocks that a leader has under way at once.
    pub blocks_in_flight: u64,
    /// Entries after which the log is cut.
    pub log_entries_max: u64,
    /// Entries kept behind then.
    pub log_entries_kept: u64,
    /// Without a certificate for this long, the leader is changed.
    pub certificate_timeout_ms: u64,
    /// So long a leader may have a transaction by which a member protects itself, and leave it
    /// out of the blocks.
    pub rights_patience_ms: u64,
    /// Without a block for this long, catching up from a peer is given up.
    pub fetch_timeout_ms: u64,
    /// Time between two walks over the own ledger, from begin to begin.
    pub audit_ms: u64,
    /// Transactions that wait to be ordered, and those that clients wait for.
    pub queued_transactions_max: usize,
    /// Bytes of the former.
    pub queued_bytes_max: usize,
    /// How often one identity may ask to read.
    pub access_quota: AccessQuota,
}

/// Who a replica is, and what it starts from.
pub struct Start<L, R> {
    /// Its raft id.
    pub me: NodeId,
    /// The ledger's id.
    pub ledger_id: LedgerId,
    /// Signs its votes.
    pub key: Arc<SigningKey>,
    /// What it was told of the others when it joined.
    pub introduction: Option<Introduction>,
    /// What an operator chose.
    pub settings: Settings,
    /// The ledger.
    pub ledger: L,
    /// The Raft log, to read.
    pub log: R,
    /// What the rules ask of X.509.
    pub rules: Rules,
    /// The disk, checked.
    pub recovered: Recovered,
    /// The time.
    pub now: Clock,
}

/// See the module.
pub struct Replica<L, R: LogReader> {
    me: NodeId,
    ledger_id: LedgerId,
    introduction: Option<Introduction>,
    settings: Settings,
    core: Core<R>,
    topology: Arc<Topology>,
    entries: Entries,
    committed: VecDeque<LogEntry>,
    committed_bytes: usize,
    executor: Executor<L>,
    certifier: Certifier,
    proposing: Proposing,
    leading: Leading,
    oversight: Oversight,
    splits: Splits,
    rights: Rights,
    quotas: Quotas,
    rations: Rations,
    log_pace: LogPace,
    waiters: Waiters,
    forwarding: Forwarding,
    reads: Reads,
    clocks: Clocks,
    electors: Electors,
    recall: Recall,
    catch_up: CatchUp,
    behind: behind::Behind,
    attachments: Attachments,
    audit: Audit,
    calls: CallId,
    rounds: Rounds,
    /// The time, by this node's clock if that is right.
    now: Clock,
    /// What this node's wall clock shows.
    shown: TimeMs,
    ticks: u64,
    stopping: bool,
    halted: bool,
    continuing: bool,
    /// The last turn left what it has to execute to the next.
    deferred: bool,
    out: Vec<Output>,
    /// Goes out behind everything else.
    answers: Vec<Output>,
}

impl<L: Ledger, R: LogReader> Replica<L, R> {
    /// Starts from a disk that [`crate::start::recover`] has checked.
    ///
    /// # Errors
    /// If this node is retired, or the disk cannot be read or does not fit together.
    pub fn new(start: Start<L, R>) -> Result<Self, Fault> {
        let Start { me, ledger_id, key, introduction, settings, ledger, log, rules, recovered, now } = start;
        let Recovered { initial, tip, guard, doubt, votes } = recovered;
        let applied = initial.applied;
        let topology = Arc::new(Topology::load(&ledger, &tip.header, introduction.as_ref())?);
        if topology.peer(me).is_none() {
            return Err(Fault::Retired(me));
        }
        let signer = Signer { ledger_id, key: Arc::clone(&key) };
        let mut core = Core::new(settings.core.clone(), signer, initial, log)?;
        core.set_known_peers(topology.peer_ids());
        let recall = Recall::new(me, ledger_id, key.verifying_key(), doubt);
        let certifier =
            certifier((me, ledger_id, key), &ledger, &topology, (tip.header.height, guard.vote), (doubt.guard, votes))?;
        let mut electors = Electors::default();
        electors.follow(&mut core, &ledger, &topology, certifier.certified())?;
        let mempool = Mempool::new(settings.queued_transactions_max, settings.queued_bytes_max);
        let (timeout, cut) = (settings.certificate_timeout_ms, (settings.log_entries_max, settings.log_entries_kept));
        let mut replica = Self {
            me,
            ledger_id,
            introduction,
            core,
            topology,
            entries: Entries::default(),
            committed: VecDeque::new(),
            committed_bytes: 0,
            executor: Executor::new(ledger, rules, (applied, tip))?,
            certifier,
            proposing: Proposing::new(mempool, settings.blocks_in_flight),
            leading: Leading::default(),
            oversight: Oversight::new(timeout, cut),
            splits: Splits::default(),
            rights: Rights::new(settings.rights_patience_ms, timeout),
            quotas: Quotas::new(settings.access_quota),
            rations: Rations::default(),
            log_pace: LogPace::default(),
            waiters: Waiters::new(settings.queued_transactions_max),
            forwarding: Forwarding::default(),
            reads: Reads::default(),
            clocks: Clocks::default(),
            electors,
            recall,
            catch_up: CatchUp::default(),
            behind: behind::Behind::default(),
            attachments: Attachments::default(),
            audit: Audit::default(),
            calls: CallId::default(),
            rounds: Rounds::default(),
            settings,
            now,
            shown: now.wall,
            ticks: 0,
            stopping: false,
            halted: false,
            continuing: false,
            deferred: false,
            out: Vec::new(),
            answers: Vec::new(),
        };
        replica.be_recalled();
        Ok(replica)
    }

    /// Takes what has happened, in order, and works until nothing is left to do.
    /// Many inputs at a time make larger blocks and fewer syncs than one at a time.
    pub fn handle(&mut self, now: Clock, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
        if !self.halted {
            self.see(now);
            let applied = self.executor.index();
            let result = inputs.into_iter().try_for_each(|input| self.input(input)).and_then(|()| self.turn());
            self.out.append(&mut self.answers);
            if self.executor.index() > applied {
                self.out.push(Output::Applied(self.executor.applied()));
            }
            if let Err(fault) = result {
                self.halted = true;
                self.out.push(Output::Halt(fault));
            }
        }
        std::mem::take(&mut self.out)
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// Nodes, validators and parameters as of the newest block.
    #[must_use]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// How far it has come.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.executor.applied()
    }

    /// The newest certified header; `None` before the first.
    #[must_use]
    pub fn newest_certified(&self) -> Option<&Arc<CertifiedHeader>> {
        self.certifier.newest_certified()
    }

    /// The voting, to look at.
    #[must_use]
    pub fn voting(&self) -> &Voting {
        self.certifier.voting()
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &L {
        self.executor.ledger()
    }

    /// Its picture of itself.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            raft: self.core.status(),
            queued: self.proposing.queued(),
            waiting: self.waiters.len(),
            watched: self.rights.len(),
            skew: self.clocks.skew(),
            reconciliation: self.leading.reconciliation().cloned(),
            voted: self.certifier.voted_heights(),
        }
    }
}

/// Voting goes on above the newest certified header that is stored.
///
/// # Errors
/// If the disk fails or does not fit together.
fn certifier(
    (me, ledger_id, key): (NodeId, LedgerId, Arc<SigningKey>),
    ledger: &impl Ledger,
    topology: &Topology,
    (applied, guard): (Height, VoteGuard),
    (doubted, votes): (Height, Vec<Vote>),
) -> Result<Certifier, Fault> {
    let certified = newest_certified(ledger, applied)?;
    let header = match &certified {
        Some(certified) => certified.header.clone(),
        None => ledger.header(Height::GENESIS)?.ok_or_else(|| PortFault::corrupt("block", "no genesis"))?,
    };
    let voting = Voting::new(VotingStart {
        me,
        key,
        ledger_id,
        clock_skew_max_ms: topology.parameters().clock_skew_max_ms,
        guard,
        certified,
        validators: validators_above(ledger, &header)?,
        nodes: topology.vote_keys(),
    });
    let mut certifier = Certifier::new(voting, unseen_nodes(ledger)?, doubted, votes);
    for (header, next_set) in uncertified(ledger, &header, applied, guard.voted_height)? {
        certifier.push(CertifyInput::Executed { header: Box::new(header), votable: true, next_set });
    }
    Ok(certifier)
}

/// The newest certified header that is stored.
///
/// # Errors
/// If the disk fails or its block is absent.
fn newest_certified(ledger: &impl Ledger, applied: Height) -> Result<Option<CertifiedHeader>, PortFault> {
    let Some(certificate) = ledger.certificate_up_to(applied)? else { return Ok(None) };
    let header = ledger.header(certificate.height)?;
    let header = header.ok_or_else(|| PortFault::corrupt("block", "absent"))?;
    Ok(Some(CertifiedHeader { header, certificate }))
}
