#![allow(clippy::unwrap_used)]
use consilium_proto::ids::{Height, PatientPseudonym, TransactionId};
use consilium_proto::pb::{AccessKind, PurposeOfUse as P};

use super::*;

fn event(reader: &str, purpose: P, ground: AccessGround) -> AccessEvent {
    AccessEvent {
        sequence: 0,
        transaction_id: TransactionId::from_bytes([5; 32]),
        reader: reader.parse().unwrap(),
        unit: None,
        patient: PatientPseudonym([7; 16]),
        purpose,
        kind: AccessKind::Read,
        decisions: vec![Decision { ground, consent: None, records: Vec::new() }],
        emergency: None,
        acting: None,
        query: None,
        project: None,
        policy_version: 0,
        time: TimeMs(1_000),
        height: Height(3),
        disclosed: None,
        sealed_until: None,
        change: None,
        late: None,
    }
}

const OWN: &str = "spiffe://st-mary.example/clinician/c-1";
const OTHER: &str = "spiffe://lakeside.example/clinician/c-2";

/// What becomes of one event; `None`: nothing was given out.
fn told(event: &AccessEvent) -> Option<Option<LeftOut>> {
    let member = "st-mary.example".parse().unwrap();
    let events = std::slice::from_ref(event);
    let all: Vec<_> = disclosures(events, &member, TimeMs(0), TimeMs(2_000)).map(|d| d.left_out).collect();
    all.first().copied()
}

#[test]
fn what_left_the_house_is_told_unless_the_law_leaves_it_out() {
    use AccessGround::{Consent, Custodian, Emergency, NoConsent, Patient, Representative};
    let cases = [
        (OTHER, P::Hresch, Consent, Some(None)),
        (OTHER, P::Pubhlth, Consent, Some(None)),
        (OTHER, P::Threat, Consent, Some(None)),
        (OTHER, P::Hmarkt, Consent, Some(None)),
        (OTHER, P::Treat, Consent, Some(Some(LeftOut::Operations))),
        (OTHER, P::Coc, Consent, Some(Some(LeftOut::Operations))),
        (OTHER, P::Coverage, Consent, Some(Some(LeftOut::Operations))),
        (OTHER, P::Hqualimp, Consent, Some(Some(LeftOut::Operations))),
        (OTHER, P::Btg, Emergency, Some(Some(LeftOut::Operations))),
        (OWN, P::Hresch, Custodian, Some(Some(LeftOut::OwnStaff))),
        (OTHER, P::Patrqt, Patient, Some(Some(LeftOut::ToPatient))),
        (OWN, P::Patrqt, Representative, Some(Some(LeftOut::ToPatient))),
        (OTHER, P::Hresch, NoConsent, None),
    ];
    for (reader, purpose, ground, expected) in cases {
        assert_eq!(told(&event(reader, purpose, ground)), expected, "{reader} {purpose:?} {ground:?}");
    }
}

#[test]
fn duties_of_law_are_told_although_they_stand_below_operations() {
    for purpose in TOLD {
        assert!(purpose::covers(P::Hoperat, purpose) || purpose::covers(P::Hpaymt, purpose), "{purpose:?}");
        assert_eq!(told(&event(OTHER, purpose, AccessGround::Consent)), Some(None), "{purpose:?}");
    }
}

#[test]
fn the_time_begins_with_since_and_ends_before_until() {
    let member = "st-mary.example".parse().unwrap();
    let events = [event(OTHER, P::Hresch, AccessGround::Consent)];
    let count = |since, until| disclosures(&events, &member, TimeMs(since), TimeMs(until)).count();
    assert_eq!((count(1_000, 1_001), count(0, 1_000), count(1_001, 9_000)), (1, 0, 0));
}

#[test]
fn what_was_handed_to_an_authority_is_told_once_it_is_not_sealed() {
    use consilium_proto::pb::{DisclosureBasis, DisclosureRecipient};
    let disclosed = crate::access_log::DisclosedTo {
        id: consilium_proto::ids::DisclosureId([9; 16]),
        basis: DisclosureBasis::CourtOrder,
        recipient: DisclosureRecipient::Court,
        confirmed_by: "spiffe://st-mary.example/auditor/privacy".parse().unwrap(),
    };
    let made = AccessEvent { disclosed: Some(disclosed), ..event(OWN, P::Hlegal, AccessGround::Custodian) };
    assert_eq!(told(&made), Some(None), "by own staff, and yet no use");
    let sealed = |until| AccessEvent { sealed_until: Some(TimeMs(until)), ..made.clone() };
    assert_eq!((told(&sealed(2_000)), told(&sealed(2_001))), (Some(None), None));
}
