//! Consents: whom they bind, what they say, and that what they say ends.

use super::*;
use consilium_proto::ids::ConsentId;

fn reader() -> String {
    name(B, "clinician", "c1")
}

/// Patient 1 of hospital a, which has accepted her and holds record 1.
fn anna_shares() -> (World, String) {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let anna = name(A, "patient", ANNA);
    w.accept(A, &anna, |_| ());
    assert_eq!(w.consent(&anna, 1, share_with_b()), Outcome::Applied);
    (w, anna)
}

#[test]
fn a_consent_opens_from_its_block_and_a_revocation_closes_from_its_block() {
    let (mut w, anna) = anna_shares();
    let event = w.ask(&reader(), read(1));
    let decision = &event.decisions[0];
    assert_eq!((decision.ground(), &decision.consent_id, decision.consent_version), (Ground::Consent, &id(1), 1));
    assert_eq!(w.revoke(&anna, 1), Outcome::Applied);
    assert_eq!(w.ground(&reader(), read(1)), Ground::ConsentDenies, "the implicit base denies");
    assert_eq!(w.revoke(&anna, 1), Outcome::ConsentNotFound);
    assert_eq!(w.consent_version(&anna, 1, 2, share_with_b()), Outcome::ConsentConflict, "what ended stays so");
}

#[test]
fn in_one_block_the_order_of_the_ledger_decides() {
    for revoked_first in [true, false] {
        let (mut w, anna) = anna_shares();
        let revoke = Action::RevokeConsent(pb::RevokeConsent { consent_id: id(1) });
        let bodies = [w.ledger.body(vec![revoke]), w.ledger.body(vec![Action::RequestAccess(read(1))])];
        let [revoke, request] = bodies;
        let revoke = w.ledger.check(&w.people[&anna].sign(revoke, vec![]));
        let request = w.ledger.check(&w.people[&reader()].sign(request, vec![]));
        let id = request.transaction.id;
        let block = if revoked_first { [revoke, request] } else { [request, revoke] };
        w.ledger.block(&block, &Observed::default());
        let expected = if revoked_first { Ground::ConsentDenies } else { Ground::Consent };
        assert_eq!(w.event(&id).decisions[0].ground(), expected);
    }
}

#[test]
fn a_consent_binds_only_custodians_that_accepted_its_signer() {
    let (mut w, anna) = anna_shares();
    w.write(B, 2, |_| ());
    let stranger = name(A, "clinician", "c1");
    let share = grant(
        ConsentBase::BreakGlassOnly,
        vec![pb::ConsentRule { grantees: to_member(A), ..rule(ConsentEffect::Permit) }],
    );
    // Hospital a makes up a patient who lets it read what hospital b wrote.
    let minted = name(A, "patient", GUARDIAN);
    assert_eq!(w.accept(A, &minted, |_| ()), Outcome::Applied);
    assert_eq!(w.consent(&minted, 2, share.clone()), Outcome::Applied);
    assert_eq!(w.ground(&stranger, read(2)), Ground::ConsentDenies);
    // The true one, whom hospital b knows.
    assert_eq!(w.consent(&anna, 3, share), Outcome::Applied);
    assert_eq!(w.ground(&stranger, read(2)), Ground::ConsentDenies);
    assert_eq!(w.accept(B, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.ground(&stranger, read(2)), Ground::Consent, "accepted later, what she signed counts");
}

#[test]
fn paper_binds_the_member_that_holds_it() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    w.write(B, 2, |_| ());
    let ehr = name(B, "service", "ehr");
    assert_eq!(w.consent(&ehr, 1, share_with_b()), Outcome::Applied);
    assert_eq!(w.ground(&reader(), read(1)), Ground::ConsentDenies, "b cannot consent for a");
    assert_eq!(w.consent(&name(A, "clinician", "c1"), 2, share_with_b()), Outcome::Applied);
    assert_eq!(w.ground(&reader(), read(1)), Ground::Consent);
    assert_eq!(w.revoke(&ehr, 2), Outcome::ConsentNotFound);
    assert_eq!(w.revoke(&name(A, "service", "ehr"), 2), Outcome::Applied, "any registrar of the member");
    let put = pb::PutConsent {
        consent_id: id(5),
        version: 1,
        patient: id(1),
        grant: Some(share_with_b()),
        document_sha256: Bytes::new(),
    };
    assert_eq!(w.by(A, "service", "ehr", Action::PutConsent(put)), Outcome::DocumentMissing);
    assert_eq!(w.consent(&name(A, "auditor", "privacy"), 6, share_with_b()), Outcome::RoleNotAllowed);
}

