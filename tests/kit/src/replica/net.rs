//! A few replicas, and what goes between them: delivered in the order in which it
//! was said, none lost but to and from nodes that are cut off.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::{Height, NodeId, TimeMs};
use consilium_proto::parameters::recommended_parameters;
use consilium_proto::pb::{self, ForwardResult};
use consilium_proto::transaction::{Slot, Transaction};
use consilium_replica::catch_up::{Serving, serve_attachments};
use consilium_replica::peer::PeerMessage;
use consilium_replica::submission::WaitFor;
use consilium_replica::{CallId, Clock, Input, Output, RequestId, Settings};

use super::{Disk, Node, settings};
use crate::{Action, Identity, MemberSpec, START, genesis, people};

/// Time between two ticks.
pub const TICK_MS: u64 = 50;
/// How long a client waits.
const REQUEST_MS: u64 = 10_000;
/// Packets after which a test has gone astray.
const PACKETS_MAX: usize = 1_000_000;

enum Packet {
    Message(PeerMessage),
    Forward(CallId, Vec<Transaction>),
    ForwardAnswer(CallId, Vec<ForwardResult>),
    Fetch(CallId, Height),
    Blocks(CallId, Vec<pb::FetchBlocksResponse>),
    FetchAttachments(CallId, Vec<Slot>),
    Attachments(CallId, Vec<Bytes>),
}

/// See the module.
pub struct Replicas {
    pub genesis: Genesis,
    pub now: Clock,
    /// How far wall clocks are off, in milliseconds.
    pub clocks: BTreeMap<u64, i64>,
    pub nodes: BTreeMap<u64, Node>,
    change: fn(&mut Settings),
    network: VecDeque<(u64, u64, Packet)>,
    cut_off: BTreeSet<u64>,
    said: BTreeMap<u64, Vec<Output>>,
    askers: BTreeMap<RequestId, (u64, CallId)>,
    numbers: u64,
}

