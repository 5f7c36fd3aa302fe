//! What counts as durable, in the corners that a random run rarely meets.

use consilium_consensus::{
    Config, Core, ElectionTicks, EntryKind, LogEntry, LogHash, LogIndex, Membership, PersistSeq, Role, Seal, Term,
    entry_context,
};
use consilium_kit::LogHandle;
use raft::eraftpb::{Entry, Message, MessageType};
use raft_prost::Message as _;

use crate::cluster::disk::Store;
use crate::cluster::{Passes, anybody, id, mandate, signer};

fn core(me: u64, membership: Membership) -> Core<LogHandle> {
    let mut config = Config::new(id(me));
    config.election_ticks = ElectionTicks { min: 5, max: 6 };
    let store = Store::new(membership);
    let mut core = Core::new(config, signer(id(me)), store.initial(), store.reader()).unwrap();
    core.set_electorate(anybody());
    core
}

/// An append of one entry at index 1, written in `entry_term`, by the leader `from` of `term`.
fn overwrite(core: &mut Core<LogHandle>, from: u64, term: u64, entry_term: u64) -> PersistSeq {
    let kind = EntryKind::Normal(vec![9].into());
    let entry = LogEntry::new(&LogHash::NONE, Term(entry_term), LogIndex(1), kind);
    let seal = Seal::sign(&signer(id(from)), id(from), &entry.position());
    let sealed = entry_context(&entry.hash, seal.as_ref());
    let entries = vec![Entry { index: 1, term: entry_term, data: vec![9], context: sealed, ..Entry::default() }];
    let msg_type = MessageType::MsgAppend as i32;
    let context = vec![0; 32];
    let message = Message { msg_type, from, to: 2, term, entries, context, ..Message::default() };
    core.take_mandate(mandate(id(from), Term(term))).unwrap();
    core.step(id(from), message.encode_to_vec().into(), &Passes).unwrap();
    core.take_output().unwrap().unwrap().persist.unwrap().seq
}

/// A, B, A at one index, all writes under way: when the first is done, disk and memory agree
/// by chance, and the second is about to destroy that.
#[test]
fn an_entry_about_to_be_overwritten_is_not_durable() {
    let mut core = core(2, Membership::new([1, 2, 3].map(id), []));
    let first = overwrite(&mut core, 1, 1, 1);
    let second = overwrite(&mut core, 3, 2, 2);
    let third = overwrite(&mut core, 1, 3, 1);
    for (seq, durable) in [(first, 0), (second, 0), (third, 1)] {
        core.persisted(seq).unwrap();
        assert_eq!(core.status().persisted, LogIndex(durable), "after {seq:?}");
    }
}

/// The only voter elects itself within one call. Were its appends sent before its vote is
/// durable, it could lead the same term again after a crash, with other entries.
#[test]
fn a_sole_voter_appends_nothing_to_learners_before_its_vote_is_durable() {
    let mut core = core(1, Membership::new([id(1)], [id(2)]));
    (0..6).for_each(|_| core.tick());
    let output = core.take_output().unwrap().unwrap();
    assert_eq!(core.status().role, Role::Leader);
    assert!(output.messages.is_empty(), "{:?}", output.messages);
    let persist = output.persist.unwrap();
    assert!(persist.must_sync);
    assert_eq!(persist.messages_after.len(), 1);
    core.persisted(persist.seq).unwrap();
    (0..4).for_each(|_| core.tick());
    let mut now = 0;
    while let Some(output) = core.take_output().unwrap() {
        now += output.messages.len();
    }
    assert!(now > 0, "from then on at once");
}
