//! 1, 4, 5, 6, 8, 12, 13: what a block is, and what it does.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use consilium_consensus::{Config, Core, HardState, Initial, LogIndex, LogPosition, Membership, RaftId, Signer};
use consilium_kit::people::write_record;
use consilium_kit::replica::{Disk, Replicas};
use consilium_kit::topics::register_action;
use consilium_kit::{Identity, LogHandle, MemoryLog, Rules, genesis};
use consilium_ledger::{StateReader, Table, keys};
use consilium_proto::ids::{Height, LedgerId, NodeId, RecordId};
use consilium_proto::observed::Observed;
use consilium_proto::pb;
use consilium_replica::block::CheckedBlock;
use consilium_replica::catch_up::rebuild::{Rebuild, RebuildInput, RebuildOutput};
use consilium_replica::notice::Notice;
use consilium_replica::peer::PeerMessage;
use consilium_replica::ports::Ledger;
use consilium_replica::start::write_genesis;
use consilium_replica::submission::WaitFor;
use consilium_replica::topology::{next_set_of, validators_above};
use consilium_replica::{CachedLedger, CallId, Input, Output};
use prost::Message;

use super::{executed, is_check, notices, proposed, three};
use crate::catching_up::{comes_back, lagging};
use crate::rebuild::OwnLog;

/// Checks that a follower asks for and nobody does.
fn asked(outputs: &[Output]) -> Vec<(LogPosition, Bytes)> {
    let check = |output: &Output| match output {
        Output::Check { position, entry } => Some((*position, entry.clone())),
        _ => None,
    };
    outputs.iter().filter_map(check).collect()
}

#[test]
fn d01_malformed_observations_count_as_none() {
    let mut net = three();
    net.node_mut(2).hold = is_check;
    net.enroll(1, &Identity::new("a.example", "admin", "root"));
    net.pass(2);
    let (position, entry) = asked(&net.said(2)).remove(0);
    let mut proposal = pb::BlockProposal::decode(entry).unwrap();
    proposal.observed_votes.push(pb::Vote::default());
    let block = CheckedBlock::decode(proposal.encode_to_vec().into(), net.genesis.ledger_id).unwrap();
    assert_eq!((&block.observed, block.transactions.len()), (&Observed::default(), 1));
    net.give(2, [Input::Checked { position, block: Some(block) }]);
    let said = net.said(2);
    assert_eq!(executed(&said), [1]);
    assert!(!notices(&said).iter().any(|notice| matches!(notice, Notice::EntryIsNoBlock(_))));
}

/// A chain with members, records and epochs, executed through the cache.
fn eventful() -> Replicas {
    let mut solo = Replicas::solo(|p| p.epoch_blocks = 4, |_| {});
    let service = Identity::new("a.example", "service", "ehr");
    solo.enroll(1, &service);
    for version in 1..=6 {
        let payload = format!("version {version}").into_bytes();
        let action = write_record([1; 16], version, "Note", &payload);
        let transaction = solo.sign(&service, vec![action], vec![payload.into()]);
        solo.order(1, transaction);
        solo.time_blocks(1, 1);
    }
    solo.restart(1);
    solo.elect(1);
    solo.time_blocks(1, 9);
    solo
}

#[test]
fn d04_the_cache_changes_nothing() {
    let solo = eventful();
    let node = solo.node(1);
    let disk = Disk::new();
    write_genesis(&disk.ledger, &solo.genesis).unwrap();
    let parts = (disk.ledger.clone(), Box::new(Rules) as consilium_replica::Rules);
    let held = OwnLog { truncated: 0, last: node.replica.applied().index.0, term: 1 };
    let mut plain = Rebuild::new((NodeId(9), solo.genesis.ledger_id), None, parts, held, 1_000).unwrap();
    plain.handle(0, RebuildInput::Tick).unwrap();
    for block in solo.blocks(1, Height(1)) {
        let input = RebuildInput::Fetched { call: CallId(1), block: Box::new(block) };
        let outputs = plain.handle(0, input).unwrap();
        assert!(outputs.iter().any(|output| matches!(output, RebuildOutput::Executed { .. })), "{outputs:?}");
        plain.handle(0, RebuildInput::Tick).unwrap();
    }
    assert_eq!(*disk.ledger.rows(), *node.disk.ledger.rows());
    let cached: &CachedLedger<_> = node.replica.ledger();
    for ((table, key), value) in &disk.ledger.rows().0 {
        assert_eq!(cached.get(*table, key).unwrap().as_ref(), Some(value));
    }
}

/// What a node that nobody knows says first.
fn hello(from: u64, to: u64) -> Bytes {
    let [id, other] = [from, to].map(|id| RaftId::new(id).unwrap());
    let membership = Membership::new([id, other], []);
    let initial = Initial { hard_state: HardState::default(), membership, applied: LogIndex(0) };
    let log: Rc<RefCell<MemoryLog>> = Rc::default();
    let signer = Signer { ledger_id: LedgerId::from_bytes([1; 32]), key: consilium_kit::keys::vote(from) };
    let mut core = Core::new(Config::new(id), signer, initial, LogHandle::new(&log)).unwrap();
    for _ in 0..100 {
        core.tick();
        while let Some(output) = core.take_output().unwrap() {
            let round = output.persist;
            let after = round.iter().flat_map(|round| round.messages_after.clone());
            if let Some(message) = output.messages.into_iter().chain(after).find(|message| message.to == other) {
                return message.bytes;
            }
            round.iter().for_each(|round| core.persisted(round.seq).unwrap());
        }
    }
    panic!("node {from} says nothing");
}

