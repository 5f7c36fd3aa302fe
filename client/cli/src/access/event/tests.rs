//! How emergencies are told in a list.

#![allow(clippy::unwrap_used)]
use consilium_proto::ids::{EmergencyId, TimeMs};
use consilium_proto::pb::{AccessKind, EmergencyReason, PurposeOfUse, ReviewVerdict};

use super::super::tests::event;
use super::*;
use crate::json;

const ID: EmergencyId = EmergencyId([14; 16]);

fn said(number: u64, change: Change) -> AccessEvent {
    AccessEvent {
        kind: AccessKind::Change,
        purpose: PurposeOfUse::Patadmin,
        decisions: Vec::new(),
        emergency: Some(ID),
        change: Some(change),
        ..event(number, AccessGround::Consent)
    }
}

fn declared() -> AccessEvent {
    let (reason, to) = (EmergencyReason::Danger, TimeMs(14_401_000));
    said(4, Change::EmergencyDeclared { emergency: ID, reason, to })
}

fn reviewed(verdict: ReviewVerdict) -> AccessEvent {
    said(5, Change::EmergencyReviewed { emergency: ID, verdict })
}

#[test]
fn scripts_get_the_reason_the_end_and_the_verdict() {
    let views = [declared(), reviewed(ReviewVerdict::Justified)].map(|event| EventView::new(&event, false));
    json::snapshot::check("access-log-emergency", &views);
}

#[test]
fn people_are_told_why_and_until_when_and_what_the_review_found() {
    let line = EventView::new(&declared(), false).line();
    let told = format!(
        "entry 4: 1970-01-01T00:00:01Z a clinician of b.example (unit W-07) had it entered: declared emergency {ID}, and \
         may read until 1970-01-01T04:00:01Z: the patient's life or health is in danger"
    );
    assert_eq!(line, told);
    for (verdict, found) in
        [(ReviewVerdict::Justified, "it was one"), (ReviewVerdict::NotJustified, "it was none, and is over")]
    {
        let view = EventView::new(&reviewed(verdict), false);
        assert_eq!(view.decided(), format!("reviewed emergency {ID}: {found}"));
        assert!(view.is_change() && !view.permitted);
    }
    let for_somebody = AccessEvent {
        reader: "spiffe://b.example/service/ehr".parse().unwrap(),
        acting: Some(consilium_proto::hash::Hash::of(&[b"who"])),
        ..declared()
    };
    assert_eq!(EventView::new(&for_somebody, false).role_words, "hospital system");
}
