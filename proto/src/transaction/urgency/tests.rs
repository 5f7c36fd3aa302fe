use super::*;
use crate::consent::Period;
use crate::hash::Hash;
use crate::ids::{ConsentId, EmergencyId, Fingerprint, LedgerId, PatientPseudonym, TimeMs, TransactionId};
use crate::pb::{AccessKind, EmergencyReason, PatientRelation};
use crate::transaction::{
    AcceptPatient, AddWraps, DeclareEmergency, PatientPair, PutConsent, RequestAccess, TransactionHead,
};

const PATIENT: PatientPseudonym = PatientPseudonym([1; 16]);

fn urgency(actions: Vec<Action>) -> Option<Urgency> {
    let head = TransactionHead {
        ledger_id: LedgerId::from_bytes([0; 32]),
        author: Fingerprint::from_bytes([0; 32]),
        valid_until: TimeMs(0),
        action_count: 1,
        actions_root: Hash::from_bytes([0; 32]),
    };
    let id = TransactionId::from_bytes([0; 32]);
    let (encoded, attachments) = (Vec::new(), Vec::new());
    Transaction { id, head, signature: [0; 64], nonce: [0; 16], encoded, actions, attachments }.urgency()
}

fn request(purpose: PurposeOfUse) -> Action {
    Action::RequestAccess(RequestAccess {
        patient: PATIENT,
        purpose,
        kind: AccessKind::Query,
        records: Vec::new(),
        query: None,
        emergency: None,
        acting: None,
        project: None,
        sealed_by: None,
        late: None,
    })
}

fn declaration() -> Action {
    let (id, reason) = (EmergencyId([1; 16]), EmergencyReason::Danger);
    let emergency = DeclareEmergency { id, patient: PATIENT, reason, text: None, acting: None };
    Action::Emergency(EmergencyAction::Declare(emergency))
}

fn acceptance(withdrawn: bool) -> Action {
    Action::Patient(PatientAction::Accept(AcceptPatient {
        patient: PATIENT,
        identity: "spiffe://a.example/patient/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".parse().expect("a SPIFFE id"),
        relation: PatientRelation::Self_,
        may_read: true,
        may_consent: true,
        to: TimeMs(0),
        evidence: Hash::from_bytes([0; 32]),
        withdrawn,
        scope: None,
    }))
}

fn consent(base: ConsentBase) -> Action {
    let grant = Grant { base, period: Period::default(), rules: Vec::new() };
    let id = ConsentId([1; 16]);
    Action::Consent(ConsentAction::Put(PutConsent { id, version: 2, patient: PATIENT, grant, document: None }))
}

fn revocation() -> Action {
    Action::Consent(ConsentAction::Revoke(ConsentId([1; 16])))
}

fn answer(emergency: bool) -> Action {
    let (wraps, dropped, rewraps, owed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    Action::AddWraps(AddWraps { wraps, dropped, rewraps, owed, member: None, emergency })
}

fn ballot() -> Action {
    Action::Governance(GovernanceAction::Ballot { proposal: 1, approve: true })
}

#[test]
fn what_goes_first_and_why() {
    let cases = [
        (ballot(), Some(Urgency::Protection)),
        (Action::PublishRevocations(bytes::Bytes::new()), Some(Urgency::Protection)),
        (revocation(), Some(Urgency::Withdrawal)),
        (acceptance(true), Some(Urgency::Withdrawal)),
        (consent(ConsentBase::Deny), Some(Urgency::Withdrawal)),
        (declaration(), Some(Urgency::Emergency)),
        (request(PurposeOfUse::Btg), Some(Urgency::Emergency)),
        (acceptance(false), None),
        (consent(ConsentBase::BasicNormal), None),
        (request(PurposeOfUse::Treat), None),
        (Action::Patient(PatientAction::Unlink(PatientPair { patient: PATIENT, other: PATIENT })), None),
        (answer(true), Some(Urgency::Key)),
        (answer(false), None),
    ];
    for (action, expected) in cases {
        assert_eq!(urgency(vec![action.clone()]), expected, "{action:?}");
    }
}

#[test]
fn what_does_something_else_besides_does_not_go_first() {
    let emergency = urgency(vec![declaration(), request(PurposeOfUse::Btg)]);
    assert_eq!(emergency, Some(Urgency::Emergency), "declared and read for in one");
    assert_eq!(urgency(vec![revocation(), acceptance(true)]), Some(Urgency::Withdrawal));
    assert_eq!(urgency(vec![declaration(), request(PurposeOfUse::Treat)]), None);
    assert_eq!(urgency(vec![request(PurposeOfUse::Treat), declaration()]), None);
    assert_eq!(urgency(vec![revocation(), ballot()]), None, "whose room it takes would be anybody's guess");
    assert_eq!(urgency(Vec::new()), None);
}
