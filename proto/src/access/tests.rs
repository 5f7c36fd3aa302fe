//! The floor, ground by ground.

#![allow(clippy::unwrap_used)]

use super::*;

const CUSTODIAN: &str = "a.example";

fn facts<'a>(reader: &'a SpiffeId, author: &'a str) -> Facts<'a> {
    Facts {
        reader,
        overdue_reviews: 0,
        kind: AccessKind::Read,
        purpose: PurposeOfUse::Treat,
        record: RecordFacts {
            id: RecordId([1; 16]),
            kind: "Observation",
            confidentiality: Confidentiality::Normal,
            custodian: CUSTODIAN,
            author,
            tags: &[],
            restricted: false,
        },
        accepted_as: None,
        under_care: false,
        consent: Said::Nothing,
        emergency: false,
        emergency_forbidden: false,
    }
}

fn id(text: &str) -> SpiffeId {
    text.parse().unwrap()
}

const AUTHOR: &str = "spiffe://a.example/clinician/author";
const COLLEAGUE: &str = "spiffe://a.example/clinician/colleague";
const FOREIGN: &str = "spiffe://b.example/clinician/c1";
const PATIENT: &str = "spiffe://a.example/patient/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn each_word_of_consents_opens_or_closes_for_whom_it_may() {
    let permits = Said::Permits { by_name: false };
    for (reader, expected) in [
        (AUTHOR, [Ground::Author; 6]),
        (
            COLLEAGUE,
            [
                Ground::Custodian,
                Ground::Custodian,
                Ground::Custodian,
                Ground::Custodian,
                Ground::Custodian,
                Ground::ConsentDenies,
            ],
        ),
        (
            FOREIGN,
            [
                Ground::NoConsent,
                Ground::Consent,
                Ground::ConsentDenies,
                Ground::Consent,
                Ground::ConsentDenies,
                Ground::ConsentDenies,
            ],
        ),
    ] {
        let reader = id(reader);
        let said = [Said::Nothing, Said::BasePermits, Said::BaseDenies, permits, Said::AllDenied, Said::RuleDenies];
        assert!(said.is_sorted());
        let grounds = said.map(|consent| Facts { consent, ..facts(&reader, AUTHOR) }.floor());
        assert_eq!(grounds, expected, "{reader}");
    }
}

#[test]
fn roles_that_never_read_do_not_whatever_is_said() {
    for role in ["node", "admin", "auditor"] {
        let reader = id(&format!("spiffe://{CUSTODIAN}/{role}/x"));
        let consent = Said::Permits { by_name: true };
        let all = Facts { consent, emergency: true, under_care: true, ..facts(&reader, AUTHOR) };
        assert_eq!(all.floor(), Ground::Role);
        assert_eq!(Facts { purpose: PurposeOfUse::Btg, ..all }.floor(), Ground::Role);
    }
}

#[test]
fn what_is_restricted_is_closed_to_all() {
    for reader in [AUTHOR, COLLEAGUE, FOREIGN, PATIENT] {
        let reader = id(reader);
        let mut closed = Facts { emergency: true, accepted_as: Some(PatientRelation::Self_), ..facts(&reader, AUTHOR) };
        closed.record.restricted = true;
        for purpose in [PurposeOfUse::Treat, PurposeOfUse::Btg] {
            assert_eq!(Facts { purpose, ..closed }.floor(), Ground::Restricted);
        }
    }
}

#[test]
fn an_emergency_needs_its_purpose_and_lifts_consent_but_not_role() {
    let (doctor, researcher) = (id(FOREIGN), id("spiffe://b.example/researcher/r"));
    for (reader, purpose, emergency, forbidden, ground) in [
        (&doctor, PurposeOfUse::Btg, true, false, Ground::Emergency),
        (&doctor, PurposeOfUse::Btg, true, true, Ground::ConsentDenies),
        (&doctor, PurposeOfUse::Btg, false, false, Ground::NoEmergency),
        (&doctor, PurposeOfUse::Ertreat, true, false, Ground::NoEmergency),
        (&doctor, PurposeOfUse::Treat, true, false, Ground::ConsentDenies),
        (&researcher, PurposeOfUse::Btg, true, false, Ground::NoEmergency),
    ] {
        let consent = Said::AllDenied;
        let facts = Facts { purpose, emergency, emergency_forbidden: forbidden, consent, ..facts(reader, AUTHOR) };
        assert_eq!(facts.floor(), ground, "{reader} {purpose:?}");
    }
}

#[test]
fn patients_and_those_who_act_for_them_read_whatever_consents_say() {
    let patient = id(PATIENT);
    for (accepted_as, ground) in [
        (Some(PatientRelation::Self_), Ground::Patient),
        (Some(PatientRelation::Guardian), Ground::Representative),
        (Some(PatientRelation::Proxy), Ground::Representative),
        (None, Ground::ConsentDenies),
    ] {
        let consent = Said::BaseDenies;
        assert_eq!(Facts { accepted_as, consent, ..facts(&patient, AUTHOR) }.floor(), ground);
    }
}

#[test]
fn grounds_permit_below_twenty() {
    for number in 0..40 {
        let Ok(ground) = Ground::try_from(number) else { continue };
        assert_eq!(permits(ground), (1..20).contains(&number), "{ground:?}");
    }
}
