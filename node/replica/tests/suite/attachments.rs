//! Attachments that blocks commit to and that are not here: looked for elsewhere, until
//! somebody has them.

use bytes::Bytes;
use consilium_kit::replica::{Replicas, TICK_MS};
use consilium_kit::{Identity, people};
use consilium_ledger::{Row, StateReader, Table, keys};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{NodeId, PatientPseudonym, RecordId};
use consilium_proto::pb;
use consilium_proto::transaction::Slot;
use consilium_replica::alarm::{Alarm, AlarmName};
use consilium_replica::catch_up::ATTACHMENTS_MAX;
use consilium_replica::notice::Notice;
use consilium_replica::ports::Ledger;
use consilium_replica::submission::WaitFor;
use consilium_replica::{CallId, Input, Output};

use crate::catching_up::{comes_back, lagging};

fn key(number: u8) -> Vec<u8> {
    keys::payload(&RecordId([number; 16]), 1)
}

fn payload(number: u8) -> Bytes {
    Bytes::from(vec![number; 100])
}

/// So many records, each with a payload.
fn write(net: &mut Replicas, count: u8) {
    let service = Identity::new("a.example", "service", "ehr");
    net.enroll(1, &service);
    let mut inputs = Vec::new();
    for number in 1..=count {
        let action = people::write_record([number; 16], 1, "Observation", &payload(number));
        let transaction = net.sign(&service, vec![action], vec![payload(number)]);
        inputs.push(net.submit(1, transaction, WaitFor::Certified));
    }
    net.give(1, inputs);
    net.run();
}

fn held(net: &Replicas, id: u64, number: u8) -> Option<Bytes> {
    net.node(id).disk.ledger.get(Table::Payloads, &key(number)).unwrap()
}

fn missing(net: &Replicas, id: u64) -> usize {
    net.node(id).disk.ledger.scan(Table::Missing, &[], usize::MAX).unwrap().len()
}

/// A disk loses a payload, or holds another one in its place.
fn lose(net: &Replicas, id: u64, number: u8, instead: Option<Bytes>) {
    let row = Row { table: Table::Payloads, key: key(number), value: instead };
    net.node(id).disk.ledger.write_attachments(vec![row]).unwrap();
}

/// The third node has caught up by blocks that came without their attachments.
fn caught_up_without(count: u8) -> Replicas {
    let mut net = lagging();
    write(&mut net, count);
    net.time_blocks(1, 40);
    let (call, first) = comes_back(&mut net);
    for mut block in net.blocks(1, first) {
        block.attachments.iter_mut().for_each(|attachment| *attachment = Bytes::new());
        net.give(3, [Input::Fetched { call, block: Box::new(block) }]);
    }
    net.give(3, [Input::FetchEnded { call, problem: None }]);
    net.node_mut(3).hold = |_| false;
    assert_eq!(net.node(3).replica.applied().height, net.node(1).replica.applied().height);
    assert_eq!((missing(&net, 3), held(&net, 3, 1)), (usize::from(count), None));
    net
}

fn notices(outputs: &[Output]) -> Vec<&Notice> {
    let mut notices = Vec::new();
    for output in outputs {
        if let Output::Notice(notice) = output {
            notices.push(notice);
        }
    }
    notices
}

#[test]
fn what_a_peer_withheld_is_found_at_others() {
    let mut net = caught_up_without(3);
    net.pass(40);
    assert_eq!(missing(&net, 3), 0);
    (1..=3).for_each(|number| assert_eq!(held(&net, 3, number), Some(payload(number))));
    let found = Notice::AttachmentsFound { peer: NodeId(1), count: 3 };
    assert!(notices(&net.said(3)).contains(&&found));
}

#[test]
fn a_restart_goes_on_looking() {
    let mut net = caught_up_without(1);
    net.cut_off(3);
    net.restart(3);
    assert_eq!(missing(&net, 3), 1);
    net.join();
    net.pass(40);
    assert_eq!((missing(&net, 3), held(&net, 3, 1)), (0, Some(payload(1))));
}

