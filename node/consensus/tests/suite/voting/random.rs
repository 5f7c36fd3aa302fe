//! Random orders, losses, duplicates, crashes and lies among a few nodes, over
//! three epochs with changing validators. Whatever happens, at most one chain is
//! certified and no honest node contradicts itself; and once everything is
//! delivered, everything gets certified.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// Height of the last block.
const TIP: u64 = 16;
/// Node 4 lies where anyone does; its power is below a third.
const LIAR: u64 = 4;

fn three_epochs() -> Chain {
    let sets = vec![equal(&[1, 2, 3, 4]), set(&[(1, 3), (2, 3), (3, 3), (4, 4)]), set(&[(1, 5), (3, 4), (4, 1)])];
    Chain::new(sets, &[5, 11])
}

#[derive(Clone, Debug)]
enum Op {
    /// The node executes some blocks.
    Execute(u64, u64),
    Tick(u64, u64),
    /// The guard write in flight becomes durable.
    Sync(u64),
    /// Some messages arrive, in any order.
    Deliver(usize, u64),
    Duplicate(usize),
    Lose(usize),
    /// The node restarts: unsynced certificates are gone, and some executed
    /// blocks; it comes back on a branch, unless a certificate holds it.
    Crash(u64, u64, u8),
    /// The node hears nothing, nor is it heard; or it is reached again.
    Isolate(u64),
    /// The liar signs what it likes, for one node.
    Lie(u64, u64, u8),
}

fn op(liars: bool) -> impl Strategy<Value = Op> {
    let node = 1..=4u64;
    let branch = 0..=u8::from(liars);
    let lies = if liars { 4 } else { 0 };
    prop_oneof![
        6 => (node.clone(), 1..4u64).prop_map(|(id, blocks)| Op::Execute(id, blocks)),
        4 => (node.clone(), 0..300u64).prop_map(|(id, ms)| Op::Tick(id, ms)),
        4 => node.clone().prop_map(Op::Sync),
        12 => (any::<usize>(), 1..12u64).prop_map(|(at, count)| Op::Deliver(at, count)),
        2 => any::<usize>().prop_map(Op::Duplicate),
        3 => any::<usize>().prop_map(Op::Lose),
        1 => (node.clone(), 0..8u64, branch.clone()).prop_map(|(id, lost, branch)| Op::Crash(id, lost, branch)),
        1 => node.clone().prop_map(Op::Isolate),
        lies => (node, 1..=TIP, branch).prop_map(|(to, height, branch)| Op::Lie(to, height, branch)),
    ]
}

#[derive(Clone, Debug)]
enum Message {
    Vote(Vote),
    Certificate(CertifiedHeader),
    UncertifiedFrom(Height),
}

struct Node {
    voting: Voting,
    /// A guard write in flight, and the effects that wait behind it.
    writing: Option<VoteGuard>,
    queue: VecDeque<Effect>,
    /// Disk: the guard, certificates, and how many of them are synced.
    guard: VoteGuard,
    certificates: BTreeMap<u64, CertifiedHeader>,
    synced: u64,
    executed: u64,
    branch: u8,
    ms: u64,
}

struct World {
    chain: Chain,
    /// Branches differ from here on.
    fork: u64,
    /// Honest nodes.
    nodes: BTreeMap<u64, Node>,
    network: Vec<(u64, u64, Message)>,
    isolated: Option<u64>,
    /// Everything ever certified anywhere, by height.
    certified: BTreeMap<u64, Hash>,
    /// Everything that honest nodes ever signed.
    signed: BTreeMap<(u64, u64), HeaderHash>,
}

impl World {
    fn new(honest: &[u64], fork: u64, branches: &[u8]) -> Self {
        let chain = three_epochs();
        let nodes = honest.iter().zip(branches).map(|(id, branch)| {
            let node = Node {
                voting: chain.node(*id),
                writing: None,
                queue: VecDeque::new(),
                guard: VoteGuard::NONE,
                certificates: BTreeMap::new(),
                synced: 0,
                executed: 0,
                branch: *branch,
                ms: 0,
            };
            (*id, node)
        });
        let nodes = nodes.collect();
        Self {
            chain,
            fork,
            nodes,
            network: Vec::new(),
            isolated: None,
            certified: BTreeMap::new(),
            signed: BTreeMap::new(),
        }
    }