#[test]
fn d05_changed_peers_are_known_with_the_block() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    let admin = Identity::new("a.example", "admin", "root");
    solo.enroll(1, &admin);
    let message = PeerMessage::Raft(hello(2, 1));
    let says = || Input::Peer { from: NodeId(2), messages: vec![message.clone()] };
    let unknown = |outputs: &[Output]| {
        let unknown = |notice: &&Notice| notice.to_string().contains("is not known");
        notices(outputs).iter().any(unknown)
    };
    solo.said(1);
    solo.give(1, [says()]);
    assert!(unknown(&solo.said(1)));

    let pb::GenesisNode { name, peer_address, client_address, vote_key, .. } = genesis::node("n2", 2);
    let node = pb::NodeDescription { name, peer_address, client_address, vote_key };
    let transaction = solo.sign(&admin, vec![register_action("a.example", node)], vec![]);
    let submit = solo.submit(1, transaction, WaitFor::Ordered);
    solo.node_mut(1).hold = |output| matches!(output, Output::WriteLog(_));
    solo.give(1, [submit]);
    assert!(executed(&solo.said(1)).is_empty());
    // One turn: the report of the write, and what follows from it.
    let now = solo.now;
    let node = solo.node_mut(1);
    let reports: Vec<Input> = node.release().iter().flat_map(|output| node.perform(output)).collect();
    let turn = node.replica.handle(now, reports);
    assert_eq!(executed(&turn), [2]);
    let topology = turn.iter().find_map(|output| match output {
        Output::Topology(topology) => Some(topology),
        _ => None,
    });
    assert!(topology.unwrap().node(NodeId(2)).is_some());
    assert!(!unknown(&node.replica.handle(now, [says()])));
}

#[test]
fn d06_applied_is_reported_in_the_same_turn() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    solo.node_mut(1).hold = |output| matches!(output, Output::WriteLog(_));
    let transaction = solo.enrollment(&Identity::new("a.example", "admin", "root"));
    let submit = solo.submit(1, transaction, WaitFor::Ordered);
    solo.give(1, [submit]);
    let now = solo.now;
    let node = solo.node_mut(1);
    let before = node.replica.applied();
    let reports: Vec<Input> = node.release().iter().flat_map(|output| node.perform(output)).collect();
    let turn = node.replica.handle(now, reports);
    let applied = node.replica.applied();
    assert!(applied.index > before.index);
    assert!(turn.contains(&Output::Applied(applied)));
    assert_eq!(node.replica.status().raft.applied, applied.index);
}

#[test]
fn d08_blocks_are_executed_in_order_of_the_log() {
    let mut net = three();
    net.node_mut(2).hold = is_check;
    for name in ["root", "second", "third"] {
        net.enroll(1, &Identity::new("a.example", "admin", name));
        // Nobody waits any longer for the certificate of the block before.
        net.pass_time(25);
    }
    net.pass(2);
    let said = net.said(2);
    let checks = asked(&said);
    assert_eq!((executed(&said), checks.len()), (vec![], 3));
    let ledger_id = net.genesis.ledger_id;
    let checked = |at: usize| {
        let (position, entry) = checks[at].clone();
        Input::Checked { position, block: CheckedBlock::decode(entry, ledger_id) }
    };
    net.give(2, [checked(2)]);
    assert!(executed(&net.said(2)).is_empty());
    net.give(2, [checked(0)]);
    assert_eq!(executed(&net.said(2)), [1]);
    net.give(2, [checked(1)]);
    assert_eq!(executed(&net.said(2)), [2, 3]);
    assert_eq!(net.node(2).replica.applied().header_hash, net.node(1).replica.applied().header_hash);
}

#[test]
fn d12_catching_up_carries_attachments() {
    let mut net = lagging();
    let service = Identity::new("a.example", "service", "ehr");
    net.enroll(1, &service);
    let payload = Bytes::from_static(b"a payload");
    let action = write_record([5; 16], 1, "Note", &payload);
    let transaction = net.sign(&service, vec![action], vec![payload.clone()]);
    net.order(1, transaction);
    net.time_blocks(1, 60);
    comes_back(&mut net);
    net.release(3);
    net.run();
    net.pass(20);
    assert!(notices(&net.said(3)).iter().any(|notice| matches!(notice, Notice::CaughtUp(_))));
    let key = keys::payload(&RecordId([5; 16]), 1);
    assert_eq!(net.node(3).disk.ledger.get(Table::Payloads, &key).unwrap(), Some(payload));
    assert_eq!(*net.node(3).disk.ledger.rows(), *net.node(1).disk.ledger.rows());
}

#[test]
fn d13_the_next_epoch_counts_behind_its_boundary_alone() {
    let mut solo = Replicas::solo(|p| p.epoch_blocks = 4, |_| {});
    solo.time_blocks(1, 14);
    assert_eq!(proposed(&solo.said(1)).iter().sum::<usize>(), 0);
    let ledger = &solo.node(1).disk.ledger;
    let header = |height: u64| ledger.header(Height(height)).unwrap().unwrap();
    let mut boundaries = 0;
    for height in 0..14 {
        let (this, next) = (header(height), header(height + 1));
        let ends = next.epoch > this.epoch;
        boundaries += u64::from(ends);
        assert_eq!(next_set_of(ledger, &this).unwrap().is_some(), ends, "height {height}");
        assert_eq!(validators_above(ledger, &this).unwrap().hash(), next.validators_hash, "height {height}");
    }
    assert!(boundaries >= 2, "{boundaries}");
}