#[test]
fn what_is_not_committed_to_is_refused_and_the_next_peer_asked() {
    let mut net = caught_up_without(1);
    lose(&net, 1, 1, Some(Bytes::from_static(b"something else")));
    net.pass(40);
    assert_eq!((missing(&net, 3), held(&net, 3, 1)), (0, Some(payload(1))));
    let said = net.said(3);
    assert!(notices(&said).iter().any(|n| matches!(n, Notice::AttachmentRefused { peer: NodeId(1), .. })));
    assert!(notices(&said).contains(&&Notice::AttachmentsFound { peer: NodeId(2), count: 1 }));
}

#[test]
fn no_more_is_asked_for_at_once_than_may_be() {
    let mut net = caught_up_without(100);
    net.node_mut(3).hold = |output| matches!(output, Output::FetchAttachments { .. });
    net.pass(40);
    let asked: Vec<(CallId, usize)> = net.said(3).into_iter().filter_map(asked_for).collect();
    assert_eq!(asked.iter().map(|(_, count)| *count).collect::<Vec<_>>()[..2], [ATTACHMENTS_MAX; 2], "{asked:?}");
    net.release(3);
    net.run();
    net.pass(200);
    assert_eq!(missing(&net, 3), 0);
}

fn asked_for(output: Output) -> Option<(CallId, usize)> {
    match output {
        Output::FetchAttachments { call, slots, .. } => Some((call, slots.len())),
        _ => None,
    }
}

#[test]
fn an_alarm_says_what_nobody_has_until_somebody_does() {
    let mut net = caught_up_without(2);
    [1, 2, 4].iter().for_each(|id| lose(&net, *id, 1, None));
    net.pass(1_000);
    let raised = |output: &Output| match output {
        Output::Raise(Alarm::AttachmentsMissing { count, at_least, seconds }) => Some((*count, *at_least, *seconds)),
        _ => None,
    };
    let said = net.said(3);
    let (count, at_least, seconds) = said.iter().rev().find_map(raised).unwrap();
    assert_eq!((count, at_least), (1, false));
    assert!((20..60).contains(&seconds), "{seconds}");
    assert_eq!(held(&net, 3, 2), Some(payload(2)));
    lose(&net, 2, 1, Some(payload(1)));
    net.pass(400);
    assert_eq!(held(&net, 3, 1), Some(payload(1)));
    assert!(net.said(3).contains(&Output::Clear(AlarmName::AttachmentsMissing)));
}

#[test]
fn what_the_own_disk_lost_or_changed_is_noticed_and_mended() {
    let members = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1)];
    let mut net = Replicas::new(&members, |_| {}, |_| {});
    net.elect(1);
    write(&mut net, 2);
    lose(&net, 2, 1, None);
    lose(&net, 2, 2, Some(Bytes::from(vec![9; 100])));
    net.pass(usize::try_from(4_000 / TICK_MS).unwrap());
    (1..=2).for_each(|number| assert_eq!(held(&net, 2, number), Some(payload(number))));
    let said = net.said(2);
    let lost = notices(&said).into_iter().filter(|notice| matches!(notice, Notice::AttachmentsLost { count: 2, .. }));
    assert_eq!((lost.count(), missing(&net, 2)), (1, 0));
}

/// An attachment is named the same way by both sides.
#[test]
fn a_name_on_the_wire_is_the_slot() {
    let payload = Slot::Payload { record: RecordId([7; 16]), version: 3 };
    let recipient = consilium_proto::ids::KeyId::from_bytes([8; 32]);
    let wrap = Slot::Wrap { record: RecordId([7; 16]), version: 3, recipient };
    let (patient, hash) = (PatientPseudonym([9; 16]), Hash::from_bytes([6; 32]));
    for slot in [payload, wrap, Slot::Lookup { patient, hash }, Slot::SaltWrap { patient, hash }] {
        assert_eq!(Slot::try_from(&pb::AttachmentRef::from(&slot)), Ok(slot));
    }
}
