//! One case per rule of the screen: the exact refusal, and that the honest form passes.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::{
    ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, Message, MessageType, Snapshot,
    SnapshotMetadata,
};
use raft_prost::Message as _;

use crate::ids::{LogIndex, LogPosition, RaftId, Term};
use crate::mandate::Electorate;
use crate::membership::{Membership, MembershipInvalid};
use crate::output::ReadContext;
use crate::reject::Reject;
use crate::screen::{Judge, Origin, Passed, View, screen};
use crate::status::Role;

const MAX: u64 = u64::MAX;

fn id(value: u64) -> RaftId {
    RaftId::new(value).unwrap()
}

/// Refuses commands that say so.
struct Strict;

impl Judge for Strict {
    fn command(&self, command: &[u8], origin: Origin) -> Result<(), &'static str> {
        let forged = command == b"of 3" && origin.proposer.is_some_and(|proposer| proposer.get() != 3);
        let late = command == b"late" && !origin.held;
        if command == b"unfit" || forged || late { Err("unfit") } else { Ok(()) }
    }
}

/// Node 1 follows node 2 in term 5; ten entries, the first eight committed; node 9 is known.
struct World {
    membership: Membership,
    known: BTreeSet<RaftId>,
    reads: BTreeMap<ReadContext, u32>,
    role: Role,
    leader: Option<RaftId>,
    log_durable: bool,
    vote_durable: bool,
    may_lead: bool,
    reads_pending: usize,
    held: u64,
    electorate: Electorate,
    proven: Option<(Term, RaftId)>,
}

impl World {
    fn new(role: Role) -> Self {
        Self {
            membership: Membership::new([1, 2, 3].map(id), []),
            known: [id(9)].into(),
            reads: [(ReadContext([7; 16]), 1)].into(),
            role,
            leader: match role {
                Role::Follower => Some(id(2)),
                Role::Leader => Some(id(1)),
                Role::PreCandidate | Role::Candidate => None,
            },
            log_durable: true,
            vote_durable: true,
            may_lead: true,
            reads_pending: 0,
            held: 0,
            electorate: Electorate::default(),
            proven: Some((Term(5), id(2))),
        }
    }

    /// What passes, if all of it does.
    fn screen(&self, peer: u64, message: Message) -> Result<Message, Reject> {
        let Passed { message, left_out } = self.passed(peer, message)?;
        left_out.map_or(Ok(message), Err)
    }

    fn passed(&self, peer: u64, message: Message) -> Result<Passed, Reject> {
        let view = View {
            me: id(1),
            role: self.role,
            term: Term(5),
            leader: self.leader,
            last: LogIndex(10),
            commit: LogPosition { index: LogIndex(8), term: Term(4), ..LogPosition::default() },
            held: LogIndex(self.held),
            log_durable: self.log_durable,
            vote_durable: self.vote_durable,
            membership: &self.membership,
            known: &self.known,
            electorate: &self.electorate,
            proven: self.proven,
            reads: &self.reads,
            reads_pending: self.reads_pending,
            reads_max: 10,
            entry_bytes_max: 100,
            judge: &Strict,
            may_lead: self.may_lead,
        };
        screen(id(peer), message, &view)
    }

    /// The refusal of `message` as changed by `change`.
    fn refuse(&self, base: &Message, change: impl FnOnce(&mut Message)) -> Reject {
        let mut message = base.clone();
        change(&mut message);
        self.screen(base.from, message).unwrap_err()
    }
}

fn message(kind: MessageType, from: u64) -> Message {
    Message { msg_type: kind as i32, from, to: 1, term: 5, ..Message::default() }
}

fn entry(index: u64, term: u64) -> Entry {
    Entry { index, term, data: vec![1], ..Entry::default() }
}

fn append() -> Message {
    let entries = vec![entry(11, 5), entry(12, 5)];
    let base = message(MessageType::MsgAppend, 2);
    Message { index: 10, log_term: 4, commit: 8, entries, ..base }
}

