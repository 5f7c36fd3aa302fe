//! Entries are chained by hashes: of two with one index and one term, one counts.

use bytes::Bytes;
use consilium_consensus::{
    Electorate, EntryKind, LogEntry, LogHash, LogIndex, LogPosition, LogReader, Membership, RaftId, Reject, Seal,
    StepError, Term, entry_context,
};
use raft::eraftpb::{Entry, Message, MessageType};
use raft_prost::Message as _;

use crate::cluster::{Cluster, Passes, equals, id, mandate, signer};

/// Three nodes that have committed an entry, a leader, and a follower that hears nobody but
/// the test.
fn alone(seed: u64) -> (Cluster, RaftId, RaftId) {
    let mut cluster = Cluster::new(3, seed);
    let leader = cluster.elect();
    let everyone = cluster.everyone();
    cluster.commit("a", &everyone);
    cluster.ticks(20);
    let follower = id(if leader == id(3) { 2 } else { 3 });
    cluster.net.links.isolate(follower, &everyone);
    (cluster, leader, follower)
}

fn last(cluster: &Cluster, node: RaftId) -> LogPosition {
    let store = &cluster.nodes[&node].store;
    store.reader().position(store.last()).unwrap()
}

/// The entry that a leader of a term has behind another one.
fn behind(before: LogPosition, term: Term, data: &'static str) -> LogEntry {
    LogEntry::new(&before.hash, term, before.index.next(), EntryKind::Normal(Bytes::from_static(data.as_bytes())))
}

/// What a leader says that goes on from a position.
fn append(from: RaftId, to: RaftId, term: Term, before: LogPosition, entries: &[&LogEntry]) -> Message {
    let entry = |entry: &&LogEntry| {
        let EntryKind::Normal(data) = &entry.kind else { panic!("{entry:?}") };
        let seal = Seal::sign(&signer(from), from, &entry.position());
        let context = entry_context(&entry.hash, seal.filter(|_| entry.term == term).as_ref());
        Entry { index: entry.index.0, term: entry.term.0, data: data.to_vec(), context, ..Entry::default() }
    };
    Message {
        msg_type: MessageType::MsgAppend as i32,
        from: from.get(),
        to: to.get(),
        term: term.0,
        index: before.index.0,
        log_term: before.term.0,
        context: before.hash.as_bytes().to_vec(),
        entries: entries.iter().map(entry).collect(),
        ..Message::default()
    }
}

fn say(cluster: &mut Cluster, message: &Message) -> Result<(), StepError> {
    let (from, to) = (RaftId::new(message.from).unwrap(), RaftId::new(message.to).unwrap());
    let result = cluster.core(to).step(from, message.encode_to_vec().into(), &Passes);
    cluster.pump(to);
    cluster.ticks(1);
    result
}

fn split(peer: RaftId, index: LogIndex, term: Term) -> Result<(), StepError> {
    Err(StepError::Rejected { peer, reject: Reject::Split { index, term } })
}

/// What it has acknowledged in a term stays, and the leader is found to lie: by the second
/// entry, and by what it says goes on from that.
#[test]
fn a_leader_that_gives_two_entries_for_one_index_is_found_out() {
    let (mut cluster, leader, follower) = alone(1);
    let (before, term) = (last(&cluster, follower), cluster.core(leader).term());
    let (one, other) = (behind(before, term, "one"), behind(before, term, "other"));
    assert_eq!(say(&mut cluster, &append(leader, follower, term, before, &[&one])), Ok(()));
    let index = one.index;
    let told = say(&mut cluster, &append(leader, follower, term, before, &[&other]));
    assert_eq!(told, split(leader, index, term));
    let after = behind(other.position(), term, "after");
    let told = say(&mut cluster, &append(leader, follower, term, other.position(), &[&after]));
    assert_eq!(told, split(leader, index, term));
    assert_eq!(last(&cluster, follower), one.position());
    // The same again is nothing new.
    assert_eq!(say(&mut cluster, &append(leader, follower, term, before, &[&one])), Ok(()));
}

