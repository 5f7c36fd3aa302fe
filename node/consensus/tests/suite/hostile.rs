//! Hostile peers against a group of three: nothing that arrives may panic a node.
//!
//! Messages are real ones with fields replaced, or invented ones, claimed by any member, mixed
//! with ticks, writes that complete late, reads, proposals and snapshots. The library below
//! panics on most of these without the screen; the profile has overflow checks on. Safety is
//! not asserted here: with a lying leader the ledger's certificates provide it, not Raft.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use consilium_consensus::{
    Config, Core, ElectionTicks, EntryKind, HardState, Initial, LogIndex, LogPosition, Membership, Outbound, Output,
    Persist, RaftId, ReadContext, SnapshotMeta, Term,
};
use consilium_kit::{LogHandle, MemoryLog};
use proptest::prelude::*;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeV2, ConfState, Entry, Message, MessageType, Snapshot, SnapshotMetadata,
};
use raft_prost::Message as _;

use crate::cluster::{Passes, anybody, id, mandate, signer};

struct Node {
    core: Core<LogHandle>,
    log: Rc<RefCell<MemoryLog>>,
    writes: VecDeque<Persist>,
    /// Of what was or will be applied.
    stood: BTreeMap<LogIndex, LogPosition>,
}

struct Group {
    nodes: Vec<Node>,
    /// Every message an honest node sent: (from, to, bytes).
    sent: Vec<(usize, RaftId, Bytes)>,
    delivered: usize,
    accepted: u32,
}

impl Group {
    fn new() -> Self {
        let nodes = (1..=3).map(|node| {
            let mut config = Config::new(id(node));
            let min = 5 + 3 * node as u32;
            config.election_ticks = ElectionTicks { min, max: min + 1 };
            config.cache_bytes_max = 200;
            let initial = Initial {
                hard_state: HardState::default(),
                membership: Membership::new((1..=3).map(id), []),
                applied: LogIndex(0),
            };
            let log = Rc::default();
            let mut core = Core::new(config, signer(id(node)), initial, LogHandle::of_synced(&log)).unwrap();
            core.set_electorate(anybody());
            Node { core, log, writes: VecDeque::new(), stood: BTreeMap::new() }
        });
        Self { nodes: nodes.collect(), sent: Vec::new(), delivered: 0, accepted: 0 }
    }