fn range(name: &'static str, value: u64) -> Reject {
    Reject::TermRange { name, value, current: Term(5) }
}

#[test]
fn the_sender_is_the_peer_and_known_and_means_us() {
    let world = World::new(Role::Follower);
    assert_eq!(world.screen(2, append()), Ok(append()));
    assert_eq!(world.screen(3, append()), Err(Reject::NotThePeer { claimed: 2, peer: id(3) }));
    assert_eq!(
        world.refuse(&message(MessageType::MsgHeartbeat, 1), |_| {}),
        Reject::NotThePeer { claimed: 1, peer: id(1) }
    );
    assert_eq!(world.refuse(&append(), |m| m.to = 3), Reject::NotForMe { to: 3 });
    let stranger = message(MessageType::MsgHeartbeatResponse, 8);
    assert_eq!(world.refuse(&stranger, |_| {}), Reject::UnknownPeer { peer: id(8) });
    assert!(world.screen(9, message(MessageType::MsgHeartbeatResponse, 9)).is_ok());
}

#[test]
fn only_network_messages_pass() {
    let world = World::new(Role::Follower);
    for kind in [
        MessageType::MsgHup,
        MessageType::MsgBeat,
        MessageType::MsgPropose,
        MessageType::MsgUnreachable,
        MessageType::MsgSnapStatus,
        MessageType::MsgCheckQuorum,
        MessageType::MsgTransferLeader,
    ] {
        let refused = world.refuse(&message(kind, 2), |_| {});
        assert_eq!(refused, Reject::Type { number: kind as i32 });
    }
    for number in [-1, 19, i32::MAX] {
        let refused = world.refuse(&append(), |m| m.msg_type = number);
        assert_eq!(refused, Reject::Type { number });
    }
}

#[test]
fn terms_and_indices_are_bounded() {
    let mut world = World::new(Role::Follower);
    let heartbeat = message(MessageType::MsgHeartbeat, 2);
    // Term zero means "local" to the library.
    assert_eq!(world.refuse(&heartbeat, |m| m.term = 0), range("term", 0));
    assert_eq!(world.refuse(&heartbeat, |m| m.term = MAX), range("term", MAX));
    let ahead = 5 + (1 << 20);
    world.proven = Some((Term(ahead), id(2)));
    assert!(world.screen(2, Message { term: ahead, ..heartbeat.clone() }).is_ok());
    assert_eq!(world.refuse(&heartbeat, |m| m.term = ahead + 1), range("term", ahead + 1));
    assert_eq!(world.refuse(&heartbeat, |m| m.log_term = MAX), range("log_term", MAX));
    let far = |name| Reject::IndexRange { name, value: MAX };
    assert_eq!(world.refuse(&heartbeat, |m| m.index = MAX), far("index"));
    assert_eq!(world.refuse(&heartbeat, |m| m.commit = MAX), far("commit"));
    assert_eq!(world.refuse(&heartbeat, |m| m.reject_hint = MAX), far("reject_hint"));
}

#[test]
fn fields_belong_to_their_types() {
    let world = World::new(Role::Follower);
    let heartbeat = message(MessageType::MsgHeartbeat, 2);
    let field = |name| Reject::Field { name };
    assert_eq!(world.refuse(&heartbeat, |m| m.entries = vec![entry(1, 1)]), field("entries"));
    assert_eq!(world.refuse(&heartbeat, |m| m.snapshot = Some(Snapshot::default())), field("snapshot"));
    assert_eq!(world.refuse(&append(), |m| m.request_snapshot = 1), field("request_snapshot"));
    assert_eq!(world.refuse(&append(), |m| m.context = vec![0; 24]), field("context"));
    assert_eq!(world.refuse(&heartbeat, |m| m.context = vec![0; 25]), field("context"));
    assert!(world.screen(2, Message { context: vec![0; 24], ..heartbeat }).is_ok());
}