impl Replicas {
    /// All nodes of a new network, each on a disk of its own. Raft ids count from 1
    /// in the order of the members.
    #[must_use]
    pub fn new(members: &[MemberSpec<'_>], parameters: fn(&mut pb::Parameters), change: fn(&mut Settings)) -> Self {
        let mut agreed = recommended_parameters();
        parameters(&mut agreed);
        let genesis = genesis("test", START, agreed, members);
        let ids: Vec<u64> = genesis.nodes().map(|(_, node)| node.raft_id.0).collect();
        let mut replicas = Self {
            genesis,
            now: Clock { wall: TimeMs(START + 1_000), monotonic_ms: 1_000 },
            clocks: BTreeMap::new(),
            nodes: BTreeMap::new(),
            change,
            network: VecDeque::new(),
            cut_off: BTreeSet::new(),
            said: BTreeMap::new(),
            askers: BTreeMap::new(),
            numbers: 0,
        };
        ids.into_iter().for_each(|id| replicas.start(id, Disk::new()));
        replicas
    }

    /// One node that is alone, and leads.
    #[must_use]
    pub fn solo(parameters: fn(&mut pb::Parameters), change: fn(&mut Settings)) -> Self {
        let mut solo = Self::new(&[("a.example", 10, 1)], parameters, change);
        solo.elect(1);
        solo
    }

    /// Starts a node on a disk, in place of the one that ran under this id.
    pub fn start(&mut self, id: u64, disk: Disk) {
        let mut settings = settings(NodeId(id));
        (self.change)(&mut settings);
        let node = Node::start(&self.genesis, settings, disk, self.clock(id)).unwrap();
        self.nodes.insert(id, node);
    }

    /// Stops a node and starts it again on its disk.
    pub fn restart(&mut self, id: u64) {
        let node = self.nodes.remove(&id).unwrap();
        self.start(id, node.disk);
    }

    #[must_use]
    pub fn node(&self, id: u64) -> &Node {
        &self.nodes[&id]
    }

    pub fn node_mut(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    /// What a node said since the last call, but for its picture of itself, and looks at
    /// its store.
    pub fn said(&mut self, id: u64) -> Vec<Output> {
        self.said.remove(&id).unwrap_or_default()
    }

    /// Nothing goes to or from a node any more.
    pub fn cut_off(&mut self, id: u64) {
        self.cut_off.insert(id);
    }

    /// Everybody hears everybody again.
    pub fn join(&mut self) {
        self.cut_off.clear();
    }

    /// The time as a node sees it.
    fn clock(&self, id: u64) -> Clock {
        let offset = self.clocks.get(&id).copied().unwrap_or_default();
        Clock { wall: TimeMs(self.now.wall.0.saturating_add_signed(offset)), ..self.now }
    }

    /// Gives inputs to a node and lets it do what it can do alone.
    pub fn give(&mut self, id: u64, inputs: impl IntoIterator<Item = Input>) {
        let now = self.clock(id);
        let hold = self.node(id).hold;
        let outputs = self.node_mut(id).settle(now, inputs);
        outputs.iter().filter(|output| !hold(output)).for_each(|output| self.carry(id, output));
        let kept = outputs.into_iter().filter(|output| !matches!(output, Output::Status(_) | Output::Audit(_)));
        self.said.entry(id).or_default().extend(kept);
    }

    /// Does what a node asked for and was held, and gives it the reports.
    pub fn release(&mut self, id: u64) {
        let node = self.node_mut(id);
        let held = node.release();
        let inputs: Vec<Input> = held.iter().flat_map(|output| node.perform(output)).collect();
        held.iter().for_each(|output| self.carry(id, output));
        self.give(id, inputs);
    }

    /// Delivers until nothing is on its way.
    pub fn run(&mut self) {
        for _ in 0..PACKETS_MAX {
            let Some((from, to, packet)) = self.network.pop_front() else { return };
            if !self.cut_off.contains(&from) && !self.cut_off.contains(&to) && self.nodes.contains_key(&to) {
                self.deliver(from, to, packet);
            }
        }
        panic!("{PACKETS_MAX} packets, and no end");
    }

    /// So many ticks pass for all nodes.
    pub fn pass(&mut self, ticks: usize) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for _ in 0..ticks {
            self.pass_time(TICK_MS);
            ids.iter().for_each(|id| self.give(*id, [Input::Tick]));
            self.run();
        }
    }

    /// Time passes, and nobody ticks.
    pub fn pass_time(&mut self, ms: u64) {
        self.now = Clock { wall: TimeMs(self.now.wall.0 + ms), monotonic_ms: self.now.monotonic_ms + ms };
    }

    /// Lets time pass for one node alone until it leads.
    pub fn elect(&mut self, id: u64) {
        for _ in 0..200 {
            if self.leader(id) == Some(id) {
                return;
            }
            self.pass_time(TICK_MS);
            self.give(id, [Input::Tick]);
            self.run();
        }
        panic!("node {id} does not come to lead");
    }

    /// Whom a node takes for the leader.
    #[must_use]
    pub fn leader(&self, id: u64) -> Option<u64> {
        self.node(id).replica.status().raft.leader.map(|leader| leader.get())
    }

    /// A number that was not used before.
    pub fn request(&mut self) -> RequestId {
        self.numbers += 1;
        RequestId(self.numbers)
    }

    /// Somebody signs a transaction.
    pub fn sign(&mut self, by: &Identity, actions: Vec<Action>, attachments: Vec<Bytes>) -> Transaction {
        let signed = by.sign(self.body(actions), attachments);
        Transaction::parse(&signed, self.genesis.ledger_id).unwrap()
    }

    /// Somebody enrols.
    pub fn enrollment(&mut self, who: &Identity) -> Transaction {
        let enrollment = who.enrollment(self.genesis.ledger_id);
        let signed = who.sign_enrollment(self.body(vec![enrollment]));
        Transaction::parse(&signed, self.genesis.ledger_id).unwrap()
    }

    fn body(&mut self, actions: Vec<Action>) -> pb::TransactionBody {
        self.numbers += 1;
        people::body(self.genesis.ledger_id.to_bytes(), self.numbers, self.now.wall.0 + 3_600_000, actions)
    }

    /// A transaction as a client's input.
    pub fn submit(&mut self, id: u64, transaction: Transaction, wait_for: WaitFor) -> Input {
        let (request, deadline_ms) = (self.request(), self.now.monotonic_ms + REQUEST_MS);
        let submission = self.node(id).submission(transaction);
        Input::Submit { request, submission, wait_for, deadline_ms }
    }

    /// A transaction goes through all nodes.
    pub fn order(&mut self, id: u64, transaction: Transaction) {
        let input = self.submit(id, transaction, WaitFor::Certified);
        self.give(id, [input]);
        self.run();
    }

    /// A transaction that nobody may refuse: somebody enrols.
    pub fn enroll(&mut self, id: u64, who: &Identity) {
        let transaction = self.enrollment(who);
        self.order(id, transaction);
    }

    /// So many blocks without transactions, a second apart.
    pub fn time_blocks(&mut self, leader: u64, count: usize) {
        for _ in 0..count {
            let after = self.node(leader).replica.applied().time;
            self.pass_time(1_000);
            self.give(leader, [Input::RequestTimeBlock(after)]);
            self.run();
        }
    }

    fn carry(&mut self, from: u64, output: &Output) {
        let (to, packet) = match output {
            Output::Send { to, message } => (to.0, Packet::Message(message.clone())),
            Output::Forward { call, to, transactions } => (to.0, Packet::Forward(*call, transactions.clone())),
            Output::Fetch { call, from: peer, first } => (peer.0, Packet::Fetch(*call, *first)),
            Output::FetchAttachments { call, from: peer, slots } => {
                (peer.0, Packet::FetchAttachments(*call, slots.clone()))
            }
            Output::ForwardedAnswer { request, results } => {
                let Some((asker, call)) = self.askers.remove(request) else { return };
                (asker, Packet::ForwardAnswer(call, results.clone()))
            }
            Output::WriteLog(_)
            | Output::WriteVote(_)
            | Output::Check { .. }
            | Output::StopFetch(_)
            | Output::Audit(_)
            | Output::Answer { .. }
            | Output::ReadAnswer { .. }
            | Output::TransferAnswer { .. }
            | Output::Executed(_)
            | Output::Applied(_)
            | Output::Certified(_)
            | Output::Topology(_)
            | Output::Leader(_)
            | Output::Status(_)
            | Output::Raise(_)
            | Output::Clear(_)
            | Output::Notice(_)
            | Output::Continue
            | Output::TurnIn { .. }
            | Output::Halt(_) => return,
        };
        self.network.push_back((from, to, packet));
    }

    fn deliver(&mut self, from: u64, to: u64, packet: Packet) {
        let inputs = match packet {
            Packet::Message(message) => vec![Input::Peer { from: NodeId(from), messages: vec![message] }],
            Packet::Forward(call, transactions) => {
                let request = self.request();
                self.askers.insert(request, (from, call));
                let node = self.node(to);
                let submissions = transactions.into_iter().map(|t| Some(node.submission(t))).collect();
                vec![Input::Forwarded { request, submissions }]
            }
            Packet::ForwardAnswer(call, results) => vec![Input::ForwardAnswer { call, results }],
            Packet::Fetch(call, first) => {
                let blocks = self.blocks(to, first);
                return self.network.push_back((to, from, Packet::Blocks(call, blocks)));
            }
            Packet::Blocks(call, blocks) => {
                let fetched = |block| Input::Fetched { call, block: Box::new(block) };
                let end = Input::FetchEnded { call, problem: None };
                blocks.into_iter().map(fetched).chain([end]).collect()
            }
            Packet::FetchAttachments(call, slots) => {
                let contents = serve_attachments(&self.node(to).disk.ledger, &slots).unwrap();
                return self.network.push_back((to, from, Packet::Attachments(call, contents)));
            }
            Packet::Attachments(call, contents) => vec![Input::AttachmentsFetched { call, contents }],
        };
        self.give(to, inputs);
    }

    /// What a node answers who fetches blocks from a height on.
    #[must_use]
    pub fn blocks(&self, id: u64, first: Height) -> Vec<pb::FetchBlocksResponse> {
        let Node { replica, disk, .. } = self.node(id);
        let certified = replica.newest_certified().map_or(Height::GENESIS, |certified| certified.header.height);
        let mut serving = Serving::new(self.genesis.ledger_id, first, certified);
        std::iter::from_fn(|| serving.next(&disk.ledger).unwrap()).collect()
    }
}