/// The next leader may have the other one: what was not counted gives way, after a restart
/// and while it is being written, too.
#[test]
fn a_later_leader_replaces_what_was_not_counted() {
    let (mut cluster, leader, follower) = alone(2);
    let (before, term) = (last(&cluster, follower), cluster.core(leader).term());
    let (one, other) = (behind(before, term, "one"), behind(before, term, "other"));
    say(&mut cluster, &append(leader, follower, term, before, &[&one])).unwrap();
    let (next, later) = (id(6 - leader.get() - follower.get()), Term(term.0 + 1));
    cluster.core(follower).take_mandate(mandate(next, later)).unwrap();
    // It probes from its own end, and is told where to go on.
    let ended = append(next, follower, later, other.position(), &[]);
    assert_eq!(say(&mut cluster, &ended), Ok(()));
    assert_eq!(last(&cluster, follower), one.position(), "a question replaces nothing");
    let opens = behind(other.position(), later, "opens");
    assert_eq!(say(&mut cluster, &append(next, follower, later, before, &[&other, &opens])), Ok(()));
    cluster.ticks(5);
    assert_eq!(last(&cluster, follower), opens.position());
    cluster.crash(follower);
    cluster.start(follower);
    assert_eq!(last(&cluster, follower), opens.position());
    assert_eq!(cluster.machine(follower), ["a"], "nothing of it was counted");
}

/// An acknowledgement of another entry is none.
#[test]
fn whoever_holds_another_entry_does_not_count() {
    let mut cluster = Cluster::new(3, 3);
    let leader = cluster.elect();
    let everyone = cluster.everyone();
    cluster.commit("a", &everyone);
    cluster.net.links.isolate(leader, &everyone);
    let proposed = cluster.propose(leader, "b");
    cluster.ticks(2);
    let peer = id(if leader == id(1) { 2 } else { 1 });
    let ack = |hash: LogHash| Message {
        msg_type: MessageType::MsgAppendResponse as i32,
        from: peer.get(),
        to: leader.get(),
        term: proposed.term.0,
        index: proposed.index.0,
        log_term: proposed.term.0,
        context: hash.as_bytes().to_vec(),
        ..Message::default()
    };
    let other = say(&mut cluster, &ack(LogHash::from_bytes([7; 32])));
    assert_eq!(other, split(peer, proposed.index, proposed.term));
    assert!(cluster.core(leader).commit_index() < proposed.index);
    assert_eq!(say(&mut cluster, &ack(proposed.hash)), Ok(()));
    assert_eq!(cluster.core(leader).commit_index(), proposed.index);
}

/// An acknowledgement that comes before the entry waits for it, and counts if it is of that one.
#[test]
fn what_is_acknowledged_ahead_is_compared_when_the_entry_is_there() {
    for same in [true, false] {
        let (mut cluster, leader, follower) = alone(4);
        let (before, term) = (last(&cluster, follower), cluster.core(leader).term());
        let (one, other) = (behind(before, term, "one"), behind(before, term, "other"));
        let third = id(6 - leader.get() - follower.get());
        let acked = if same { &one } else { &other };
        let ack = |from: RaftId| Message {
            msg_type: MessageType::MsgAppendResponse as i32,
            log_term: term.0,
            context: acked.hash.as_bytes().to_vec(),
            index: acked.index.0,
            entries: Vec::new(),
            ..append(from, follower, term, before, &[])
        };
        assert_eq!(say(&mut cluster, &ack(third)), Ok(()));
        assert_eq!(say(&mut cluster, &append(leader, follower, term, before, &[&one])), Ok(()));
        cluster.ticks(3);
        let committed = cluster.core(follower).commit_index();
        assert_eq!(committed, if same { one.index } else { before.index }, "same: {same}");
    }
}

