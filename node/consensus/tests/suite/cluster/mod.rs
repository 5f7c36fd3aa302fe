//! A deterministic cluster: cores, virtual network, virtual disks, one seed.
//!
//! Everything random comes from the seed, and every node has a one-value election timeout, so
//! equal seeds give equal traces. Time is counted in steps; a tick is ten steps. The oracle
//! watches every applied entry and every election of every node.

pub(crate) mod disk;
pub(crate) mod oracle;

use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;

use bytes::Bytes;
use consilium_consensus::{
    Candidacy, Config, Core, ElectionTicks, Electorate, EntryKind, IncomingSnapshot, Installed, Judge, LogEntry,
    LogIndex, LogPosition, Mandate, Membership, MembershipOutcome, Origin, Output, Persist, RaftId, ReadOutcome, Role,
    Signer, SnapshotMeta, Term,
};
use consilium_kit::net::Links;
use consilium_kit::{LogHandle, Network, Rng, keys};
use consilium_proto::ids::{LedgerId, NodeId, VotingPower};
use consilium_proto::validators::{Quorum, Validator, ValidatorSet};

use self::disk::Store;
use self::oracle::Oracle;

/// Takes every entry for fit.
pub(crate) struct Passes;

impl Judge for Passes {
    fn command(&self, _: &[u8], _: Origin) -> Result<(), &'static str> {
        Ok(())
    }
}

/// Ledger of all groups here.
fn ledger() -> LedgerId {
    LedgerId::from_bytes([1; 32])
}

/// With what a node signs.
pub(crate) fn signer(node: RaftId) -> Signer {
    Signer { ledger_id: ledger(), key: keys::vote(node.get()) }
}

/// Nodes of one power each.
pub(crate) fn equals(nodes: impl IntoIterator<Item = u64>) -> ValidatorSet {
    let seat = |node| Validator { id: NodeId(node), power: VotingPower(1), key: keys::vote(node).verifying_key() };
    ValidatorSet::new(nodes.into_iter().map(seat).collect(), Quorum::new(2, 3).unwrap()).unwrap()
}

/// Whoever Raft elects may lead: each node has all the power in a set of its own.
pub(crate) fn anybody() -> Electorate {
    static ANYBODY: LazyLock<Electorate> =
        LazyLock::new(|| Electorate::new((1..=32).map(|node| equals([node])).collect(), vec![]));
    ANYBODY.clone()
}

/// The proof, where [`anybody`] may lead.
pub(crate) fn mandate(leader: RaftId, term: Term) -> Mandate {
    let (last, membership) = (LogPosition::default(), Membership::new([leader], []));
    let candidacy = Candidacy { term, candidate: leader, last, applied: LogIndex(0), membership };
    let node = leader.get();
    let grant = keys::vote(node).sign(&candidacy.signing_bytes(&ledger())).unwrap();
    Mandate { candidacy, validators_hash: equals([node]).hash(), grants: [(NodeId(node), grant)].into() }
}

pub(crate) const STEPS_PER_TICK: u64 = 10;
/// Steps that a message takes, `1..=LATENCY_MAX`, unless a test says otherwise.
const LATENCY_MAX: u64 = 5;

pub(crate) fn id(value: u64) -> RaftId {
    RaftId::new(value).unwrap()
}

/// A node: what survives a crash (`store`) and what does not.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) core: Option<Core<LogHandle>>,
    /// Writes under way, with the step at which they are durable.
    writes: VecDeque<(u64, Persist)>,
    pub(crate) reads: Vec<ReadOutcome>,
    pub(crate) snapshots_installed: u32,
}

pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<RaftId, Node>,
    pub(crate) net: Network<RaftId, Bytes>,
    pub(crate) oracle: Oracle,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    /// Steps that a write takes, `1..=write_steps_max`.
    pub(crate) write_steps_max: u64,
    /// Whether nodes fetch a state that is offered to them.
    pub(crate) install_snapshots: bool,
    pub(crate) electorate: Electorate,
    /// Whether nodes tell again how far their logs go.
    pub(crate) tells_heads: bool,
    pub(crate) adjust: fn(&mut Config),
    pub(crate) trace: Vec<String>,
}