    /// A group with a leader and a few entries, so that mutations meet real state.
    fn running() -> Self {
        let mut group = Self::new();
        for round in 0..40 {
            (0..3).for_each(|node| group.nodes[node].core.tick());
            group.settle();
            if round > 20 {
                let _ = group.nodes[0].core.propose(vec![round; 20].into());
            }
        }
        assert_eq!(group.nodes[2].core.status().leader, Some(id(1)));
        assert!(group.nodes[2].core.status().commit > LogIndex(10));
        group
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            for node in 0..3 {
                self.pump(node);
                while !self.nodes[node].writes.is_empty() {
                    self.complete(node);
                }
            }
            self.deliver(usize::MAX);
        }
    }

    fn pump(&mut self, node: usize) {
        while let Ok(Some(output)) = self.nodes[node].core.take_output() {
            let Output { messages, persist, committed, snapshot_wanted, snapshot_offered, .. } = output;
            self.send(node, messages);
            let Node { core, writes, stood, .. } = &mut self.nodes[node];
            let snapshot = persist.as_ref().and_then(|persist| persist.snapshot.as_ref());
            stood.extend(snapshot.map(|meta| (meta.index, meta.position())));
            writes.extend(persist);
            for entry in &committed {
                stood.insert(entry.index, entry.position());
                if matches!(entry.kind, EntryKind::ConfChange(_)) {
                    let _ = core.apply_membership(entry, |_, _| Ok(()));
                }
            }
            if let Some(last) = committed.last() {
                core.applied(last.index).unwrap();
            }
            if !snapshot_wanted.is_empty() {
                let status = core.status();
                let index = status.applied;
                let LogPosition { index, term, hash } = stood.get(&index).copied().unwrap_or_default();
                let membership = status.membership;
                let _ = core.offer_snapshot(SnapshotMeta { index, term, hash, membership });
            }
            // Even a node that verifies nothing must not fall over.
            if let Some(offer) = snapshot_offered {
                if offer.meta.index.0.is_multiple_of(2) {
                    let _ = core.install_snapshot(&offer.meta);
                } else {
                    core.refuse_snapshot();
                }
            }
        }
    }

    fn send(&mut self, node: usize, messages: Vec<Outbound>) {
        self.sent.extend(messages.into_iter().map(|message| (node, message.to, message.bytes)));
    }

    fn complete(&mut self, node: usize) {
        let entry = &mut self.nodes[node];
        let Some(persist) = entry.writes.pop_front() else { return };
        entry.log.borrow_mut().write(&persist);
        entry.log.borrow_mut().sync();
        entry.core.persisted(persist.seq).unwrap();
        self.send(node, persist.messages_after);
        self.pump(node);
    }

    fn deliver(&mut self, count: usize) {
        for _ in 0..count {
            let Some((from, to, bytes)) = self.sent.get(self.delivered).cloned() else { return };
            self.delivered += 1;
            self.step(from, to, bytes);
        }
    }

    fn step(&mut self, from: usize, to: RaftId, bytes: Bytes) {
        let to = to.get() as usize - 1;
        if to < 3 {
            // Whoever lies was elected: what nobody was elected for is not looked at.
            let message = Message::decode(bytes.as_ref()).unwrap_or_default();
            let leads = [MessageType::MsgAppend, MessageType::MsgHeartbeat, MessageType::MsgSnapshot];
            if leads.into_iter().any(|kind| message.msg_type == kind as i32) {
                let _ = self.nodes[to].core.take_mandate(mandate(id(from as u64 + 1), Term(message.term)));
            }
            let result = self.nodes[to].core.step(id(from as u64 + 1), bytes, &Passes);
            self.accepted += u32::from(result.is_ok());
            self.pump(to);
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Tick { node, count } => {
                for _ in 0..*count {
                    self.nodes[*node].core.tick();
                    self.pump(*node);
                }
            }
            Action::Complete { node } => self.complete(*node),
            Action::Deliver { count } => self.deliver(*count),
            Action::Propose { node } => {
                let _ = self.nodes[*node].core.propose(Bytes::from_static(b"honest"));
                self.pump(*node);
            }
            Action::Read { node, context } => {
                let _ = self.nodes[*node].core.read_index(ReadContext([*context; 16]));
                self.pump(*node);
            }
            Action::Transfer { node } => {
                let _ = self.nodes[*node].core.transfer_leadership(None);
                self.pump(*node);
            }
            Action::Compact { node } => {
                let applied = self.nodes[*node].core.status().applied;
                if let Ok(position) = self.nodes[*node].core.compact_to(applied) {
                    let mut log = self.nodes[*node].log.borrow_mut();
                    log.compact_to(position);
                    log.sync();
                }
            }
            Action::Hostile { from, to, base, mutations } => {
                let mut message = match base {
                    Some(base) if !self.sent.is_empty() => {
                        let (_, _, bytes) = &self.sent[base.index(self.sent.len())];
                        Message::decode(bytes.as_ref()).unwrap()
                    }
                    _ => Message::default(),
                };
                message.from = *from as u64 + 1;
                message.to = *to as u64 + 1;
                mutations.iter().for_each(|mutation| mutation.apply(&mut message));
                self.step(*from, id(*to as u64 + 1), message.encode_to_vec().into());
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Action {
    Tick { node: usize, count: u8 },
    Complete { node: usize },
    Deliver { count: usize },
    Propose { node: usize },
    Read { node: usize, context: u8 },
    Transfer { node: usize },
    Compact { node: usize },
    Hostile { from: usize, to: usize, base: Option<proptest::sample::Index>, mutations: Vec<Mutation> },
}

#[derive(Clone, Debug)]
enum Mutation {
    Type(i32),
    Term(u64),
    LogTerm(u64),
    Index(u64),
    Commit(u64),
    CommitTerm(u64),
    RejectHint(u64),
    RequestSnapshot(u64),
    Reject(bool),
    Priority(i64),
    Context(Vec<u8>),
    /// (index, term, type, data) of each entry.
    Entries(Vec<(u64, u64, i32, Vec<u8>)>),
    /// The same, but indices and terms fit the message.
    FittingEntries(Vec<(i32, Vec<u8>)>),
    Snapshot(Option<(u64, u64, Lists, bool)>),
}

type Lists = [Vec<u64>; 4];

impl Mutation {
    fn apply(&self, message: &mut Message) {
        match self.clone() {
            Self::Type(value) => message.msg_type = value,
            Self::Term(value) => message.term = value,
            Self::LogTerm(value) => message.log_term = value,
            Self::Index(value) => message.index = value,
            Self::Commit(value) => message.commit = value,
            Self::CommitTerm(value) => message.commit_term = value,
            Self::RejectHint(value) => message.reject_hint = value,
            Self::RequestSnapshot(value) => message.request_snapshot = value,
            Self::Reject(value) => message.reject = value,
            Self::Priority(value) => message.priority = value,
            Self::Context(value) => message.context = value,
            Self::Entries(entries) => {
                let entry =
                    |(index, term, entry_type, data)| Entry { index, term, entry_type, data, ..Entry::default() };
                message.entries = entries.into_iter().map(entry).collect();
            }
            Self::FittingEntries(entries) => {
                let (first, term) = (message.index.saturating_add(1), message.term);
                let fit = |(offset, (entry_type, data)): (usize, (i32, Vec<u8>))| Entry {
                    index: first.saturating_add(offset as u64),
                    term,
                    entry_type,
                    data,
                    ..Entry::default()
                };
                message.entries = entries.into_iter().enumerate().map(fit).collect();
            }
            Self::Snapshot(None) => message.snapshot = None,
            Self::Snapshot(Some((index, term, lists, auto_leave))) => {
                let [voters, learners, voters_outgoing, learners_next] = lists;
                let conf_state = Some(ConfState { voters, learners, voters_outgoing, learners_next, auto_leave });
                let metadata = Some(SnapshotMetadata { conf_state, index, term });
                message.snapshot = Some(Snapshot { data: vec![1, 2, 3], metadata });
            }
        }
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0u64..40,
        1 => prop_oneof![
            Just(u64::MAX), Just(u64::MAX - 1), Just(1 << 62), Just((1 << 62) + 1),
            Just(1 << 63), Just(1 << 20), Just(1 << 32), any::<u64>(),
        ],
    ]
}

fn conf_change() -> impl Strategy<Value = Vec<u8>> {
    let single = (0i32..4, 0u64..6).prop_map(|(change_type, node_id)| ConfChangeSingle { change_type, node_id });
    (0i32..4, proptest::collection::vec(single, 0..4))
        .prop_map(|(transition, changes)| ConfChangeV2 { transition, changes, context: Vec::new() }.encode_to_vec())
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        conf_change(),
        proptest::collection::vec(any::<u8>(), 0..30),
        // The shape of a read: a node id and a context.
        (1u64..4, 0u8..4).prop_map(|(id, context)| { [id.to_be_bytes().to_vec(), vec![context; 16]].concat() }),
    ]
}

fn ids() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(0u64..5, 0..4)
}

fn mutation() -> impl Strategy<Value = Mutation> {
    use proptest::collection::vec;
    prop_oneof![
        (-1i32..21).prop_map(Mutation::Type),
        number().prop_map(Mutation::Term),
        number().prop_map(Mutation::LogTerm),
        number().prop_map(Mutation::Index),
        number().prop_map(Mutation::Commit),
        number().prop_map(Mutation::CommitTerm),
        number().prop_map(Mutation::RejectHint),
        number().prop_map(Mutation::RequestSnapshot),
        any::<bool>().prop_map(Mutation::Reject),
        any::<i64>().prop_map(Mutation::Priority),
        prop_oneof![Just(raft::CAMPAIGN_TRANSFER.to_vec()), data()].prop_map(Mutation::Context),
        vec((number(), number(), 0i32..4, data()), 0..4).prop_map(Mutation::Entries),
        vec((0i32..3, data()), 0..4).prop_map(Mutation::FittingEntries),
        proptest::option::of((number(), number(), [ids(), ids(), ids(), ids()], any::<bool>()))
            .prop_map(Mutation::Snapshot),
    ]
}

/// A whole message whose shape fits its type, so that more of it gets past the envelope.
fn shaped() -> impl Strategy<Value = Vec<Mutation>> {
    let kinds = vec![3, 3, 4, 5, 6, 7, 8, 9, 14, 15, 16, 17, 18];
    let entries = proptest::collection::vec((0i32..3, data()), 0..3);
    let snapshot = (number(), 0u64..3, [ids(), ids(), ids(), ids()], any::<bool>());
    (proptest::sample::select(kinds), number(), 0u64..4, number(), number(), entries, snapshot).prop_map(
        |(kind, term, log_term, index, commit, entries, snapshot)| {
            let mut mutations = vec![
                Mutation::Type(kind),
                Mutation::Term(if kind == MessageType::MsgReadIndex as i32 { 0 } else { term }),
                Mutation::LogTerm(log_term),
                Mutation::Index(index),
                Mutation::Commit(commit),
                Mutation::CommitTerm(log_term),
                Mutation::RejectHint(commit),
                Mutation::Reject(commit % 2 == 0),
            ];
            if matches!(kind, 3 | 15 | 16) {
                mutations.push(Mutation::FittingEntries(entries));
            }
            if kind == MessageType::MsgSnapshot as i32 {
                mutations.push(Mutation::Snapshot(Some(snapshot)));
            }
            mutations
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let pair = || (0usize..3, 0usize..3);
    prop_oneof![
        2 => (0usize..3, 1u8..12).prop_map(|(node, count)| Action::Tick { node, count }),
        3 => (0usize..3).prop_map(|node| Action::Complete { node }),
        3 => (1usize..10).prop_map(|count| Action::Deliver { count }),
        1 => (0usize..3).prop_map(|node| Action::Propose { node }),
        1 => (0usize..3, 0u8..4).prop_map(|(node, context)| Action::Read { node, context }),
        1 => (0usize..3).prop_map(|node| Action::Transfer { node }),
        1 => (0usize..3).prop_map(|node| Action::Compact { node }),
        12 => (
            pair(),
            any::<proptest::sample::Index>(),
            proptest::collection::vec(mutation(), 0..3),
        ).prop_map(|((from, to), base, mutations)| {
            Action::Hostile { from, to, base: Some(base), mutations }
        }),
        12 => (pair(), shaped()).prop_map(|((from, to), mutations)| {
            Action::Hostile { from, to, base: None, mutations }
        }),
    ]
}

/// Cases of each run; `CONSILIUM_FUZZ_CASES` raises it for a longer one.
fn cases() -> u32 {
    let asked = std::env::var("CONSILIUM_FUZZ_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(2000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn no_message_panics_a_fresh_group(actions in proptest::collection::vec(action(), 1..60)) {
        let mut group = Group::new();
        actions.iter().for_each(|action| group.act(action));
    }

    #[test]
    fn no_message_panics_a_running_group(actions in proptest::collection::vec(action(), 1..60)) {
        let mut group = Group::running();
        actions.iter().for_each(|action| group.act(action));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        from in 0usize..3,
        to in 1u64..4,
    ) {
        let mut group = Group::new();
        group.step(from, id(to), bytes.into());
    }
}

/// The fuzzing above is worth nothing if the screen refuses all of it.
#[test]
fn hostile_messages_do_reach_raft() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut group = Group::running();
    let before = group.accepted;
    let mut hostile = 0;
    for _ in 0..2000 {
        let action = action().new_tree(&mut runner).unwrap().current();
        if matches!(action, Action::Hostile { .. }) {
            hostile += 1;
            group.act(&action);
        }
    }
    let accepted = group.accepted - before;
    assert!(accepted > hostile / 50, "{accepted} of {hostile} accepted");
}