/// A candidate that has another entry than was committed gets no grant, nor is it told that it
/// would: its log may be longer, and of the same term.
#[test]
fn a_candidate_with_another_entry_than_was_committed_is_refused() {
    let (mut cluster, leader, follower) = alone(5);
    let (before, status) = (last(&cluster, follower), cluster.core(follower).status());
    assert_eq!(status.commit, before.index);
    let candidate = id(6 - leader.get() - follower.get());
    let term = Term(status.term.0 + 1);
    let longer = behind(before, before.term, "longer");
    let membership = Membership::new([1, 2, 3].map(id), []).encode();
    for same in [false, true] {
        let tail = [if same { before.hash } else { LogHash::from_bytes([7; 32]) }, longer.hash];
        let tail: Vec<u8> = tail.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let vote = [&[0], status.applied.0.to_be_bytes().as_slice(), &[2], &tail, &membership].concat();
        for (msg_type, context) in [(MessageType::MsgRequestPreVote, tail.clone()), (MessageType::MsgRequestVote, vote)]
        {
            let base = append(candidate, follower, term, longer.position(), &[]);
            let request = Message { msg_type: msg_type as i32, context, ..base };
            let expected = if same { Ok(()) } else { split(candidate, before.index, before.term) };
            assert_eq!(say(&mut cluster, &request), expected, "{msg_type:?}");
        }
    }
}

/// Nor does it replace what it gave before by way of an older entry below, or by one of an
/// earlier term: either would take back what was acknowledged in its term.
#[test]
fn a_leader_takes_nothing_back_by_way_of_older_entries() {
    let (mut cluster, leader, follower) = alone(6);
    let (before, term) = (last(&cluster, follower), cluster.core(leader).term());
    let next = id(6 - leader.get() - follower.get());
    // An entry of this term that was not counted, and a head of the next leader on top.
    let old = behind(before, term, "old");
    say(&mut cluster, &append(leader, follower, term, before, &[&old])).unwrap();
    let later = Term(term.0 + 2);
    cluster.core(follower).take_mandate(mandate(next, later)).unwrap();
    let head = behind(old.position(), later, "head");
    say(&mut cluster, &append(next, follower, later, before, &[&old, &head])).unwrap();
    assert_eq!(last(&cluster, follower), head.position());
    let other = behind(before, term, "other");
    let on_top = behind(other.position(), later, "on top");
    let between = behind(old.position(), Term(term.0 + 1), "between");
    let lies = [(before, vec![&other, &on_top], other.index), (old.position(), vec![&between], between.index)];
    for (from, entries, index) in lies {
        let told = say(&mut cluster, &append(next, follower, later, from, &entries));
        assert_eq!(told, split(next, index, later));
        assert_eq!(last(&cluster, follower), head.position());
    }
}

/// What a leader of the own term says must be signed by it, so that it answers for it: unsigned,
/// or signed by another, nothing is taken. Where its key is not known (it was elected by seats
/// of sets that have gone since), a signature would prove nothing, and the entry is taken: it
/// counts by acknowledgements, as every other does.
#[test]
fn entries_are_sealed_by_their_leader_as_far_as_its_key_is_known() {
    let (mut cluster, leader, follower) = alone(9);
    let (before, term) = (last(&cluster, follower), cluster.core(leader).term());
    let one = behind(before, term, "one");
    let sealed_by = |who: Option<RaftId>| {
        let seal = who.and_then(|who| Seal::sign(&signer(who), leader, &one.position()));
        let mut said = append(leader, follower, term, before, &[&one]);
        said.entries[0].context = entry_context(&one.hash, seal.as_ref());
        said
    };
    let unsealed = Err(StepError::Rejected { peer: leader, reject: Reject::Unsealed { index: one.index } });
    for signed_by in [None, Some(follower)] {
        assert_eq!(say(&mut cluster, &sealed_by(signed_by)), unsealed);
        assert_eq!(last(&cluster, follower), before, "nothing of it was taken");
    }
    let others = cluster.everyone().into_iter().filter(|node| *node != leader);
    let later = Electorate::new(vec![equals(others.map(RaftId::get))], vec![]);
    cluster.core(follower).set_electorate(later);
    assert_eq!(say(&mut cluster, &sealed_by(None)), Ok(()));
    cluster.ticks(5);
    assert_eq!(last(&cluster, follower), one.position());
    assert_eq!(cluster.machine(follower), ["a"], "one acknowledgement is no quorum");
}