#[test]
fn appends_follow_on() {
    let world = World::new(Role::Follower);
    assert_eq!(world.refuse(&append(), |m| m.entries[1].index = 13), Reject::Gap { expected: LogIndex(12), found: 13 });
    assert_eq!(world.refuse(&append(), |m| m.entries[0].index = 7), Reject::Gap { expected: LogIndex(11), found: 7 });
    // An index without a term would match beyond the log.
    assert_eq!(world.refuse(&append(), |m| m.log_term = 0), range("log_term", 0));
    assert_eq!(world.refuse(&append(), |m| m.log_term = 6), range("log_term", 6));
    let entry = |index, reason| Reject::Entry { index: LogIndex(index), reason };
    assert_eq!(world.refuse(&append(), |m| m.entries[0].term = 0), entry(11, "term"));
    assert_eq!(world.refuse(&append(), |m| m.entries[0].term = 3), entry(11, "term"));
    assert_eq!(world.refuse(&append(), |m| m.entries[1].term = 6), entry(12, "term"));
    assert_eq!(world.refuse(&append(), |m| m.entries[1].term = 4), entry(12, "term"));
    assert_eq!(world.refuse(&append(), |m| m.entries[1].data = vec![0; 101]), entry(12, "size"));
    assert_eq!(world.refuse(&append(), |m| m.entries[0].context = vec![0]), entry(11, "unused field"));
    for bad in [EntryType::EntryConfChange as i32, 3] {
        assert_eq!(world.refuse(&append(), |m| m.entries[0].entry_type = bad), entry(11, "type"));
    }
    assert_eq!(
        world.refuse(&append(), |m| {
            m.entries.clear();
            m.index = 9;
            m.log_term = 3;
        }),
        Reject::ContradictsCommit { index: 9, log_term: 3, commit: LogIndex(8), commit_term: Term(4) }
    );
}

#[test]
fn an_append_commits_nothing() {
    let world = World::new(Role::Follower);
    let ahead = Message { commit: 1 << 40, ..append() };
    assert_eq!(world.screen(2, ahead).map(|m| m.commit), Ok(8));
}

#[test]
fn only_the_leader_of_the_term_leads() {
    let mut world = World::new(Role::Follower);
    let usurper = Message { from: 3, ..append() };
    let refused = Reject::NotLeader { peer: id(3), term: Term(5) };
    assert_eq!(world.refuse(&usurper, |_| {}), refused);
    let later = Message { term: 6, ..usurper.clone() };
    assert_eq!(world.screen(3, later.clone()), Err(Reject::NoMandate { peer: id(3), term: Term(6) }));
    world.proven = Some((Term(6), id(3)));
    assert!(world.screen(3, later).is_ok(), "a new term has a new leader");
    let old = Message { term: 4, ..usurper };
    let passed = world.screen(3, old).unwrap();
    assert!(passed.entries.is_empty(), "an old term is only answered");
    let leading = World::new(Role::Leader);
    let refused = Reject::NotLeader { peer: id(2), term: Term(5) };
    assert_eq!(leading.refuse(&append(), |_| {}), refused);
}

/// A disk that was wiped under a known id brings forth "to_commit is out of range" in the
/// library: here a refusal instead of a panic.
#[test]
fn heartbeats_commit_only_what_is_there() {
    let world = World::new(Role::Follower);
    let heartbeat = Message { commit: 10, ..message(MessageType::MsgHeartbeat, 2) };
    let counted = Message { commit: 8, ..heartbeat.clone() };
    assert_eq!(world.screen(2, heartbeat.clone()), Ok(counted), "each node counts for itself");
    assert_eq!(world.refuse(&heartbeat, |m| m.commit = 11), Reject::CommitBeyondLog { commit: 11, last: LogIndex(10) });
}