#[test]
fn denials_win_and_bind_the_custodians_own_people_but_not_the_author() {
    let (mut w, anna) = anna_shares();
    let nosy = name(A, "clinician", "c2");
    let deny = |who: &str| {
        let grantees = vec![pb::Grantee { grantee: Some(pb::grantee::Grantee::Identity(who.to_owned())) }];
        grant(ConsentBase::BasicNormal, vec![pb::ConsentRule { grantees, ..rule(ConsentEffect::Deny) }])
    };
    assert_eq!(w.ground(&nosy, read(1)), Ground::Custodian);
    assert_eq!(w.consent(&anna, 2, deny(&nosy)), Outcome::Applied);
    let event = w.ask(&nosy, read(1));
    assert_eq!((event.decisions[0].ground(), &event.decisions[0].consent_id), (Ground::ConsentDenies, &id(2)));
    assert_eq!(w.consent(&anna, 3, deny(&reader())), Outcome::Applied);
    assert_eq!(w.ground(&reader(), read(1)), Ground::ConsentDenies);
    let ehr = name(A, "service", "ehr");
    assert_eq!(w.consent(&anna, 4, deny(&ehr)), Outcome::Applied);
    assert_eq!(w.ground(&ehr, read(1)), Ground::Author);
}

#[test]
fn a_base_that_denies_leaves_the_hospital_its_own_records() {
    let (mut w, anna) = anna_shares();
    assert_eq!(w.consent_version(&anna, 1, 2, grant(ConsentBase::Deny, vec![])), Outcome::Applied);
    assert_eq!(w.ground(&reader(), read(1)), Ground::ConsentDenies);
    assert_eq!(w.ground(&name(A, "clinician", "c1"), read(1)), Ground::Custodian);
}

#[test]
fn a_consent_is_in_force_from_its_first_to_before_its_last_moment() {
    let (mut w, anna) = anna_shares();
    w.revoke(&anna, 1);
    let from = w.now() + 10_000;
    let period = pb::ConsentGrant { from_ms: from, to_ms: from + 10_000, ..share_with_b() };
    assert_eq!(w.consent(&anna, 2, period), Outcome::Applied);
    for (at, ground) in [
        (from - 1, Ground::ConsentDenies),
        (from, Ground::Consent),
        (from + 9_999, Ground::Consent),
        (from + 10_000, Ground::ConsentDenies),
    ] {
        w.wait_until(at);
        assert_eq!(w.ground(&reader(), read(1)), ground, "{at}");
    }
}

#[test]
fn each_author_has_room_of_its_own() {
    let (mut w, anna) = anna_shares();
    let ehr = name(B, "service", "ehr");
    for n in 10..26 {
        assert_eq!(w.consent(&ehr, n, share_with_b()), Outcome::Applied);
    }
    assert_eq!(w.consent(&ehr, 30, share_with_b()), Outcome::TooManyOfPatient);
    assert_eq!(w.revoke(&ehr, 10), Outcome::Applied);
    assert_eq!(w.consent(&ehr, 30, share_with_b()), Outcome::Applied);
    assert_eq!(w.consent(&anna, 40, share_with_b()), Outcome::Applied);
    assert_eq!(w.consent(&anna, 30, share_with_b()), Outcome::ConsentNotFound, "ids are used once");
    assert_eq!(w.consent_version(&anna, 30, 2, share_with_b()), Outcome::ConsentNotFound);
}