    fn branch_at(&self, height: u64, branch: u8) -> u8 {
        if height < self.fork { 0 } else { branch }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Execute(id, blocks) => (0..blocks).for_each(|_| self.execute(id)),
            Op::Tick(id, ms) => self.tick(id, ms),
            Op::Sync(id) => self.sync(id),
            Op::Deliver(at, count) => {
                for _ in 0..count.min(self.network.len() as u64) {
                    let message = self.network.swap_remove(at % self.network.len());
                    self.deliver(message);
                }
            }
            Op::Duplicate(at) if !self.network.is_empty() => {
                let message = self.network[at % self.network.len()].clone();
                self.deliver(message);
            }
            Op::Lose(at) if !self.network.is_empty() => {
                let _ = self.network.swap_remove(at % self.network.len());
            }
            Op::Duplicate(_) | Op::Lose(_) => {}
            Op::Crash(id, lost, branch) => self.crash(id, lost, branch),
            Op::Isolate(id) => {
                self.network.retain(|(from, to, _)| *from != id && *to != id);
                self.isolated = Some(id).filter(|id| self.isolated != Some(*id));
            }
            Op::Lie(to, height, branch) => {
                let vote = self.chain.vote(LIAR, height, self.branch_at(height, branch));
                self.network.push((LIAR, to, Message::Vote(vote)));
            }
        }
    }

    fn execute(&mut self, id: u64) {
        let Some(height) = self.nodes.get(&id).map(|node| node.executed + 1).filter(|h| *h <= TIP) else { return };
        let header = self.chain.header(height, self.branch_at(height, self.nodes[&id].branch));
        let next_set = self.chain.next_set(height);
        let node = self.nodes.get_mut(&id).unwrap();
        node.executed = height;
        node.voting.executed(header, true, next_set).unwrap();
        self.perform(id);
    }

    fn tick(&mut self, id: u64, ms: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.ms += ms;
        node.voting.tick(at(node.ms)).unwrap();
        self.perform(id);
    }

    fn sync(&mut self, id: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(guard) = node.writing.take() else { return };
        node.guard = guard;
        node.voting.remembered().unwrap();
        self.perform(id);
    }

    fn deliver(&mut self, (from, to, message): (u64, u64, Message)) {
        if self.isolated.is_some_and(|id| id == from || id == to) {
            return;
        }
        let Some(node) = self.nodes.get_mut(&to) else { return };
        match message {
            Message::Vote(vote) => node.voting.vote(NodeId(from), vote),
            Message::Certificate(certified) => node.voting.certificate(certified),
            Message::UncertifiedFrom(height) => node.voting.uncertified_from(NodeId(from), height),
        }
        self.perform(to);
    }

    fn crash(&mut self, id: u64, lost: u64, branch: u8) {
        let (fork, chain) = (self.fork, &self.chain);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let synced = node.synced;
        node.certificates.retain(|height, _| *height <= synced);
        if synced < fork {
            node.branch = branch;
        }
        node.executed = node.executed.saturating_sub(lost).max(synced);
        (node.writing, node.queue) = (None, VecDeque::new());
        let newest = node.certificates.last_key_value().map(|(_, certified)| certified.clone());
        node.voting = chain.start(id, node.guard, newest);
        let branch = node.branch;
        for height in synced + 1..=node.executed {
            let header = chain.header(height, if height < fork { 0 } else { branch });
            node.voting.executed(header, true, chain.next_set(height)).unwrap();
        }
        self.perform(id);
    }

    /// Does effects up to a guard write, which takes its time.
    fn perform(&mut self, id: u64) {
        loop {
            let node = self.nodes.get_mut(&id).unwrap();
            node.queue.extend(node.voting.take_effects());
            if node.writing.is_some() {
                return;
            }
            match node.queue.pop_front() {
                Some(effect) => self.effect(id, effect),
                None => return,
            }
        }
    }

    fn effect(&mut self, id: u64, effect: Effect) {
        let others: Vec<u64> = self.nodes.keys().copied().filter(|to| *to != id).collect();
        let node = self.nodes.get_mut(&id).unwrap();
        match effect {
            Effect::WriteGuard(guard) => node.writing = Some(guard),
            Effect::BroadcastVote(vote) => {
                let before = *self.signed.entry((id, vote.height.0)).or_insert(vote.header_hash);
                assert_eq!(before, vote.header_hash, "node {id} signed two headers at {}", vote.height);
                assert!(vote.height <= node.guard.voted_height, "signed before it was remembered");
                self.network.extend(others.iter().map(|to| (id, *to, Message::Vote(vote.clone()))));
            }
            Effect::RelayVote(vote) => {
                self.network.extend(others.iter().map(|to| (id, *to, Message::Vote(vote.clone()))));
            }
            Effect::SendCertificate { to, certified } => {
                self.network.push((id, to.0, Message::Certificate(*certified)));
            }
            Effect::SendStored { to, from } => {
                let boundaries = &self.chain.boundaries;
                let mut from = node.certificates.range(from.0..);
                let boundary = from.find(|(height, _)| boundaries.contains(height));
                let newest = boundary.or(node.certificates.last_key_value());
                self.network.extend(newest.map(|(_, c)| (id, to.0, Message::Certificate(c.clone()))));
            }
            Effect::AskPeers { from } => {
                self.network.extend(others.iter().map(|to| (id, *to, Message::UncertifiedFrom(from))));
            }
            Effect::Certified { certified, ends_epoch } => self.certified(id, *certified, ends_epoch),
            Effect::Diverged { height, own, certified } => {
                assert_ne!(own, certified);
                assert!(self.certified.contains_key(&height.0) || self.fork <= height.0);
            }
            Effect::Evidence(evidence) => assert_eq!(evidence.validator(), NodeId(LIAR), "an honest node accused"),
            Effect::Refused { problem, .. } => panic!("a good vote was refused: {problem}"),
            Effect::Withheld { .. } => panic!("all blocks are old"),
        }
    }

    fn certified(&mut self, id: u64, certified: CertifiedHeader, ends_epoch: bool) {
        let height = certified.header.height.0;
        certified.verify(self.chain.set_at(height)).unwrap();
        assert_eq!(ends_epoch, self.chain.boundaries.contains(&height));
        let before = self.certified.insert(height, certified.header.tree_root);
        assert!(before.is_none_or(|root| root == certified.header.tree_root), "two certificates at {height}");
        // One chain: above the fork, the branch of one certificate is everyone's.
        let mut branches: Vec<_> = self.certified.range(self.fork..).map(|(_, root)| *root).collect();
        branches.dedup();
        assert!(branches.len() <= 1, "two chains are certified: {:?}", self.certified);
        let node = self.nodes.get_mut(&id).unwrap();
        node.certificates.insert(height, certified);
        if ends_epoch {
            node.synced = height;
        }
    }

    /// No more faults: everything is executed, ticked, synced and delivered.
    fn calm(&mut self) {
        self.isolated = None;
        for _ in 0..40 {
            for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                (0..TIP).for_each(|_| self.execute(id));
                self.tick(id, 300);
                self.sync(id);
            }
            for message in std::mem::take(&mut self.network) {
                self.deliver(message);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    /// Without lies, whatever was lost or crashed, all is certified in the end:
    /// what is under way at the end arrives, or is lost with all connections.
    #[test]
    fn everything_is_certified_once_everything_is_delivered(
        ops in prop::collection::vec(op(false), 0..800),
        cut in any::<bool>(),
    ) {
        let mut world = World::new(&[1, 2, 3, 4], 1, &[0; 4]);
        ops.iter().for_each(|op| world.step(op));
        if cut {
            world.network.clear();
        }
        world.calm();
        for (id, node) in &world.nodes {
            prop_assert_eq!(node.voting.certified(), Height(TIP), "node {}", id);
        }
        for boundary in &world.chain.boundaries {
            prop_assert!(world.certified.contains_key(boundary));
        }
    }

    /// A leader that feeds nodes two logs, nodes that come back with the other
    /// one after a crash, and a validator that signs both.
    #[test]
    fn one_chain_is_certified_whatever_a_third_lies(
        ops in prop::collection::vec(op(true), 0..800),
        fork in 1..TIP,
        branches in prop::collection::vec(0..=1u8, 3),
    ) {
        let mut world = World::new(&[1, 2, 3], fork, &branches);
        ops.iter().for_each(|op| world.step(op));
        for (height, branch) in (1..=TIP).flat_map(|height| [(height, 0), (height, 1)]) {
            (1..=3).for_each(|to| world.step(&Op::Lie(to, height, branch)));
        }
        world.calm();
    }
}
