//! One running node: the product's replica, and around it what the daemon's
//! threads, network and disk do, with the time that they take. Nothing here
//! decides: what is decided is decided by `consilium-replica`.

mod arrive;
mod bug_state;
mod bug_wiring;
mod disk;
mod perform;
pub mod rebuild;
mod release;
pub mod start;
pub mod state;

pub use self::perform::SPLIT_SEEN;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition, Role, Term};
use consilium_proto::ids::{Fingerprint, Height, NodeId, TimeMs, TransactionId};
use consilium_replica::catch_up::audit;
use consilium_replica::disk::{LogWrite, VoteWrite, Written};
use consilium_replica::{CallId, Clock, Input, Output, Replica, RequestId};

use crate::bugs::Bug;
use crate::disk::{LogHandle, SimLedger};
use crate::env::{Env, Halt};
use crate::event::{Packet, Timer};
use crate::host::Host;

/// Milliseconds of one tick of Raft.
pub const TICK_MS: u64 = 50;
/// How long a client waits for an answer.
pub const REQUEST_MS: u64 = 20_000;

/// The product's replica on a simulated disk.
pub type SimReplica = Replica<SimLedger, LogHandle>;

/// Who waits for an answer of the replica.
enum Asker {
    /// A client, for a transaction; if that is a request for access, with who made it.
    Client(TransactionId, Option<Fingerprint>),
    /// A client that reads: the highest height of which anybody was told before.
    Reader(Height),
    /// A peer that handed transactions over.
    Forwarder(NodeId, CallId),
}

/// A running node.
pub struct Node {
    /// The replica.
    pub replica: SimReplica,
    /// What waits for the replica's thread.
    inbox: Vec<Input>,
    /// The thread is to run soon.
    turn_due: bool,
    /// For the thread that writes the log.
    log_queue: VecDeque<LogWrite>,
    log_writing: Vec<LogWrite>,
    /// For the thread that writes what votes wait for.
    vote_queue: VecDeque<VoteWrite>,
    /// Written, to be reported once it is synced.
    vote_writing: Option<Written>,
    /// For the verifiers.
    checks: VecDeque<(LogPosition, Bytes)>,
    /// Calls to peers that are not answered.
    calls: BTreeSet<CallId>,
    askers: BTreeMap<RequestId, Asker>,
    requests: u64,
    /// Executed boundaries without a certificate.
    boundaries: BTreeSet<Height>,
    /// What bugs that count for themselves remember.
    bugs: bug_state::BugState,
    /// The leader changed in this turn.
    leader_changed: bool,
    /// A bug: whose messages of Raft are not listened to, up to which term.
    distrusted: Option<(NodeId, Term)>,
    /// The replica's own, as of its last tick.
    status: consilium_replica::Status,
    /// Committed entries up to here were shown to the oracle.
    shown: LogIndex,
    /// The highest certificate that was given to it and must count.
    given: Height,
}

impl Node {
    /// Starts the threads.
    ///
    /// # Errors
    /// Why the node goes down at once.
    pub fn new(host: &mut Host, env: &mut Env, replica: SimReplica) -> Result<Self, Halt> {
        let status = replica.status();
        let mut node = Self {
            replica,
            inbox: Vec::new(),
            turn_due: false,
            log_queue: VecDeque::new(),
            log_writing: Vec::new(),
            vote_queue: VecDeque::new(),
            vote_writing: None,
            checks: VecDeque::new(),
            calls: BTreeSet::new(),
            askers: BTreeMap::new(),
            requests: 0,
            boundaries: BTreeSet::new(),
            bugs: bug_state::BugState::default(),
            leader_changed: false,
            distrusted: None,
            shown: status.raft.applied,
            given: Height::GENESIS,
            status,
        };
        if host.honest() {
            // What is on disk as certified now is what counts.
            env.oracle.boundary(host.node, None);
        }
        let first = env.rng.below(TICK_MS);
        host.timer(env, first, Timer::Tick);
        node.turn(host, env)?;
        Ok(node)
    }

    /// The height that is executed.
    #[must_use]
    pub fn height(&self) -> Height {
        self.replica.applied().height
    }

    /// The height that is certified.
    #[must_use]
    pub fn certified(&self) -> Height {
        self.replica.newest_certified().map_or(Height::GENESIS, |c| c.header.height)
    }

    /// Whether it leads, as of its last tick.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.status.raft.role == Role::Leader
    }

    /// The replica's picture of itself, as of its last tick.
    #[must_use]
    pub fn status(&self) -> &consilium_replica::Status {
        &self.status
    }

    /// Whether nobody waits for an answer here.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.askers.values().all(|asker| !matches!(asker, Asker::Client(..)))
    }

    /// A timer of this node.
    ///
    /// # Errors
    /// Why the node goes down.
    pub fn timer(&mut self, host: &mut Host, env: &mut Env, timer: Timer) -> Result<(), Halt> {
        match timer {
            Timer::Tick => {
                host.timer(env, TICK_MS, Timer::Tick);
                self.push(host, env, Input::Tick);
            }
            Timer::Turn => {
                self.turn_due = false;
                self.turn(host, env)?;
            }
            Timer::LogWriter => self.log_written(host, env)?,
            Timer::VoteWriter => self.vote_writer(host, env)?,
            Timer::Verifier => self.check_next(host, env),
            Timer::Call(call) => {
                if self.calls.remove(&call) {
                    self.push(host, env, Input::ForwardAnswer { call, results: Vec::new() });
                }
            }
            Timer::Audit(run) => {
                let id = env.fixture.genesis.ledger_id;
                let audited = audit(&host.disk.ledger_port(), id, run).map_err(|e| host.failed(&e))?;
                self.push(host, env, Input::Audited { run, audited });
            }
            Timer::Rebuild => {}
        }
        Ok(())
    }

    /// Something for the replica, whose thread runs a little later and takes all
    /// that came meanwhile.
    pub(crate) fn push(&mut self, host: &Host, env: &mut Env, input: Input) {
        self.inbox.push(input);
        if !self.turn_due {
            self.turn_due = true;
            let time = env.rng.below(3);
            host.timer(env, time, Timer::Turn);
        }
    }

    /// The replica's thread runs.
    pub(crate) fn turn(&mut self, host: &mut Host, env: &mut Env) -> Result<(), Halt> {
        let mut inputs = bug_state::inputs(env, std::mem::take(&mut self.inbox));
        self.leader_changed = false;
        let mut outputs = Vec::new();
        if env.has(Bug::TimeUnchecked) && !self.leads() {
            let (heard, rest) = inputs.into_iter().partition(|input| matches!(input, Input::Peer { .. }));
            let never = Clock { wall: TimeMs(u64::MAX), monotonic_ms: env.now };
            outputs = self.replica.handle(never, heard);
            inputs = rest;
        }
        outputs.extend(self.replica.handle(crate::byzantine::clock(host, env, self.leads()), inputs));
        self.tell_oracle(host, env);
        // While votes wait for a write, so do certificates.
        let mut idle = !outputs.contains(&Output::Continue);
        for output in outputs {
            self.perform(host, env, output)?;
        }
        idle &= self.vote_queue.is_empty() && self.vote_writing.is_none();
        if host.honest() && idle {
            env.oracle.heard(host.node, self.given, self.certified());
        }
        Ok(())
    }

    fn request(&mut self, asker: Asker) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.askers.insert(request, asker);
        request
    }

    pub(crate) fn broadcast(&self, host: &Host, env: &mut Env, packet: &Packet) {
        for peer in self.replica.topology().others(host.node) {
            host.send(env, peer, packet.clone());
        }
    }
}