/// Record 1 of hospital a and 2 of hospital b, which both have accepted the old identity, and on
/// paper have shared with each other.
fn both_share() -> (World, [String; 2]) {
    let mut w = World::new();
    let (old, new) = (name(A, "patient", ANNA), name(B, "patient", ANNA));
    for (member, record, other) in [(A, 1, B), (B, 2, A)] {
        w.write(member, record, |_| ());
        assert_eq!(w.accept(member, &old, |_| ()), Outcome::Applied);
        assert_eq!(w.consent(&name(member, "service", "ehr"), record + 10, share_with(other)), Outcome::Applied);
    }
    (w, [old, new])
}

impl World {
    /// Of record 1 of hospital a for one of b, and of record 2 of hospital b for one of a.
    fn shared(&mut self) -> [bool; 2] {
        [(B, 1), (A, 2)]
            .map(|(reader, record)| self.ground(&name(reader, "clinician", "c1"), read(record)) == Ground::Consent)
    }
}

#[test]
fn a_new_identity_ends_an_old_consent_for_who_accepts_it_now_and_for_others_when_they_do() {
    let (mut w, [old, new]) = both_share();
    for paper in [(A, 11), (B, 12)] {
        assert_eq!(w.revoke(&name(paper.0, "service", "ehr"), paper.1), Outcome::Applied);
    }
    let permit = pb::ConsentRule { grantees: [to_member(A), to_member(B)].concat(), ..rule(ConsentEffect::Permit) };
    assert_eq!(w.consent(&old, 1, grant(ConsentBase::BreakGlassOnly, vec![permit])), Outcome::Applied);
    assert_eq!(w.revoke(&new, 1), Outcome::ConsentNotFound, "nobody has accepted it");
    assert_eq!(w.accept(A, &new, |_| ()), Outcome::Applied);
    assert_eq!(w.shared(), [true, true]);
    assert_eq!(w.revoke(&new, 1), Outcome::Applied, "hospital b cannot keep it from ending at a");
    assert_eq!(w.shared(), [false, true], "nor has it heard of the new one");
    assert_eq!(w.revoke(&new, 1), Outcome::ConsentNotFound);
    assert_eq!(w.accept(B, &new, |accept| accept.may_consent = false), Outcome::Applied);
    assert_eq!(w.shared(), [false, true]);
    assert_eq!(w.accept(B, &new, |_| ()), Outcome::Applied);
    assert_eq!(w.shared(), [false, false], "it ends as it is accepted");
    assert_eq!(w.accept(B, &new, |accept| accept.withdrawn = true), Outcome::Applied);
    assert_eq!(w.shared(), [false, true], "nothing that it did counts any more");
    assert_eq!(w.accept(B, &new, |_| ()), Outcome::Applied);
    assert_eq!(w.revoke(&new, 1), Outcome::Applied, "for all that it binds");
    assert_eq!(w.revoke(&old, 1), Outcome::ConsentNotFound);
}

#[test]
fn a_denial_that_a_new_identity_ends_stays_where_that_one_is_unknown() {
    let (mut w, [old, new]) = both_share();
    assert_eq!(w.shared(), [true, true]);
    assert_eq!(w.consent(&old, 1, grant(ConsentBase::Deny, vec![])), Outcome::Applied);
    assert_eq!(w.shared(), [false, false]);
    assert_eq!(w.accept(B, &new, |_| ()), Outcome::Applied);
    assert_eq!(w.revoke(&new, 1), Outcome::Applied);
    assert_eq!(w.shared(), [false, true], "hospital a hears nobody whom it does not know");
    // Who speaks for a part ends nothing, as it is accepted either.
    let guardian = |accept: &mut pb::AcceptPatient| {
        accept.relation = PatientRelation::Proxy.into();
        accept.scope = Some(pb::RepresentativeScope { kinds: vec!["Observation".into()], ..Default::default() });
    };
    assert_eq!(w.accept(A, &new, guardian), Outcome::Applied);
    assert_eq!(w.shared(), [false, true]);
}

