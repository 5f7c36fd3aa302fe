//! Patients, who speaks for them, and what they consent to.

use bytes::Bytes;
use consilium_proto::pb::{self, ConsentBase, ConsentEffect, PatientRelation, action::Action};

use super::{Care, Deed, Person, Scene, hash_of, of, patient};
use crate::fixture::{ANEW, ANNA, EXECUTOR, member_id, spiffe_id};

/// How long a care relation is attested for at most.
const CARE_MS: u64 = 3_600_000;

impl Care {
    /// A patient is registered, under the care of the first hospital, which puts a salt, writes
    /// something, and often files a consent.
    pub(super) fn register(&mut self, scene: &Scene<'_>, number: u64) -> Deed {
        let (salt, tag) = ([number as u8; 16], [0x10 + number as u8; 16]);
        let lookup: Bytes = [salt, tag].concat().into();
        let lookups_sha256 = vec![hash_of(&lookup)];
        let register = pb::RegisterPatient { patient: patient(number), lookups_sha256 };
        let mut deed = Deed::new(&spiffe_id(1, "service", "x"), Action::RegisterPatient(register));
        deed.attachments.push(lookup);
        deed.actions.push(acceptance(number, false));
        deed.actions.push(care(number, scene.now_ms + CARE_MS));
        let (salt_id, put, wrap) = self.first_salt(number);
        deed.actions.push(put);
        deed.attachments.push(wrap);
        let (record, mut contents) = self.record((scene, 1, number), &[salt_id]);
        deed.actions.push(record);
        deed.attachments.append(&mut contents);
        if self.rng.chance(500) {
            deed.actions.append(&mut self.consent_by(((1, "service", "x"), number), scene.now_ms).actions);
        }
        deed
    }

    /// The patient's own, or on paper of one of the hospitals; some end soon.
    pub(super) fn consent(&mut self, now_ms: u64) -> Deed {
        let by = self.one_of(&[(1, "patient", ANNA), (2, "patient", ANEW), (1, "service", "x"), (2, "service", "x")]);
        let number = self.any_patient();
        self.consent_by((by, number), now_ms)
    }

    fn consent_by(&mut self, (by, number): (Person, u64), now_ms: u64) -> Deed {
        let clinician = deny(&spiffe_id(1, "clinician", "c"));
        let (base, rules) = match self.rng.below(20) {
            0..=13 => (ConsentBase::BreakGlassOnly, vec![permit(2)]),
            14 => (ConsentBase::BreakGlassOnly, vec![permit(3)]),
            15..=17 => (ConsentBase::BreakGlassOnly, vec![permit(2), clinician]),
            18 => (ConsentBase::BreakGlassOnly, vec![clinician]),
            _ => (ConsentBase::Deny, Vec::new()),
        };
        self.put_consent((by, number), base, rules, now_ms)
    }

    pub(super) fn put_consent(
        &mut self,
        (by, number): (Person, u64),
        base: ConsentBase,
        rules: Vec<pb::ConsentRule>,
        now_ms: u64,
    ) -> Deed {
        let by = of(by);
        let to_ms = if self.rng.chance(300) { now_ms + self.rng.range(300, 3_000) } else { 0 };
        let grant = Some(pb::ConsentGrant { base: base.into(), rules, from_ms: 0, to_ms });
        let (consent_id, document_sha256) = (self.id(), vec![9; 32].into());
        self.consents.push((consent_id.clone(), by.clone()));
        let put = pb::PutConsent { consent_id, version: 1, patient: patient(number), grant, document_sha256 };
        Deed::new(&by, Action::PutConsent(put))
    }

    pub(super) fn revoke(&mut self) -> Deed {
        let Some((consent_id, by)) = self.rng.pick(&self.consents).cloned() else { return self.ask() };
        Deed::new(&by, Action::RevokeConsent(pb::RevokeConsent { consent_id }))
    }

