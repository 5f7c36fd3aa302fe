#![allow(clippy::unwrap_used)]
use consilium_proto::consent::{Grantee, Rule};
use consilium_proto::hash::Hash;
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::patient::PatientSalt;
use consilium_proto::pb::{self, ConsentEffect};

use consilium_proto::consent::Grant;
use consilium_proto::pb::PatientAcceptance;

use super::*;
use crate::access_log::tests::header;

const PATIENT: &str = "spiffe://a.example/patient/anna";

fn consent(id: u8, grant: Grant, paper: &str) -> KnownConsent {
    let state = pb::ConsentState {
        version: u32::from(id),
        author: PATIENT.into(),
        paper_member: paper.into(),
        signed_ms: 10,
        ..Default::default()
    };
    KnownConsent { id: ConsentId([id; 16]), state, grant }
}

fn rows(consents: Vec<KnownConsent>, accepted_by: &[&str]) -> PatientRows {
    let acceptance = |member: &&str| PatientAcceptance {
        member: (*member).into(),
        identity: PATIENT.into(),
        may_consent: true,
        to_ms: 100,
        ..Default::default()
    };
    let acceptances = accepted_by.iter().map(acceptance).collect();
    let state = Some(pb::PatientState { acceptances, ..Default::default() });
    let header = header(Hash::of(&[]));
    PatientRows {
        patient: PatientPseudonym([1; 16]),
        state,
        consents,
        lists: None,
        care: None,
        salts: Vec::new(),
        salt_wraps: Vec::new(),
        header,
    }
}

fn share_with(member: &str) -> Grant {
    let mut rule = Rule::of_effect(ConsentEffect::Permit);
    rule.grantees = vec![Grantee::Member(member.parse().unwrap())];
    Grant { rules: vec![rule], ..Grant::of_base(ConsentBase::BreakGlassOnly) }
}

fn question(custodian: &str) -> Question {
    Question {
        reader: "spiffe://b.example/clinician/c1".parse().unwrap(),
        purpose: PurposeOfUse::Treat,
        project: None,
        custodian: custodian.parse().unwrap(),
        keepers: Vec::new(),
        author: None,
        record: None,
        kind: "Observation".into(),
        confidentiality: Confidentiality::Normal,
        tags: Vec::new(),
        time: TimeMs(50),
    }
}

fn explain(pseudonyms: &Pseudonyms, custodian: &str) -> Explained {
    pseudonyms.explain(&question(custodian), ConsentBase::BreakGlassOnly)
}

#[test]
fn a_consent_binds_only_who_has_accepted_its_author() {
    let patient = rows(vec![consent(1, share_with("b.example"), "")], &["a.example"]);
    let patient = Pseudonyms { patient, linked: Vec::new() };
    let said = explain(&patient, "a.example");
    assert_eq!((said.said, said.implicit), (Said::Permits { by_name: false }, false));
    assert_eq!(said.decided_by, Some((ConsentId([1; 16]), 1)));
    let said = explain(&patient, "c.example");
    assert_eq!((said.said, said.decided_by, said.implicit), (Said::BaseDenies, None, true));
    assert_eq!(said.each.len(), 1);
    assert!(!said.each[0].binds);
}

#[test]
fn denials_win_and_paper_binds_its_member_alone() {
    let deny = Grant { rules: vec![Rule::of_effect(ConsentEffect::Deny)], ..Grant::of_base(ConsentBase::AllNormal) };
    let consents = vec![consent(1, share_with("b.example"), ""), consent(2, deny, "a.example")];
    let patient = Pseudonyms { patient: rows(consents, &["a.example", "c.example"]), linked: Vec::new() };
    assert_eq!(explain(&patient, "a.example").decided_by, Some((ConsentId([2; 16]), 2)));
    assert_eq!(explain(&patient, "a.example").said, Said::RuleDenies);
    assert_eq!(explain(&patient, "c.example").said, Said::Permits { by_name: false });
}

#[test]
fn a_linked_pseudonym_counts_for_the_members_that_linked_it() {
    let linked = rows(vec![consent(3, share_with("b.example"), "")], &["a.example", "c.example"]);
    let patient = Pseudonyms { patient: rows(vec![], &[]), linked: vec![(linked, vec!["a.example".into()])] };
    assert_eq!(explain(&patient, "a.example").said, Said::Permits { by_name: false });
    assert_eq!(explain(&patient, "c.example").said, Said::BaseDenies);
}

#[test]
fn labels_are_asked_about_under_the_salt_that_the_custodian_blinds_them_with() {
    let salts = [1, 2].map(|_| PatientSalt::generate(PatientPseudonym([1; 16])).unwrap());
    let [known, newer] = &salts;
    let mut rule = Rule::of_effect(ConsentEffect::Deny);
    rule.tags = vec![known.label("PSY")];
    let grant = Grant { rules: vec![rule], ..Grant::of_base(ConsentBase::AllNormal) };
    let patient = Pseudonyms { patient: rows(vec![consent(1, grant, "")], &["a.example"]), linked: Vec::new() };
    let asked = |tags| patient.explain(&Question { tags, ..question("a.example") }, ConsentBase::BreakGlassOnly).said;
    assert_eq!(asked(Vec::new()), Said::BasePermits);
    assert_eq!(asked(vec![known.label("MH")]), Said::BasePermits);
    assert_eq!(asked(vec![known.label("MH"), known.label("PSY")]), Said::RuleDenies);
    assert_eq!(asked(vec![newer.label("MH")]), Said::RuleDenies, "of a salt that the consent does not know");
}