#[test]
fn nobody_uses_up_the_places_of_those_who_have_ended_a_consent() {
    let (mut w, [old, new]) = both_share();
    assert_eq!(w.consent(&old, 1, grant(ConsentBase::Deny, vec![])), Outcome::Applied);
    let others = [name(A, "patient", GUARDIAN), name(B, "patient", GUARDIAN)];
    // Hospital b makes up identities that end it at b.
    for (identity, left) in [(&new, vec![&new]), (&others[1], vec![&others[1]])] {
        assert_eq!(w.accept(B, identity, |_| ()), Outcome::Applied);
        w.revoke(identity, 1);
        let state: pb::ConsentState =
            w.ledger.store.message(Table::State, &keys::consent(&ConsentId([1; 16]))).unwrap();
        assert!(state.ended_by.iter().all(|by| left.contains(&by) || *by == new), "{:?}", state.ended_by);
        assert!(state.ended_by.len() == 1 && state.ended_for == [B]);
    }
    assert_eq!(w.accept(A, &others[0], |_| ()), Outcome::Applied);
    assert_eq!(w.revoke(&others[0], 1), Outcome::Applied, "a can end it still");
    let state: pb::ConsentState = w.ledger.store.message(Table::State, &keys::consent(&ConsentId([1; 16]))).unwrap();
    assert_ne!(state.revoked_ms, 0, "and then it has ended for all");
}

#[test]
fn linked_pseudonyms_count_for_who_linked_them_and_unlinked_no_longer() {
    let (mut w, _) = anna_shares();
    let register = pb::RegisterPatient { patient: id(2), lookups_sha256: Vec::new() };
    w.by(B, "service", "ehr", Action::RegisterPatient(register));
    w.write(A, 5, |write| write.patient = id(2));
    let of_other = || pb::RequestAccess { patient: id(2), ..read(5) };
    assert_eq!(w.ground(&reader(), of_other()), Ground::ConsentDenies);
    let link =
        || Action::LinkPatients(pb::LinkPatients { patient: id(1), other: id(2), evidence_sha256: vec![1; 32].into() });
    assert_eq!(w.by(B, "service", "ehr", link()), Outcome::Applied);
    assert_eq!(w.ground(&reader(), of_other()), Ground::ConsentDenies, "b cannot link what a holds");
    assert_eq!(w.by(A, "service", "ehr", link()), Outcome::Applied);
    assert_eq!(w.by(A, "service", "ehr", link()), Outcome::LinkConflict);
    assert_eq!(w.ground(&reader(), of_other()), Ground::Consent);
    let unlink = || Action::UnlinkPatients(pb::UnlinkPatients { patient: id(2), other: id(1) });
    assert_eq!(w.by(A, "service", "ehr", unlink()), Outcome::Applied);
    assert_eq!(w.by(A, "service", "ehr", unlink()), Outcome::LinkConflict);
    assert_eq!(w.ground(&reader(), of_other()), Ground::ConsentDenies);
    let state: pb::PatientState =
        w.ledger.store.message(Table::State, &keys::patient(&PatientPseudonym([2; 16]))).unwrap();
    assert!(state.links[1].from_height < state.links[1].to_height, "what was between is found by it");
}

#[test]
fn a_consent_to_research_takes_no_treatment_away() {
    let research = |base| {
        let rule = pb::ConsentRule { purposes: vec![Purpose::Hresch.into()], ..rule(ConsentEffect::Permit) };
        grant(base, vec![rule])
    };
    for (base, expected) in
        [(ConsentBase::Silent, Ground::Consent), (ConsentBase::BreakGlassOnly, Ground::ConsentDenies)]
    {
        let mut w = World::with(|p| p.implicit_consent = ConsentBase::BasicNormal as u32);
        w.write(A, 1, |_| ());
        let doctor = name(B, "clinician", "c1");
        assert_eq!(w.ground(&doctor, read(1)), Ground::Consent, "by what the members agreed on");
        assert_eq!(w.consent(&name(A, "service", "ehr"), 1, research(base)), Outcome::Applied);
        assert_eq!(w.ground(&doctor, read(1)), expected, "{base:?}");
        assert_eq!(w.consent(&name(A, "service", "ehr"), 2, share_with_b()), Outcome::Applied);
        let beside = w.ground(&doctor, read(1));
        assert_eq!(beside, Ground::Consent, "a rule is stronger than a base");
    }
}

