#![allow(clippy::unwrap_used)]

use super::*;
use crate::pb::PatientDeath;

const ANNA: &str = "spiffe://a.example/patient/anna";

fn said(member: &str, height: u64) -> PatientAcceptance {
    PatientAcceptance {
        member: member.into(),
        identity: ANNA.into(),
        relation: PatientRelation::Self_.into(),
        may_read: true,
        may_consent: true,
        height,
        ..PatientAcceptance::default()
    }
}

fn withdrawn(member: &str, height: u64) -> PatientAcceptance {
    PatientAcceptance { withdrawn: true, ..said(member, height) }
}

/// Hospital a left at height 10, and then b, which had kept its records, at 20.
fn keepers() -> [CustodyKeeper; 2] {
    [("b.example", 10), ("c.example", 20)]
        .map(|(member, since_height)| CustodyKeeper { member: member.into(), since_height })
}

fn signed() -> ConsentState {
    ConsentState { author: ANNA.into(), signed_ms: 5, height: 5, ..ConsentState::default() }
}

fn binds(custodians: &Custodians<'_>, consent: &ConsentState, patient: &PatientState) -> bool {
    custodians.reach(consent, patient).is_some()
}

#[test]
fn each_was_their_custodian_from_one_block_to_another() {
    let keepers = keepers();
    let was = |custodians: Custodians<'_>, height| {
        ["a.example", "b.example", "c.example", "d.example"].map(|member| custodians.was_at(member, height))
    };
    assert_eq!(was(Custodians::only("a.example"), 99), [true, false, false, false]);
    for (height, expected) in [
        (9, [true, false, false, false]),
        // In the block itself it may have been before, or after.
        (10, [true, true, false, false]),
        (11, [false, true, false, false]),
        (20, [false, true, true, false]),
        (21, [false, false, true, false]),
    ] {
        assert_eq!(was(Custodians::new("a.example", &keepers), height), expected, "{height}");
    }
}

fn patient(acceptances: &[PatientAcceptance]) -> PatientState {
    PatientState { acceptances: acceptances.to_vec(), ..PatientState::default() }
}

#[test]
fn what_was_accepted_counts_until_a_later_custodian_says_otherwise() {
    let keepers = keepers();
    let custodians = Custodians::new("a.example", &keepers);
    let bound = |acceptances: &[PatientAcceptance]| binds(&custodians, &signed(), &patient(acceptances));
    assert!(bound(&[said("a.example", 1)]));
    assert!(bound(&[said("b.example", 5)]), "of its own patients then");
    assert!(bound(&[said("a.example", 1), withdrawn("b.example", 10)]), "said of its own records, before");
    assert!(!bound(&[said("a.example", 1), withdrawn("b.example", 11)]));
    assert!(bound(&[said("a.example", 1), withdrawn("b.example", 11), said("c.example", 21)]));
    assert!(!bound(&[said("a.example", 1), said("b.example", 11), withdrawn("c.example", 21)]));
    assert!(bound(&[withdrawn("a.example", 1), said("b.example", 11)]));
    assert!(!bound(&[withdrawn("a.example", 1)]));
    assert!(!bound(&[said("d.example", 30)]), "another member");
    let other = PatientAcceptance { identity: "spiffe://b.example/patient/other".into(), ..withdrawn("b.example", 11) };
    assert!(bound(&[said("a.example", 1), other]), "it is about somebody else");
}

#[test]
fn what_their_successor_says_is_not_of_those_that_are_there_still() {
    let own = Custodians::only("b.example");
    assert!(!binds(&own, &signed(), &patient(&[said("a.example", 1)])));
    assert!(binds(&own, &signed(), &patient(&[said("b.example", 1), withdrawn("c.example", 30)])));
    assert_eq!((own.present(), Custodians::new("a.example", &keepers()).present()), ("b.example", "c.example"));
}

#[test]
fn paper_of_any_of_them_binds() {
    let keepers = keepers();
    let custodians = Custodians::new("a.example", &keepers);
    let paper = |member: &str| ConsentState { paper_member: member.into(), ..ConsentState::default() };
    for member in ["a.example", "b.example", "c.example"] {
        assert!(binds(&custodians, &paper(member), &patient(&[])), "{member}");
    }
    assert!(!binds(&custodians, &paper("d.example"), &patient(&[])));
}

#[test]
fn the_dead_are_spoken_for_by_executors_and_the_living_are_not() {
    let keepers = keepers();
    let custodians = Custodians::new("a.example", &keepers);
    let executor = PatientAcceptance { relation: PatientRelation::Executor.into(), ..said("c.example", 21) };
    let death = PatientDeath { member: "b.example".into(), ..PatientDeath::default() };
    let heard = |accepted: &PatientAcceptance, deaths: &[PatientDeath]| {
        let patient =
            PatientState { acceptances: vec![accepted.clone()], deaths: deaths.to_vec(), ..PatientState::default() };
        custodians.hear(&patient, ANNA, TimeMs(7)).count()
    };
    assert_eq!((heard(&executor, &[]), heard(&said("a.example", 1), &[])), (0, 1));
    let death = [death];
    assert_eq!((heard(&executor, &death), heard(&said("a.example", 1), &death)), (1, 0));
    let other = [PatientDeath { member: "d.example".into(), ..PatientDeath::default() }];
    assert_eq!(heard(&said("a.example", 1), &other), 1);
}

#[test]
fn what_is_signed_after_a_death_binds_if_an_executor_signs_it() {
    let own = Custodians::only("a.example");
    let bound = |relation: PatientRelation, died: u64, by: &str| {
        let acceptance = PatientAcceptance { relation: relation.into(), ..said("a.example", 1) };
        let death = PatientDeath { member: by.into(), height: died, ..PatientDeath::default() };
        binds(&own, &signed(), &PatientState { deaths: vec![death], ..patient(&[acceptance]) })
    };
    assert!(bound(PatientRelation::Self_, 5, "a.example"), "signed in life");
    assert!(!bound(PatientRelation::Self_, 4, "a.example") && bound(PatientRelation::Executor, 4, "a.example"));
    assert!(bound(PatientRelation::Self_, 4, "b.example"), "another hospital says so");
}

#[test]
fn what_an_identity_has_ended_is_ended_for_who_hears_it() {
    let own = Custodians::only("a.example");
    let consent = ConsentState { ended_by: vec!["spiffe://b.example/patient/new".into()], ..signed() };
    let new = |change: fn(&mut PatientAcceptance)| {
        let mut accepted = said("a.example", 9);
        accepted.identity = consent.ended_by[0].clone();
        change(&mut accepted);
        binds(&own, &consent, &patient(&[said("a.example", 1), accepted]))
    };
    assert!(binds(&own, &consent, &patient(&[said("a.example", 1)])), "nobody has accepted it");
    assert!(!new(|_| ()));
    assert!(!new(|a| a.to_ms = 1), "what it has done stays");
    assert!(new(|a| a.withdrawn = true) && new(|a| a.may_consent = false));
    assert!(new(|a| a.member = "b.example".into()), "another custodian has");
    assert!(new(|a| a.scope = Some(Default::default())), "it speaks for a part");
    assert!(new(|a| a.relation = PatientRelation::Executor.into()), "the patient lives");
}
