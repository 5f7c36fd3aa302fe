//! Attachments: stored where they belong, found by what is in them, and nothing that a
//! header commits to. That a ledger without any of them comes to the same headers is checked
//! after every block of every test here (`consilium_kit::Ledger`).

use bytes::Bytes;
use consilium_kit::people::{Identity, write_record};
use consilium_kit::{Action, Ledger, Rows};
use consilium_ledger::missing::Missing;
use consilium_ledger::{Table, keys};
use consilium_proto::hash::sha256;
use consilium_proto::ids::{RecordId, SearchTag};
use consilium_proto::observed::Observed;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::record::Descriptor;

const ID: RecordId = RecordId([1; 16]);

fn tag(n: u8) -> SearchTag {
    SearchTag([n; 16])
}

/// A version with these search tags, and its attachments.
fn tagged(version: u32, tags: &[u8]) -> (Action, Vec<Bytes>) {
    let payload = Bytes::from(format!("payload {version}"));
    let descriptor = Descriptor::new(tags.iter().copied().map(tag)).unwrap().unwrap();
    let Action::WriteRecord(write) = write_record(ID.0, version, "Observation", &payload) else { unreachable!() };
    let write = pb::WriteRecord { descriptor_sha256: descriptor.hash().to_bytes(), ..write };
    (Action::WriteRecord(write), vec![payload, descriptor.encode()])
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(&[("a.example", 10, 1)], |p| p.epoch_ms = 2_592_000_000);
    let author = Identity::new("a.example", "service", "ehr");
    let enrollment = ledger.enrollment(&author);
    ledger.block(&[enrollment], &Observed::default());
    let retraction =
        Action::RetractRecord(pb::RetractRecord { record_id: ID.0.to_vec().into(), version: 2, reason: 0 });
    for (action, attachments) in [tagged(1, &[1, 2]), tagged(2, &[2, 3]), (retraction, Vec::new())] {
        let body = ledger.body(vec![action]);
        let transaction = ledger.check(&author.sign(body, attachments));
        let executed = ledger.block(&[transaction], &Observed::default());
        assert_eq!(executed.leaves[0].1.outcome, Outcome::Applied);
    }
    ledger
}

fn rows(rows: &Rows, wanted: Table) -> Vec<(&[u8], &Bytes)> {
    rows.0.iter().filter(|((table, _), _)| *table == wanted).map(|((_, key), value)| (key.as_slice(), value)).collect()
}

#[test]
fn records_are_found_by_the_tags_of_their_descriptors() {
    let ledger = ledger();
    let state: pb::RecordState = ledger.store.message(Table::State, &keys::record(&ID)).unwrap();
    for n in 1..=4 {
        let entry = keys::index_entry(keys::index_tag(&state.member, &tag(n)), state.sequence);
        let found = ledger.store.0.get(&(Table::Index, entry));
        assert_eq!(found.map(|id| id[..] == ID.0), (n < 4).then_some(true), "tag {n}");
    }
}

#[test]
fn a_retraction_keeps_what_the_record_is_found_by() {
    let ledger = ledger();
    let version = |n| ledger.store.message::<pb::RecordVersion>(Table::Versions, &keys::version(&ID, n)).unwrap();
    let descriptor = ledger.store.0.get(&(Table::Descriptors, keys::descriptor(&ID, 2))).unwrap();
    assert_eq!(version(3).descriptor_sha256, sha256(&[descriptor])[..]);
    assert_eq!(version(3).descriptor_sha256, version(2).descriptor_sha256);
    assert_ne!(version(2).descriptor_sha256, version(1).descriptor_sha256);
}

#[test]
fn a_ledger_that_gets_its_attachments_later_finds_the_same() {
    let Ledger { store, mut bare, .. } = ledger();
    assert_eq!(rows(&bare.0, Table::Payloads), [] as [(&[u8], &Bytes); 0]);
    let missing: Vec<_> = rows(&bare.0, Table::Missing).iter().map(|(k, v)| Missing::decode(k, v).unwrap()).collect();
    assert_eq!(missing.len(), 4);
    for missing in missing {
        let content = store.0[&keys::attachment(&missing.commitment.slot)].clone();
        missing.commitment.check(&content).unwrap();
        let found = missing.found(&bare.0, content).unwrap();
        bare.0.put(&found);
    }
    assert_eq!(bare.0, store);
}
