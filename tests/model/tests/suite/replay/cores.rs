//! Three real cores, their disks, and everything that they have ever said. Nothing arrives
//! before somebody delivers it.

use std::cell::RefCell;
use std::rc::Rc;

use consilium_consensus::{
    Config, Core, ElectionTicks, Electorate, Initial, Judge, LogEntry, LogIndex, LogPosition, LogReader, Mandate,
    Membership, Origin, Output, RaftId, Signer, StepError,
};
use consilium_kit::{LogHandle, MemoryLog, keys};
use consilium_proto::ids::{LedgerId, NodeId, VotingPower};
use consilium_proto::validators::{Quorum, Validator, ValidatorSet};
use raft::eraftpb::{Message, MessageType};
use raft_prost::Message as _;

/// The validators; the last one is nobody here.
const NODES: [u64; 4] = [1, 2, 3, 4];
/// Election timeout of all.
const TICKS: u32 = 20;

pub(crate) fn id(node: u64) -> RaftId {
    RaftId::new(node).unwrap()
}

pub(crate) fn membership() -> Membership {
    Membership::new(NODES.map(id), [])
}

pub(crate) fn validators() -> ValidatorSet {
    let seat = |node| Validator { id: NodeId(node), power: VotingPower(1), key: keys::vote(node).verifying_key() };
    ValidatorSet::new(NODES.map(seat).into(), Quorum::new(2, 3).unwrap()).unwrap()
}

pub(crate) fn signer(node: u64) -> Signer {
    Signer { ledger_id: LedgerId::from_bytes([1; 32]), key: keys::vote(node) }
}

/// Takes every entry for fit.
struct Passes;

impl Judge for Passes {
    fn command(&self, _: &[u8], _: Origin) -> Result<(), &'static str> {
        Ok(())
    }
}

/// One node.
pub(crate) struct Node {
    pub(crate) core: Core<LogHandle>,
    log: Rc<RefCell<MemoryLog>>,
    /// What it was given to execute.
    pub(crate) executed: Vec<LogEntry>,
}

impl Node {
    fn new(node: u64) -> Self {
        let ticks = TICKS + node as u32;
        let mut config = Config::new(id(node));
        config.election_ticks = ElectionTicks { min: ticks, max: ticks + 1 };
        let log: Rc<RefCell<MemoryLog>> = Rc::default();
        let hard_state = log.borrow().hard_state();
        let initial = Initial { hard_state, membership: membership(), applied: LogIndex(0) };
        let mut core = Core::new(config, signer(node), initial, LogHandle::of_synced(&log)).unwrap();
        core.set_electorate(Electorate::new(vec![validators()], vec![]));
        core.set_may_lead(false);
        Self { core, log, executed: Vec::new() }
    }

    /// Its log as it is on its disk.
    pub(crate) fn positions(&self) -> Vec<LogPosition> {
        let reader = LogHandle::of_synced(&self.log);
        let last = self.log.borrow().durable_last().index.0;
        (1..=last).map(|index| reader.position(LogIndex(index)).unwrap()).collect()
    }
}

/// See the module.
pub(crate) struct Cores {
    pub(crate) nodes: Vec<Node>,
    /// All that was said, in order.
    pub(crate) said: Vec<Message>,
}

impl Cores {
    pub(crate) fn new() -> Self {
        let nodes = NODES[..3].iter().map(|node| Node::new(*node)).collect();
        Self { nodes, said: Vec::new() }
    }

    pub(crate) fn core(&mut self, at: usize) -> &mut Core<LogHandle> {
        &mut self.nodes[at].core
    }

    /// What was said since there were so many.
    pub(crate) fn since(&self, mark: usize, kind: MessageType) -> Vec<Message> {
        self.said[mark..].iter().filter(|message| message.get_msg_type() == kind).cloned().collect()
    }

    /// Gives a message to whom it is for, if that is one of the three.
    pub(crate) fn deliver(&mut self, message: &Message) -> Result<(), StepError> {
        let Some(at) = (1..=3).position(|node| node == message.to) else { return Ok(()) };
        let result = self.core(at).step(id(message.from), message.encode_to_vec().into(), &Passes);
        self.pump(at);
        result
    }

    /// Shows a node who leads.
    pub(crate) fn show(&mut self, at: usize, mandate: &Mandate) {
        self.core(at).take_mandate(mandate.clone()).unwrap();
        self.pump(at);
    }

    pub(crate) fn tick(&mut self, at: usize) {
        self.core(at).tick();
        self.pump(at);
    }

    /// A node that hears nobody until it would grant to anybody, and no longer leads.
    pub(crate) fn wait(&mut self, at: usize) {
        self.core(at).set_may_lead(false);
        (0..3 * TICKS).for_each(|_| self.tick(at));
    }

    /// Does all that a core asks for: what it writes is durable at once.
    fn pump(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        while let Some(output) = node.core.take_output().unwrap() {
            let Output { messages, persist, committed, .. } = output;
            let mut said = messages;
            if let Some(persist) = persist {
                node.log.borrow_mut().write(&persist);
                node.log.borrow_mut().sync_to(persist.seq);
                node.core.persisted(persist.seq).unwrap();
                said.extend(persist.messages_after);
            }
            if let Some(last) = committed.last().map(|entry| entry.index) {
                node.executed.extend(committed);
                node.core.applied(last).unwrap();
            }
            self.said.extend(said.iter().map(|message| Message::decode(message.bytes.as_ref()).unwrap()));
        }
    }
}