#[test]
fn acknowledgements_stay_within_the_log() {
    let world = World::new(Role::Leader);
    let ack = Message { index: 10, ..message(MessageType::MsgAppendResponse, 2) };
    assert_eq!(world.screen(2, ack.clone()), Ok(ack.clone()));
    let refused = Reject::AckBeyondLog { index: 11, last: LogIndex(10) };
    assert_eq!(world.refuse(&ack, |m| m.index = 11), refused);
    assert_eq!(world.refuse(&ack, |m| m.reject_hint = 11), refused);
    assert_eq!(world.refuse(&ack, |m| m.commit = 11), refused);
}

#[test]
fn votes_carry_no_commit_and_no_priority() {
    let world = World::new(Role::Follower);
    let vote = Message {
        term: 6,
        index: 10,
        log_term: 5,
        commit: 10,
        commit_term: 4,
        priority: 7,
        deprecated_priority: 7,
        ..message(MessageType::MsgRequestVote, 3)
    };
    let passed = world.screen(3, vote.clone()).unwrap();
    let cleared = (passed.commit, passed.commit_term, passed.priority, passed.deprecated_priority);
    assert_eq!(cleared, (0, 0, 0, 0));
    assert_eq!(world.refuse(&vote, |m| m.log_term = 6), range("log_term", 6));
    assert_eq!(world.refuse(&vote, |m| m.log_term = 0), range("log_term", 0));
    assert_eq!(
        world.refuse(&vote, |m| m.context = vec![0; crate::mandate::STANDPOINT_LEN_MAX + 1]),
        Reject::Field { name: "context" }
    );
}

#[test]
fn votes_come_after_the_candidacy_is_durable() {
    let mut world = World::new(Role::Candidate);
    let vote = message(MessageType::MsgRequestVoteResponse, 2);
    assert!(world.screen(2, vote.clone()).is_ok());
    world.vote_durable = false;
    assert_eq!(world.refuse(&vote, |_| {}), Reject::VoteTooEarly);
    assert!(world.screen(2, Message { reject: true, ..vote.clone() }).is_ok());
    world.vote_durable = true;
    world.log_durable = false;
    assert_eq!(world.refuse(&vote, |_| {}), Reject::VoteTooEarly);
    let mut world = World::new(Role::PreCandidate);
    world.log_durable = false;
    let vote = Message { term: 6, ..message(MessageType::MsgRequestPreVoteResponse, 2) };
    assert_eq!(world.refuse(&vote, |_| {}), Reject::VoteTooEarly);
}

#[test]
fn only_the_leader_hands_over_and_only_when_we_are_ready() {
    let mut world = World::new(Role::Follower);
    let now = message(MessageType::MsgTimeoutNow, 2);
    assert_eq!(world.screen(2, now.clone()), Ok(now.clone()));
    let other = Message { from: 3, ..now.clone() };
    let refused = Reject::NotLeader { peer: id(3), term: Term(5) };
    assert_eq!(world.refuse(&other, |_| {}), refused);
    let refused = Reject::NotLeader { peer: id(2), term: Term(6) };
    assert_eq!(world.refuse(&now, |m| m.term = 6), refused);
    world.log_durable = false;
    assert_eq!(world.refuse(&now, |_| {}), Reject::NotReadyToLead);
    (world.log_durable, world.may_lead) = (true, false);
    assert_eq!(world.refuse(&now, |_| {}), Reject::NotReadyToLead);
}

#[test]
fn entries_are_judged_unless_they_are_committed() {
    let world = World::new(Role::Follower);
    let unfit = |at: usize| {
        let mut message = append();
        message.entries[at].data = b"unfit".to_vec();
        message
    };
    for at in 0..2 {
        let passed = world.passed(2, unfit(at)).unwrap();
        let left_out = Some(Reject::Unfit { index: LogIndex(11 + at as u64), reason: "unfit" });
        let message = Message { entries: append().entries[..at].to_vec(), ..append() };
        assert_eq!(passed, Passed { message, left_out }, "those before it count");
    }
    let mut committed = unfit(0);
    (committed.index, committed.entries[0].index, committed.entries[1].index, committed.commit) = (7, 8, 9, 8);
    assert_eq!(world.screen(2, committed.clone()), Ok(committed));
}