    /// A hospital accepts an identity of the patient, or an executor's, or takes that back.
    pub(super) fn accept(&mut self) -> Deed {
        let by = spiffe_id(self.any_hospital(), "service", "x");
        let (number, withdrawn) = (self.any_patient(), self.rng.chance(200));
        let mut action = acceptance(number, withdrawn);
        if let Action::AcceptPatient(accept) = &mut action {
            // What is written here is of other kinds: who speaks for these alone reads nothing.
            let kinds = vec!["Immunization".to_owned()];
            let scope = (number == 1).then(|| pb::RepresentativeScope { kinds, ..Default::default() });
            match self.rng.below(10) {
                0..=1 => {
                    accept.identity = spiffe_id(1, "patient", EXECUTOR);
                    (accept.relation, accept.scope) = (PatientRelation::Executor.into(), scope);
                }
                2..=3 => accept.identity = spiffe_id(2, "patient", ANEW),
                4 => {
                    accept.identity = spiffe_id(2, "patient", ANEW);
                    (accept.relation, accept.scope) = (PatientRelation::Proxy.into(), scope);
                }
                _ => {}
            }
        }
        Deed::new(&by, action)
    }

    pub(super) fn attest_care(&mut self, now_ms: u64) -> Deed {
        let by = spiffe_id(self.any_hospital(), "service", "x");
        let until = if self.rng.chance(300) { now_ms.saturating_sub(1) } else { now_ms + CARE_MS };
        let number = self.any_patient();
        Deed::new(&by, care(number, until))
    }

    /// A hospital says that a patient has died, or that this was an error.
    pub(super) fn attest_death(&mut self) -> Deed {
        let by = spiffe_id(self.any_hospital(), "service", "x");
        let (number, withdrawn) = (self.any_patient(), self.rng.chance(500));
        let evidence_sha256 = vec![3; 32].into();
        let death = pb::AttestDeath { patient: patient(number), evidence_sha256, withdrawn };
        Deed::new(&by, Action::AttestDeath(death))
    }

    /// A hospital says that two pseudonyms are one person's, or not any more.
    pub(super) fn link(&mut self) -> Deed {
        let by = spiffe_id(self.any_hospital(), "service", "x");
        let one = self.any_patient();
        let other = one % super::PATIENTS + 1;
        let (one, other) = (patient(one), patient(other));
        let action = match self.rng.chance(600) {
            true => Action::LinkPatients(pb::LinkPatients { patient: one, other, evidence_sha256: vec![4; 32].into() }),
            false => Action::UnlinkPatients(pb::UnlinkPatients { patient: one, other }),
        };
        Deed::new(&by, action)
    }
}

/// Of the patient's identity.
fn acceptance(number: u64, withdrawn: bool) -> Action {
    Action::AcceptPatient(pb::AcceptPatient {
        patient: patient(number),
        identity: spiffe_id(1, "patient", ANNA),
        relation: PatientRelation::Self_.into(),
        may_read: true,
        may_consent: true,
        to_ms: 0,
        evidence_sha256: vec![7; 32].into(),
        withdrawn,
        scope: None,
    })
}

fn care(number: u64, to_ms: u64) -> Action {
    Action::AttestCare(pb::AttestCare { patient: patient(number), to_ms, evidence_sha256: vec![2; 32].into() })
}

pub(super) fn permit(member: u64) -> pb::ConsentRule {
    rule(ConsentEffect::Permit, pb::grantee::Grantee::Member(member_id(member)))
}

pub(super) fn deny(reader: &str) -> pb::ConsentRule {
    rule(ConsentEffect::Deny, pb::grantee::Grantee::Identity(reader.to_owned()))
}

fn rule(effect: ConsentEffect, grantee: pb::grantee::Grantee) -> pb::ConsentRule {
    let grantees = vec![pb::Grantee { grantee: Some(grantee) }];
    pb::ConsentRule { effect: effect.into(), grantees, ..pb::ConsentRule::default() }
}
