//! Rebuilds a ledger that went astray: from the genesis, by certified blocks of
//! the peers, up to where the node's own log goes on, so that nothing that this node
//! has acknowledged to Raft is forgotten. It waits for no certificate that may need
//! its own vote: any number of nodes may rebuild at the same time. A state machine
//! without I/O, like the replica that starts when it is done.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use consilium_consensus::{LogBounds, LogIndex, LogPosition, LogReader};
use consilium_ledger::Events;
use consilium_proto::ids::{Height, LedgerId, NodeId, TimeMs};
use consilium_proto::pb;

use super::{ChainCheck, Fed, Feed};
use crate::execute::{Executor, Rules};
use crate::fault::Fault;
use crate::io::CallId;
use crate::ports::{Ledger, Log, LogStart, PortFault};
use crate::start;
use crate::topology::concerns_topology;
use crate::topology::{Introduction, Topology};

/// Pause before the peers are asked again.
const RETRY_MS: u64 = 1_000;

/// What happens while a ledger is rebuilt.
#[derive(Debug)]
pub enum RebuildInput {
    /// Time passes.
    Tick,
    /// A block in answer to [`RebuildOutput::Fetch`].
    Fetched {
        /// The call.
        call: CallId,
        /// The block.
        block: Box<pb::FetchBlocksResponse>,
    },
    /// No more blocks come for a call.
    FetchEnded {
        /// The call.
        call: CallId,
        /// Why, if it did not end well.
        problem: Option<String>,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum RebuildOutput {
    /// Fetch certified blocks of a peer.
    Fetch {
        /// The call.
        call: CallId,
        /// The peer.
        from: NodeId,
        /// The first height wanted.
        first: Height,
    },
    /// The rest of the blocks is not wanted.
    StopFetch(CallId),
    /// Ask a peer for a block: the end of the log may be an entry that is no block,
    /// and on an idle network the next one comes only if somebody asks for it.
    RequestTimeBlock {
        /// The peer.
        to: NodeId,
        /// The ledger's time must pass this.
        after: TimeMs,
    },
    /// The ledger stands at a new height.
    Executed {
        /// The height.
        height: Height,
        /// What came with it.
        events: Events,
    },
    /// Whom to talk to has changed.
    Topology(Arc<Topology>),
    /// The blocks of a peer were not taken.
    PeerFailed {
        /// The peer.
        peer: NodeId,
        /// Why.
        problem: String,
    },
    /// There is more to do: give [`RebuildInput::Tick`] at once. One block at a time,
    /// so that the ledger can be looked at after each.
    Continue,
    /// The ledger holds everything that the log held: [`finish`] and start.
    Done,
}

/// See the module.
pub struct Rebuild<L, R> {
    me: NodeId,
    ledger_id: LedgerId,
    introduction: Option<Introduction>,
    executor: Executor<L>,
    topology: Arc<Topology>,
    /// The node's own log, and how much it holds.
    log: R,
    bounds: LogBounds,
    reached: LogIndex,
    /// All peers of a round were asked, and one of them had no more.
    complete: bool,
    /// Peers that are still to be asked in this round.
    peers: VecDeque<NodeId>,
    asked: Option<(NodeId, Feed, u64)>,
    calls: CallId,
    /// A peer of this round had nothing that contradicts what is executed here.
    agreed: bool,
    /// A block of a peer of this round gave another header.
    refuted: Option<Fault>,
    /// Who gave one.
    refuters: BTreeSet<NodeId>,
    resume_ms: u64,
    patience_ms: u64,
    done: bool,
}

impl<L: Ledger, R: LogReader> Rebuild<L, R> {
    /// Goes on from what the ledger holds: at least its genesis.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn new(
        (me, ledger_id): (NodeId, LedgerId),
        introduction: Option<Introduction>,
        (ledger, rules): (L, Rules),
        log: R,
        patience_ms: u64,
    ) -> Result<Self, Fault> {
        let tip = ledger.tip()?.ok_or_else(|| PortFault::corrupt("ledger", "has no genesis block"))?;
        let topology = Arc::new(Topology::load(&ledger, &tip.1.header, introduction.as_ref())?);
        let (reached, bounds) = (tip.0, log.bounds().map_err(PortFault::from)?);
        Ok(Self {
            me,
            ledger_id,
            introduction,
            executor: Executor::new(ledger, rules, tip)?,
            topology,
            log,
            bounds,
            reached,
            complete: false,
            peers: VecDeque::new(),
            asked: None,
            calls: CallId::default(),
            agreed: true,
            refuted: None,
            refuters: BTreeSet::new(),
            resume_ms: 0,
            patience_ms,
            done: false,
        })
    }

    /// Whom to talk to.
    #[must_use]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// How far the ledger is, and how far it must come.
    #[must_use]
    pub fn progress(&self) -> (Height, LogIndex, LogIndex) {
        (self.executor.height(), self.reached, self.bounds.last)
    }

    /// Takes an input. Nothing is to be given any more after
    /// [`RebuildOutput::Done`].
    ///
    /// # Errors
    /// If the disk fails, or most peers have certified blocks that give other headers
    /// here, and nobody has others.
    pub fn handle(&mut self, now_ms: u64, input: RebuildInput) -> Result<Vec<RebuildOutput>, Fault> {
        let mut out = Vec::new();
        match input {
            RebuildInput::Tick => {}
            RebuildInput::Fetched { call, block } => {
                if let Some((_, feed, heard)) = self.asked.as_mut().filter(|(_, feed, _)| feed.call() == call) {
                    *heard = now_ms;
                    feed.push(*block);
                }
            }
            RebuildInput::FetchEnded { call, problem } => {
                if let Some((_, feed, _)) = self.asked.as_mut().filter(|(_, feed, _)| feed.call() == call) {
                    feed.end(problem);
                }
            }
        }
        self.give_up_late(now_ms);
        self.run(now_ms, &mut out)?;
        Ok(out)
    }

    fn give_up_late(&mut self, now_ms: u64) {
        if let Some((_, feed, heard)) = &mut self.asked
            && feed.is_waiting()
            && now_ms.saturating_sub(*heard) > self.patience_ms
        {
            feed.end(Some("does not answer".into()));
        }
    }

    fn run(&mut self, now_ms: u64, out: &mut Vec<RebuildOutput>) -> Result<(), Fault> {
        while !self.done {
            let Some((peer, feed, _)) = &mut self.asked else {
                if self.is_done()? {
                    self.done = true;
                    out.push(RebuildOutput::Done);
                } else if !self.ask(now_ms, out)? {
                    return Ok(());
                }
                continue;
            };
            let peer = *peer;
            match feed.next() {
                Fed::Nothing => return Ok(()),
                Fed::Execute(block) => {
                    let index = block.position.index;
                    match self.executor.take_over(*block) {
                        Ok(Some(executed)) => {
                            self.executed(index, executed, out)?;
                            out.push(RebuildOutput::Continue);
                            return Ok(());
                        }
                        Ok(None) => {}
                        // Not all that goes into a block is in its header: this may be
                        // the peer's fault, unless all peers give the same.
                        Err(fault @ Fault::Diverged { .. }) => {
                            self.ended(peer, Some(fault.to_string()), out);
                            self.refuted = Some(fault);
                            self.refuters.insert(peer);
                        }
                        Err(fault) => return Err(fault),
                    }
                }
                Fed::Certified(certified) => {
                    self.executor.ledger().write_certificate(&certified.certificate)?;
                    feed.set_validators(self.topology.validators().clone());
                }
                Fed::Ended(problem) => {
                    self.agreed |= problem.is_none();
                    self.ended(peer, problem, out);
                }
            }
        }
        Ok(())
    }

    /// Nothing is missing, or the own log has what is.
    fn is_done(&self) -> Result<bool, PortFault> {
        if self.reached >= self.bounds.last || !self.complete {
            return Ok(self.reached >= self.bounds.last);
        }
        let position = self.executor.ledger().position(self.executor.height())?.unwrap_or_default();
        Ok(match own_position(&self.log, &self.bounds, position.index)? {
            // A later leader's entry is there instead: what follows here was never committed.
            Some(own) => own.term <= position.term,
            None => false,
        })
    }

    fn executed(
        &mut self,
        index: LogIndex,
        executed: consilium_ledger::Executed,
        out: &mut Vec<RebuildOutput>,
    ) -> Result<(), Fault> {
        self.reached = self.reached.max(index);
        if concerns_topology(&executed.events) {
            let tip = &executed.tip.header;
            let topology = Topology::load(self.executor.ledger(), tip, self.introduction.as_ref())?;
            self.topology = Arc::new(topology);
            out.push(RebuildOutput::Topology(Arc::clone(&self.topology)));
        }
        out.push(RebuildOutput::Executed { height: executed.tip.header.height, events: executed.events });
        Ok(())
    }

    fn ended(&mut self, peer: NodeId, problem: Option<String>, out: &mut Vec<RebuildOutput>) {
        if let Some((_, feed, _)) = self.asked.take() {
            out.push(RebuildOutput::StopFetch(feed.call()));
        }
        if let Some(problem) = problem {
            out.push(RebuildOutput::PeerFailed { peer, problem });
        }
    }

    /// Asks the next peer of this round; `false` if it is not time for the next
    /// round yet.
    fn ask(&mut self, now_ms: u64, out: &mut Vec<RebuildOutput>) -> Result<bool, Fault> {
        if let Some(peer) = self.peers.pop_front() {
            let header = &self.executor.tip().header;
            let validators = self.topology.validators().clone();
            let check = ChainCheck::new(self.ledger_id, validators, (header.height, header.hash()));
            let (call, first) = (self.calls.take(), header.height.next());
            self.asked = Some((peer, Feed::new(call, check), now_ms));
            out.push(RebuildOutput::Fetch { call, from: peer, first });
            return Ok(true);
        }
        let first_round = self.resume_ms == 0;
        self.complete = !first_round && self.agreed;
        if self.is_done()? {
            return Ok(true);
        }
        if now_ms < self.resume_ms {
            return Ok(false);
        }
        let others: Vec<NodeId> = self.topology.others(self.me).collect();
        // One that lies, or is wrong like this node, may be the only one that answers.
        let most = 2 * std::mem::take(&mut self.refuters).len() > others.len();
        if let Some(fault) = self.refuted.take().filter(|_| !self.agreed && most) {
            return Err(fault);
        }
        let after = self.executor.tip().header.time;
        if !first_round {
            out.extend(others.iter().map(|to| RebuildOutput::RequestTimeBlock { to: *to, after }));
        }
        self.peers = others.into();
        self.agreed = false;
        self.resume_ms = now_ms + RETRY_MS;
        Ok(!self.peers.is_empty())
    }
}

/// Lets the log go on behind the rebuilt ledger: as it is, if it holds what comes next,
/// else from there.
///
/// # Errors
/// If the disk fails, or the ledger does not know where its newest block stood.
pub fn finish(ledger: &impl Ledger, log: &impl Log) -> Result<LogPosition, PortFault> {
    let (_, tip) = ledger.tip()?.ok_or_else(|| PortFault::corrupt("ledger", "has no genesis block"))?;
    let position = ledger.position(tip.header.height)?;
    let position = position.ok_or_else(|| PortFault::corrupt("ledger", "no position"))?;
    // The log may be cut below it from now on.
    let start = LogStart::new(position, ledger.sync()?);
    if own_position(log, &log.bounds()?, position.index)? == Some(position) {
        return Ok(position);
    }
    let start = start.ok_or_else(|| PortFault::corrupt("ledger", "is behind its own tip"))?;
    log.reset_to(start, start::behind(log.hard_state()?, position))?;
    Ok(position)
}

/// What a log holds where a block stood. The same position: the log goes on from there, and
/// holds all that came before.
fn own_position(log: &impl LogReader, bounds: &LogBounds, index: LogIndex) -> Result<Option<LogPosition>, PortFault> {
    let held = index >= bounds.truncated.index && index <= bounds.last;
    Ok(held.then(|| log.position(index)).transpose()?)
}