/// Who proposed an entry of an earlier term, a later leader does not show.
#[test]
fn the_proposer_is_the_leader_of_the_term() {
    let world = World::new(Role::Follower);
    let mut message = append();
    message.entries[1].data = b"of 3".to_vec();
    let passed = world.passed(2, message.clone()).unwrap();
    assert_eq!(passed.left_out, Some(Reject::Unfit { index: LogIndex(12), reason: "unfit" }));
    message.log_term = message.log_term.min(4);
    message.entries.iter_mut().for_each(|entry| entry.term = 4);
    assert_eq!(world.passed(2, message).unwrap().left_out, None);
}

/// What others have already, this node is to take, though it comes late.
#[test]
fn a_judge_is_told_what_a_quorum_of_the_others_holds() {
    let mut world = World::new(Role::Follower);
    let mut message = append();
    message.entries.iter_mut().for_each(|entry| entry.data = b"late".to_vec());
    for (held, fit) in [(10, 0), (11, 1), (12, 2), (99, 2)] {
        world.held = held;
        assert_eq!(world.passed(2, message.clone()).unwrap().message.entries.len(), fit, "{held}");
    }
    // What was held in another term says nothing of this one.
    world.proven = Some((Term(6), id(2)));
    message.term = 6;
    assert_eq!(world.passed(2, message).unwrap().message.entries.len(), 0);
}

fn read(kind: MessageType, from: u64, owner: u64) -> Message {
    let data = [owner.to_be_bytes().to_vec(), vec![7; 16]].concat();
    let term = if kind == MessageType::MsgReadIndex { 0 } else { 5 };
    let entries = vec![Entry { data, ..Entry::default() }];
    Message { term, entries, ..message(kind, from) }
}

#[test]
fn reads_are_their_owners() {
    let mut world = World::new(Role::Leader);
    let ask = read(MessageType::MsgReadIndex, 2, 2);
    assert_eq!(world.screen(2, ask.clone()), Ok(ask.clone()));
    let entries = Reject::Field { name: "entries" };
    assert_eq!(world.refuse(&ask, |m| m.entries.clear()), entries);
    assert_eq!(world.refuse(&ask, |m| m.entries[0].data.push(0)), entries);
    assert_eq!(world.refuse(&read(MessageType::MsgReadIndex, 2, 3), |_| {}), entries);
    assert_eq!(world.refuse(&ask, |m| m.term = 5), range("term", 5));
    world.reads_pending = 10;
    assert_eq!(world.refuse(&ask, |_| {}), Reject::TooManyReads { pending: 10 });
    assert_eq!(World::new(Role::Follower).refuse(&ask, |_| {}), Reject::NotLeading);
}

#[test]
fn read_answers_are_asked_for() {
    let world = World::new(Role::Follower);
    let answer = read(MessageType::MsgReadIndexResp, 2, 1);
    assert_eq!(world.screen(2, answer.clone()), Ok(answer.clone()));
    assert_eq!(world.refuse(&answer, |m| m.entries[0].data[20] = 0), Reject::UnknownRead);
    assert_eq!(world.refuse(&read(MessageType::MsgReadIndexResp, 2, 3), |_| {}), Reject::UnknownRead);
    let refused = Reject::NotLeader { peer: id(3), term: Term(5) };
    assert_eq!(world.refuse(&read(MessageType::MsgReadIndexResp, 3, 1), |_| {}), refused);
}

fn snapshot() -> Message {
    let conf_state = Some(ConfState { voters: vec![1, 2, 3], ..ConfState::default() });
    let metadata = Some(SnapshotMetadata { conf_state, index: 20, term: 5 });
    let snapshot = Some(Snapshot { data: vec![7; 32], metadata });
    Message { snapshot, ..message(MessageType::MsgSnapshot, 2) }
}

