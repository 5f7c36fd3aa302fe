//! Re-wraps: a member's custodian wraps what was written before for the newest custody key, and
//! the state counts how far it is.

use super::*;
use consilium_proto::state::{CustodyName, WrapName};

/// Records 1 to 3 of hospital a, written for its first custody key; then another is named.
struct Rotation {
    w: World,
    before: KeyId,
    newest: KeyId,
}

fn rotated() -> Rotation {
    let mut w = World::new();
    for record in 1..=3 {
        assert_eq!(w.write(A, record, |_| ()), Outcome::Applied);
    }
    let before = w.key(A, "service", "custodian");
    w.enroll(A, "service", "custodian");
    w.name_custodian(A);
    let newest = w.key(A, "service", "custodian");
    Rotation { w, before, newest }
}

fn rewrap(record: u8, key: KeyId) -> (pb::Rewrap, Bytes) {
    let content = Bytes::from_static(b"for the newest key");
    let rewrap = pb::Rewrap {
        record_id: id(record),
        version: 1,
        recipient_key_id: key.to_bytes(),
        wrap_sha256: Bytes::copy_from_slice(&sha256(&[&content])),
    };
    (rewrap, content)
}

fn add(w: &mut World, by: &str, rewraps: Vec<(pb::Rewrap, Bytes)>) -> Outcome {
    let (rewraps, contents): (Vec<_>, Vec<_>) = rewraps.into_iter().unzip();
    let contents = contents.into_iter().filter(|content| !content.is_empty()).collect();
    w.all_by(by, vec![Action::AddWraps(pb::AddWraps { rewraps, ..pb::AddWraps::default() })], contents)
}

/// Versions in custody, and those that are wrapped for a key.
pub(super) fn counts(w: &World, member: &str, key: KeyId) -> (u64, u64) {
    let work: Option<pb::CustodyWorkState> = w.ledger.store.message(Table::State, &keys::custody_work(member));
    let place = keys::custody_count(&CustodyName::new(member, key));
    let count: Option<pb::CustodyCountState> = w.ledger.store.message(Table::State, &place);
    (work.unwrap_or_default().versions, count.unwrap_or_default().versions)
}

#[test]
fn the_custodian_wraps_what_is_left_for_the_newest_key_once() {
    let Rotation { mut w, before, newest } = rotated();
    let custodian = name(A, "service", "custodian");
    assert_eq!((counts(&w, A, before), counts(&w, A, newest)), ((3, 3), (3, 0)));
    assert_eq!(add(&mut w, &custodian, vec![rewrap(1, newest), rewrap(2, newest)]), Outcome::Applied);
    assert_eq!(counts(&w, A, newest), (3, 2));
    // A second custodian has found the same, and more: nothing of it takes effect.
    let late = vec![rewrap(2, newest), rewrap(3, newest)];
    assert_eq!(add(&mut w, &custodian, late), Outcome::WrapNotRequested);
    assert_eq!(counts(&w, A, newest), (3, 2));
    assert_eq!(add(&mut w, &custodian, vec![rewrap(3, newest)]), Outcome::Applied);
    assert_eq!((counts(&w, A, before), counts(&w, A, newest)), ((3, 3), (3, 3)), "nothing is left");
    let stored = keys::wrap(&consilium_proto::ids::RecordId([3; 16]), 1, &newest);
    assert!(w.ledger.store.0.contains_key(&(Table::Wraps, stored)));
}

#[test]
fn what_is_written_meanwhile_is_counted_for_the_key_that_it_is_written_for() {
    let Rotation { mut w, before, newest } = rotated();
    assert_eq!(w.write(A, 4, |_| ()), Outcome::Applied);
    assert_eq!((counts(&w, A, before), counts(&w, A, newest)), ((4, 3), (4, 1)));
    // For an hour the key before is enough.
    let late = |write: &mut pb::WriteRecord| write.wraps[0].recipient_key_id = before.to_bytes();
    assert_eq!(w.write(A, 5, late), Outcome::Applied);
    assert_eq!((counts(&w, A, before), counts(&w, A, newest)), ((5, 4), (5, 1)));
    let custodian = name(A, "service", "custodian");
    assert_eq!(add(&mut w, &custodian, vec![rewrap(4, newest)]), Outcome::WrapNotRequested, "written for it");
    assert_eq!(add(&mut w, &custodian, vec![rewrap(5, newest)]), Outcome::Applied);
    assert_eq!(counts(&w, A, newest), (5, 2));
}

#[test]
fn only_own_records_are_wrapped_for_the_newest_custody_key_by_the_custodian() {
    let Rotation { mut w, before, newest } = rotated();
    assert_eq!(w.write(B, 9, |_| ()), Outcome::Applied);
    let custodian = name(A, "service", "custodian");
    let others = w.key(B, "clinician", "c1");
    let [ehr, foreign] = [name(A, "service", "ehr"), name(B, "service", "custodian")];
    assert_eq!(add(&mut w, &ehr, vec![rewrap(1, newest)]), Outcome::CustodianRefused);
    let theirs = w.key(B, "service", "custodian");
    for (by, record, key) in [
        (&custodian, 9, newest),
        (&custodian, 8, newest),
        (&custodian, 1, before),
        (&custodian, 1, others),
        (&custodian, 1, theirs),
        (&foreign, 1, theirs),
        (&foreign, 1, newest),
    ] {
        assert_eq!(add(&mut w, by, vec![rewrap(record, key)]), Outcome::WrapNotRequested, "{by} {record} {key}");
    }
    assert_eq!(counts(&w, A, newest), (3, 0));
    let mut second = rewrap(1, newest);
    second.0.version = 2;
    assert_eq!(add(&mut w, &custodian, vec![second]), Outcome::WrapNotRequested, "there is no such version");
    let retract = pb::RetractRecord { record_id: id(1), version: 1, reason: 0 };
    assert_eq!(w.by(A, "service", "ehr", Action::RetractRecord(retract)), Outcome::Applied);
    let mut retraction = rewrap(1, newest);
    retraction.0.version = 2;
    assert_eq!(add(&mut w, &custodian, vec![retraction]), Outcome::WrapNotRequested, "it has no content");
    assert_eq!(counts(&w, A, newest), (3, 0));
}