#[test]
fn a_consent_that_permits_nothing_closes_what_earlier_ones_opened() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let doctor = name(B, "clinician", "c1");
    assert_eq!(w.consent(&name(A, "service", "ehr"), 1, share_with_b()), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    assert_eq!(w.consent(&name(A, "service", "ehr"), 2, grant(ConsentBase::BreakGlassOnly, vec![])), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::ConsentDenies);
    let declare = pb::DeclareEmergency {
        emergency_id: id(7),
        patient: id(1),
        reason: pb::EmergencyReason::Danger.into(),
        ..pb::DeclareEmergency::default()
    };
    assert_eq!(w.all_by(&doctor, vec![Action::DeclareEmergency(declare)], vec![]), Outcome::Applied);
    let request = pb::RequestAccess { purpose: Purpose::Btg.into(), emergency_id: id(7), ..read(1) };
    assert_eq!(w.ground(&doctor, request), Ground::Emergency, "which it leaves open");
}

#[test]
fn nobody_opens_records_to_oneself_by_a_paper() {
    let mut w = World::new();
    w.write(A, 1, |write| write.confidentiality = pb::Confidentiality::VeryRestricted.into());
    let doctor = name(A, "clinician", "c1");
    let to_doctor = vec![pb::Grantee { grantee: Some(pb::grantee::Grantee::Identity(doctor.clone())) }];
    let permit = pb::ConsentRule { grantees: to_doctor, ..rule(ConsentEffect::Permit) };
    let by_name = || grant(ConsentBase::BreakGlassOnly, vec![permit.clone()]);
    assert_eq!(w.consent(&doctor, 1, by_name()), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Policy, "what is very restricted needs a name on a consent");
    assert_eq!(w.consent(&name(A, "clinician", "c2"), 2, by_name()), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Custodian);
}

#[test]
fn leaving_out_the_project_evades_no_denial_of_it() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let all = pb::ConsentRule { purposes: vec![Purpose::Hresch.into()], ..rule(ConsentEffect::Permit) };
    let not_there = pb::ConsentRule { projects: vec![id(4)], ..rule(ConsentEffect::Deny) };
    let said = grant(ConsentBase::BreakGlassOnly, vec![all, not_there]);
    assert_eq!(w.consent(&name(A, "service", "ehr"), 1, said), Outcome::Applied);
    let researcher = name(B, "researcher", "r1");
    let research = pb::RequestAccess { purpose: Purpose::Hresch.into(), ..read(1) };
    let of = |project| pb::RequestAccess { project, ..research.clone() };
    assert_eq!(w.ground(&researcher, of(id(4))), Ground::ConsentDenies);
    assert_eq!(w.ground(&researcher, of(Bytes::new())), Ground::ConsentDenies);
    assert_eq!(w.ground(&researcher, of(id(5))), Ground::Consent);
}

#[test]
fn what_protects_the_newest_version_protects_the_older_ones() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let normal = pb::ConsentRule {
        grantees: to_member(B),
        ceiling: pb::Confidentiality::Normal.into(),
        ..rule(ConsentEffect::Permit)
    };
    let said = grant(ConsentBase::BreakGlassOnly, vec![normal]);
    assert_eq!(w.consent(&name(A, "service", "ehr"), 1, said), Outcome::Applied);
    let doctor = name(B, "clinician", "c1");
    assert_eq!(w.ground(&doctor, first_version()), Ground::Consent);
    let amend = |write: &mut pb::WriteRecord| {
        (write.version, write.confidentiality) = (2, pb::Confidentiality::Restricted.into());
    };
    assert_eq!(w.write(A, 1, amend), Outcome::Applied);
    assert_eq!(w.ground(&doctor, first_version()), Ground::ConsentDenies, "it was filed too low");
    assert_eq!(w.write(A, 1, |write| write.version = 3), Outcome::Applied);
    assert_eq!(w.ground(&doctor, first_version()), Ground::Consent, "which was a mistake");
}

/// The first version of record 1.
pub(super) fn first_version() -> pb::RequestAccess {
    let records = vec![pb::VersionRef { record_id: id(1), version: 1 }];
    pb::RequestAccess { records, ..read(1) }
}