#[test]
fn snapshots_are_sane_and_carry_no_state() {
    let world = World::new(Role::Follower);
    let passed = world.screen(2, snapshot()).unwrap();
    assert_eq!(passed.snapshot.unwrap().data, [7; 32], "what the entry there commits to");
    let data = Reject::Field { name: "snapshot data" };
    assert_eq!(world.refuse(&snapshot(), |m| m.snapshot.as_mut().unwrap().data = b"invented".to_vec()), data);
    let refuse = |change: fn(&mut SnapshotMetadata)| {
        world.refuse(&snapshot(), |m| {
            change(m.snapshot.as_mut().unwrap().metadata.as_mut().unwrap());
        })
    };
    assert_eq!(refuse(|meta| meta.index = 0), Reject::IndexRange { name: "snapshot index", value: 0 });
    assert_eq!(refuse(|meta| meta.index = MAX), Reject::IndexRange { name: "snapshot index", value: MAX });
    assert_eq!(refuse(|meta| meta.term = 0), range("snapshot term", 0));
    assert_eq!(refuse(|meta| meta.term = 6), range("snapshot term", 6));
    assert_eq!(
        refuse(|meta| meta.index = 8),
        Reject::SnapshotContradicts { index: LogIndex(8), term: Term(5), commit: LogIndex(8) }
    );
    assert_eq!(
        refuse(|meta| meta.term = 3),
        Reject::SnapshotContradicts { index: LogIndex(20), term: Term(3), commit: LogIndex(8) }
    );
    let conf_state = Reject::Field { name: "conf_state" };
    assert_eq!(refuse(|meta| meta.conf_state = None), conf_state);
    assert_eq!(refuse(|meta| voters(meta, &[1, 2, 2])), conf_state);
    assert_eq!(refuse(|meta| voters(meta, &[0, 1])), conf_state);
    assert_eq!(refuse(|meta| voters(meta, &[2, 3])), Reject::SnapshotWithoutMe);
    assert_eq!(refuse(|meta| voters(meta, &[])), Reject::SnapshotMembership(MembershipInvalid::NoVoters));
    assert_eq!(world.refuse(&snapshot(), |m| m.term = 4), Reject::StaleTerm { term: Term(4) });
    let usurper = Message { from: 3, ..snapshot() };
    let refused = Reject::NotLeader { peer: id(3), term: Term(5) };
    assert_eq!(world.refuse(&usurper, |_| {}), refused);
}

fn voters(meta: &mut SnapshotMetadata, voters: &[u64]) {
    meta.conf_state = Some(ConfState { voters: voters.to_vec(), ..ConfState::default() });
}

/// Whether a change is wanted is not for the screen: whoever hears of it may not have
/// executed what it follows from.
#[test]
fn membership_entries_must_be_well_formed() {
    let world = World::new(Role::Follower);
    let screened = |data: Vec<u8>| {
        let mut message = append();
        (message.entries[0].entry_type, message.entries[0].data) = (EntryType::EntryConfChangeV2 as i32, data);
        world.screen(2, message).map(|message| message.entries.len())
    };
    let changes = |changes: &[(ConfChangeType, u64)]| {
        let single = |(change_type, node_id): &(ConfChangeType, u64)| ConfChangeSingle {
            change_type: *change_type as i32,
            node_id: *node_id,
        };
        ConfChangeV2 { changes: changes.iter().map(single).collect(), ..ConfChangeV2::default() }.encode_to_vec()
    };
    use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
    let refused = Err(Reject::Unfit { index: LogIndex(11), reason: "is no membership change" });
    assert_eq!(screened(Vec::new()), Ok(2), "leaves a joint configuration");
    assert_eq!(screened(changes(&[(AddNode, 4), (AddLearnerNode, 2), (RemoveNode, 3)])), Ok(2));
    assert_eq!(screened(changes(&[(AddNode, 0)])), refused);
    assert_eq!(screened(vec![0xff; 9]), refused);
}