#[test]
fn what_is_wrapped_for_the_key_of_a_reader_that_becomes_custodian_is_counted_without_another_wrap() {
    let mut w = World::new();
    let heir = name(A, "service", "ehr");
    let key = w.key(A, "service", "ehr");
    // One version is written for it, as its author, and one is wrapped for it as a reader.
    let extra = |write: &mut pb::WriteRecord| {
        let wrap_sha256 = write.wraps[0].wrap_sha256.clone();
        write.wraps.push(pb::KeyWrapRef { recipient_key_id: key.to_bytes(), wrap_sha256 });
    };
    assert_eq!((w.write(A, 1, extra), w.write(A, 2, |_| ())), (Outcome::Applied, Outcome::Applied));
    assert_eq!(w.ground(&heir, read(2)), Ground::Author);
    let (mut answer, content) = rewrap(2, key);
    let added = pb::AddedWrap {
        request: 0,
        record_id: std::mem::take(&mut answer.record_id),
        version: 1,
        recipient_key_id: key.to_bytes(),
        wrap_sha256: answer.wrap_sha256,
    };
    let answer = Action::AddWraps(pb::AddWraps { wraps: vec![added], ..pb::AddWraps::default() });
    assert_eq!(w.all_by(&name(A, "service", "custodian"), vec![answer], vec![content.clone()]), Outcome::Applied);

    let set = pb::SetCustodyKey { encryption_key_id: key.to_bytes() };
    assert_eq!(w.ledger.submit(A, Action::SetCustodyKey(set)), Outcome::Applied);
    assert_eq!(counts(&w, A, key), (2, 0));
    let counted = |record| {
        let (rewrap, _) = rewrap(record, key);
        (pb::Rewrap { wrap_sha256: Bytes::new(), ..rewrap }, Bytes::new())
    };
    assert_eq!(add(&mut w, &heir, vec![rewrap(1, key)]), Outcome::WrapNotRequested, "it is there");
    assert_eq!(add(&mut w, &heir, vec![counted(1), counted(2)]), Outcome::Applied);
    assert_eq!(counts(&w, A, key), (2, 2));
    assert_eq!(add(&mut w, &heir, vec![counted(1)]), Outcome::WrapNotRequested, "only once");
    let place = WrapName { record: consilium_proto::ids::RecordId([2; 16]), version: 1, recipient: key };
    let state: pb::WrapState = w.ledger.store.message(Table::State, &keys::wrap_state(&place)).unwrap();
    assert_eq!((&state.wrap_sha256[..], state.counted), (&sha256(&[&content])[..], true));
}

/// A second wrap would take the place of the first, and no disk would hold what the first one's
/// block commits to.
#[test]
fn what_a_custodian_that_reads_has_wrapped_for_its_key_is_not_asked_for_any_more() {
    let Rotation { mut w, newest, .. } = rotated();
    let custodian = name(A, "service", "custodian");
    let open = |w: &World| {
        let work: Option<pb::CustodyWorkState> = w.ledger.store.message(Table::State, &keys::custody_work(A));
        let rows = [0, 1].map(|n| keys::wrap_request(&consilium_proto::state::WrapRequestName::new(A, n)));
        let rows = rows.map(|row| w.ledger.store.0.contains_key(&(Table::State, row)));
        (work.unwrap_or_default().open, rows)
    };
    assert_eq!(w.ground(&custodian, read(1)), Ground::Custodian);
    assert_eq!(w.ground(&custodian, read(2)), Ground::Custodian);
    assert_eq!(open(&w), (2, [true, true]));
    assert_eq!(add(&mut w, &custodian, vec![rewrap(1, newest)]), Outcome::Applied);
    assert_eq!((counts(&w, A, newest), open(&w)), ((3, 1), (1, [false, true])));
    let answer = |request, record| {
        let (again, content) = rewrap(record, newest);
        let added = pb::AddedWrap {
            request,
            record_id: again.record_id,
            version: 1,
            recipient_key_id: newest.to_bytes(),
            wrap_sha256: again.wrap_sha256,
        };
        let add = pb::AddWraps { wraps: vec![added], ..pb::AddWraps::default() };
        (vec![Action::AddWraps(add)], vec![content])
    };
    let (again, content) = answer(0, 1);
    assert_eq!(w.all_by(&custodian, again, content), Outcome::WrapNotRequested);
    let (other, content) = answer(1, 2);
    assert_eq!(w.all_by(&custodian, other, content), Outcome::Applied);
    assert_eq!((counts(&w, A, newest), open(&w)), ((3, 2), (0, [false, false])));
    assert_eq!(add(&mut w, &custodian, vec![rewrap(2, newest)]), Outcome::WrapNotRequested);
}
