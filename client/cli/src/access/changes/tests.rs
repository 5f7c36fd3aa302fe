#![allow(clippy::unwrap_used)]

use consilium_proto::ids::{PatientPseudonym, RecordId, TimeMs, TransactionId};

use super::*;
use crate::json;

fn change(fate: Fate) -> KnownChange {
    let read = VersionRead {
        version: 1,
        reader: "spiffe://b.example/clinician/c-1".parse().unwrap(),
        patient: PatientPseudonym([1; 16]),
        transaction_id: TransactionId::from_bytes([2; 32]),
        time: TimeMs(1_000),
        height: Height(3),
    };
    let (time, height) = (TimeMs(5_000), Height(7));
    KnownChange { record: RecordId([9; 16]), version: 2, fate, time, height, reads: vec![read] }
}

fn view(fate: Fate) -> ChangesView {
    let args = ChangesArgs { since: 2, utc_offset: Zone::default() };
    ChangesView::new(&args, &Changes { records: vec![change(fate)], up_to: Height(8) })
}

#[test]
fn scripts_get_what_has_changed_and_where_to_go_on() {
    json::snapshot::check("access-changes", &view(Fate::Misfiled));
    let told = ToldView { change: ChangeView::new(&change(Fate::Amended), Zone::default()), cursor: 7 };
    json::snapshot::check("access-change", &told);
}

#[test]
fn people_read_what_became_of_it_and_what_they_had_read() {
    for (fate, words) in [
        (Fate::Amended, "was amended"),
        (Fate::Retracted, "was entered in error"),
        (Fate::Misfiled, "was filed under the wrong patient"),
    ] {
        let text = view(fate).text();
        assert!(text.contains(words) && text.contains("has read version 1, as of patient 0101"), "{text}");
        assert!(text.ends_with("look at it again before you rely on it\nkeep this for the next time: --since 8"));
    }
    let args = ChangesArgs { since: 0, utc_offset: Zone::default() };
    let nothing = ChangesView::new(&args, &Changes { records: Vec::new(), up_to: Height(8) });
    assert_eq!(nothing.text(), "nothing that was read has changed\nkeep this for the next time: --since 8");
}