impl Cluster {
    /// A group of `voters` nodes, ids from 1, nothing stored yet.
    pub(crate) fn new(voters: u64, seed: u64) -> Self {
        Self::with_config(voters, seed, |_| {})
    }

    pub(crate) fn with_config(voters: u64, seed: u64, adjust: fn(&mut Config)) -> Self {
        let mut rng = Rng::new(seed);
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            net: Network::new(Links::new(rng.fork(1), LATENCY_MAX)),
            oracle: Oracle::default(),
            rng,
            now: 0,
            write_steps_max: 4,
            install_snapshots: true,
            electorate: anybody(),
            tells_heads: true,
            adjust,
            trace: Vec::new(),
        };
        let membership = Membership::new((1..=voters).map(id), []);
        for node in 1..=voters {
            cluster.add_node(id(node), membership.clone());
        }
        cluster
    }

    /// Adds a node with an empty disk that believes in `membership`.
    pub(crate) fn add_node(&mut self, node: RaftId, membership: Membership) {
        let store = Store::new(membership);
        let (writes, reads) = (VecDeque::new(), Vec::new());
        self.nodes.insert(node, Node { store, core: None, writes, reads, snapshots_installed: 0 });
        self.start(node);
    }

    pub(crate) fn config(&self, node: RaftId) -> Config {
        let mut config = Config::new(node);
        // Distinct one-value timeouts: no randomness, no split votes.
        let min = 20 + 7 * node.get() as u32;
        config.election_ticks = ElectionTicks { min, max: min + 1 };
        (self.adjust)(&mut config);
        config
    }

    /// Starts a node from its disk.
    pub(crate) fn start(&mut self, node: RaftId) {
        let config = self.config(node);
        let everyone: Vec<RaftId> = self.nodes.keys().copied().collect();
        let entry = self.nodes.get_mut(&node).unwrap();
        let mut core = Core::new(config, signer(node), entry.store.initial(), entry.store.reader()).unwrap();
        core.set_electorate(self.electorate.clone());
        core.set_known_peers(everyone.iter().copied());
        entry.core = Some(core);
        // The others learn of it, as from the ledger.
        for other in self.nodes.values_mut().filter_map(|node| node.core.as_mut()) {
            other.set_known_peers(everyone.iter().copied());
        }
    }

    /// Loses everything that was not durable. Some writes may have reached the disk without
    /// anyone having been told.
    pub(crate) fn crash(&mut self, node: RaftId) {
        let entry = self.nodes.get_mut(&node).unwrap();
        entry.core = None;
        entry.writes.clear();
        entry.store.power_cut(&mut self.rng);
    }

    pub(crate) fn core(&mut self, node: RaftId) -> &mut Core<LogHandle> {
        self.nodes.get_mut(&node).unwrap().core.as_mut().unwrap()
    }

    pub(crate) fn is_up(&self, node: RaftId) -> bool {
        self.nodes[&node].core.is_some()
    }

    /// One step: what is due arrives, writes complete, and every tenth step is a tick.
    pub(crate) fn step(&mut self) {
        self.now += 1;
        for message in self.net.due(self.now) {
            let (from, to) = (message.from, message.to);
            self.show_mandate(from, to);
            if let Some(core) = self.nodes.get_mut(&to).and_then(|node| node.core.as_mut()) {
                let result = core.step(from, message.message, &Passes);
                self.trace.push(format!("{} {from}>{to} {result:?}", self.now));
                self.oracle.stepped(from, to, &result);
                self.pump(to);
            }
        }
        let everyone: Vec<RaftId> = self.nodes.keys().copied().collect();
        for node in everyone {
            self.complete_writes(node);
            if self.now.is_multiple_of(STEPS_PER_TICK) && self.is_up(node) {
                self.core(node).tick();
                if self.tells_heads && self.now.is_multiple_of(10 * STEPS_PER_TICK) {
                    self.core(node).tell_head();
                }
                self.pump(node);
            }
        }
    }

    /// Whoever leads shows so before it says anything.
    fn show_mandate(&mut self, from: RaftId, to: RaftId) {
        let mandate = self.nodes.get(&from).and_then(|node| node.core.as_ref()?.mandate().cloned());
        let core = self.nodes.get_mut(&to).and_then(|node| node.core.as_mut());
        if let (Some(mandate), Some(core)) = (mandate, core) {
            let _ = core.take_mandate(mandate);
        }
    }

    pub(crate) fn ticks(&mut self, ticks: u64) {
        for _ in 0..ticks * STEPS_PER_TICK {
            self.step();
        }
    }

    /// Runs until `done`, at most `ticks` ticks; panics with `what` otherwise.
    pub(crate) fn until(&mut self, ticks: u64, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..ticks * STEPS_PER_TICK {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("not within {ticks} ticks: {what}");
    }

    /// Does what the core of `node` asks for, until it asks for nothing.
    pub(crate) fn pump(&mut self, node: RaftId) {
        while self.is_up(node) {
            let Some(output) = self.core(node).take_output().unwrap() else { break };
            self.trace.push(format!("{} {node} {}", self.now, digest(&output)));
            self.handle(node, output);
        }
    }

    fn handle(&mut self, node: RaftId, output: Output) {
        let Output { messages, persist, committed, reads, leadership, snapshot_wanted, snapshot_offered } = output;
        for message in messages {
            self.net.send(self.now, node, message.to, message.bytes);
        }
        if let Some(persist) = persist {
            let steps = 1 + self.rng.below(self.write_steps_max);
            let entry = self.nodes.get_mut(&node).unwrap();
            entry.store.write(&persist);
            let after = entry.writes.back().map_or(0, |(at, _)| *at);
            entry.writes.push_back(((self.now + steps).max(after), persist));
        }
        self.apply(node, &committed);
        self.nodes.get_mut(&node).unwrap().reads.extend(reads);
        if let Some(change) = leadership.filter(|change| change.role == Role::Leader) {
            self.oracle.elected(change.term, node);
        }
        if !snapshot_wanted.is_empty() {
            self.offer_snapshot(node);
        }
        if let Some(offer) = snapshot_offered.filter(|_| self.install_snapshots) {
            self.fetch_and_install(node, &offer);
        }
    }

    fn apply(&mut self, node: RaftId, committed: &[LogEntry]) {
        let Some(last) = committed.last() else { return };
        let entry = self.nodes.get_mut(&node).unwrap();
        let core = entry.core.as_mut().unwrap();
        let store = &mut entry.store;
        for entry in committed {
            self.oracle.applied(node, entry, store.applied);
            // By kind first: the entry that leaves a joint configuration is empty.
            match &entry.kind {
                EntryKind::Normal(data) => store.machine.push((entry.index, data.clone())),
                EntryKind::ConfChange(_) => match core.apply_membership(entry, |_, _| Ok(())).unwrap() {
                    MembershipOutcome::Applied(membership) => store.membership = membership,
                    MembershipOutcome::Refused { .. } => {}
                },
                EntryKind::Empty => {}
            }
            store.applied = entry.index;
        }
        core.applied(last.index).unwrap();
    }

    fn complete_writes(&mut self, node: RaftId) {
        loop {
            let entry = self.nodes.get_mut(&node).unwrap();
            if entry.writes.front().is_none_or(|(at, _)| *at > self.now) {
                return;
            }
            let (_, persist) = entry.writes.pop_front().unwrap();
            entry.snapshots_installed += u32::from(persist.snapshot.is_some());
            entry.store.sync_to(persist.seq);
            entry.core.as_mut().unwrap().persisted(persist.seq).unwrap();
            for message in persist.messages_after {
                self.net.send(self.now, node, message.to, message.bytes);
            }
            self.pump(node);
        }
    }

    /// Offers the present state of `node` to whoever lacks entries.
    pub(crate) fn offer_snapshot(&mut self, node: RaftId) {
        let entry = self.nodes.get_mut(&node).unwrap();
        let meta = entry.store.archive_now();
        if let Some(meta) = meta {
            entry.core.as_mut().unwrap().offer_snapshot(meta).unwrap();
        }
    }

    /// What a node does with an offer: fetch from the sender, compare, install.
    fn fetch_and_install(&mut self, node: RaftId, offer: &IncomingSnapshot) {
        let archive = self.nodes[&offer.from].store.archive(&offer.meta);
        let entry = self.nodes.get_mut(&node).unwrap();
        let core = entry.core.as_mut().unwrap();
        match archive {
            None => core.refuse_snapshot(),
            Some(state) => {
                let result = core.install_snapshot(&offer.meta);
                if result == Ok(Installed::Persisting) {
                    entry.store.stage(offer.meta.clone(), state);
                }
            }
        }
    }

    /// Compacts the log of `node` up to what it has applied.
    pub(crate) fn compact(&mut self, node: RaftId) {
        let index = self.core(node).status().applied;
        if let Ok(position) = self.core(node).compact_to(index) {
            self.nodes.get_mut(&node).unwrap().store.compact(position);
        }
    }

    /// The leader of the highest term among the nodes that are up.
    pub(crate) fn leader(&self) -> Option<RaftId> {
        let statuses = self.nodes.values().filter_map(|node| node.core.as_ref()).map(Core::status);
        let leaders = statuses.filter(|status| status.role == Role::Leader);
        leaders.max_by_key(|status| status.term).map(|status| status.id)
    }

    /// Runs until someone leads and has committed in its term.
    pub(crate) fn elect(&mut self) -> RaftId {
        self.until(400, "no leader", |cluster| {
            let Some(leader) = cluster.leader() else { return false };
            let status = cluster.core(leader).status();
            status.applied == status.last_index
        });
        self.leader().unwrap()
    }

    pub(crate) fn propose(&mut self, node: RaftId, data: &str) -> LogPosition {
        let proposed = self.core(node).propose(Bytes::copy_from_slice(data.as_bytes())).unwrap();
        self.pump(node);
        proposed
    }

    /// Proposes at the leader and waits until `nodes` have applied it.
    pub(crate) fn commit(&mut self, data: &str, nodes: &[RaftId]) -> LogPosition {
        let leader = self.elect();
        let proposed = self.propose(leader, data);
        self.until(200, "not applied everywhere", |cluster| {
            nodes.iter().all(|node| cluster.nodes[node].store.applied >= proposed.index)
        });
        proposed
    }

    /// The commands that `node` has applied.
    pub(crate) fn machine(&self, node: RaftId) -> Vec<String> {
        let store = &self.nodes[&node].store;
        store.machine.iter().map(|(_, data)| String::from_utf8_lossy(data).into_owned()).collect()
    }

    pub(crate) fn everyone(&self) -> Vec<RaftId> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn applied(&self, node: RaftId) -> LogIndex {
        self.nodes[&node].store.applied
    }

    /// The meta of the state that `node` could offer now.
    pub(crate) fn meta(&mut self, node: RaftId) -> SnapshotMeta {
        self.nodes.get_mut(&node).unwrap().store.archive_now().unwrap()
    }
}

/// What of an output goes into the trace.
fn digest(output: &Output) -> String {
    let persist = output
        .persist
        .as_ref()
        .map(|persist| (persist.seq, persist.entries.len(), persist.hard_state, persist.messages_after.len()));
    format!(
        "m{} p{persist:?} c{:?} {:?} {:?}",
        output.messages.len(),
        output.committed.iter().map(|entry| entry.index.0).collect::<Vec<_>>(),
        output.leadership,
        output.reads,
    )
}
