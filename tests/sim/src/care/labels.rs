//! Salts of patients' labels, what is labelled under them, and consents by label.

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_ledger::keys;
use consilium_proto::ids::{PolicyTag, SaltId};
use consilium_proto::pb::{self, ConsentBase, ConsentEffect, action::Action};
use consilium_proto::state::SaltName;

use super::patients::{deny, permit};
use super::{Care, Deed, Scene, hash_of, patient, pseudonym};
use crate::disk::LedgerStore;
use crate::fixture::{ANEW, ANNA, CUSTODIANS, EXECUTOR, Fixture, HOSPITALS, member_id, spiffe_id};

/// What is blinded under a salt stands for a sensitivity.
const CODES: [u8; 2] = [1, 2];

impl Care {
    /// A hospital puts a salt, or hands one to more people; some have no part in it, and some
    /// numbers are another one's.
    pub(super) fn put_salt(&mut self, ledger: &LedgerStore) -> Deed {
        let (member, number) = (self.any_hospital(), self.any_patient());
        let known = salts_of(ledger, member, number);
        let at = self.rng.below(known.len() as u64 + 1) as usize;
        let salt_id = known.get(at).filter(|_| self.rng.chance(920)).cloned();
        let salt_id = salt_id.unwrap_or_else(|| self.id());
        let keepers: BTreeSet<_> = (0..self.rng.range(1, 3)).map(|_| self.keeper(member)).collect();
        let (mut wraps, mut attachments) = (Vec::new(), Vec::new());
        for keeper in keepers {
            let (recipient_key_id, content) = (Fixture::key_id(&keeper).to_bytes(), self.text());
            wraps.push(pb::SaltWrap { recipient_key_id, wrap_sha256: hash_of(&content) });
            attachments.push(content);
        }
        let (role, name) = self.one_of(&[("service", "x"), ("service", "x"), ("clinician", "c")]);
        let put = pb::PutPatientSalt { patient: patient(number), salt_id, number: at as u32 + 1, wraps };
        Deed { attachments, ..Deed::new(&spiffe_id(member, role, name), Action::PutPatientSalt(put)) }
    }

    /// Mostly somebody of the hospital.
    fn keeper(&mut self, member: u64) -> String {
        match self.rng.below(20) {
            0..=7 => spiffe_id(member, "clinician", "c"),
            8..=12 => spiffe_id(member, "service", CUSTODIANS[0]),
            13..=14 => spiffe_id(member, "service", CUSTODIANS[1]),
            15..=16 => spiffe_id(1, "patient", self.one_of(&[ANNA, ANNA, EXECUTOR])),
            17 => spiffe_id(2, "patient", ANEW),
            18 => spiffe_id(HOSPITALS + 1 - member, "service", self.one_of(&CUSTODIANS)),
            _ => spiffe_id(3, "clinician", "c"),
        }
    }

    /// The first salt of the hospital that registers a patient: its name, how it is put, and its
    /// wrap.
    pub(super) fn first_salt(&mut self, number: u64) -> (Bytes, Action, Bytes) {
        let (salt_id, wrap) = (self.id(), self.text());
        let recipient_key_id = Fixture::key_id(&spiffe_id(1, "service", CUSTODIANS[0])).to_bytes();
        let wraps = vec![pb::SaltWrap { recipient_key_id, wrap_sha256: hash_of(&wrap) }];
        let put = pb::PutPatientSalt { patient: patient(number), salt_id: salt_id.clone(), number: 1, wraps };
        (salt_id, Action::PutPatientSalt(put), wrap)
    }

    /// Labels of a record under one of these salts, seldom under one that there is not.
    pub(super) fn labels(&mut self, salts: &[Bytes]) -> Vec<Bytes> {
        let salt = if self.rng.chance(30) { Some(self.id()) } else { self.rng.pick(salts).cloned() };
        let Some(salt) = salt.filter(|_| self.rng.chance(600)) else { return Vec::new() };
        self.some_codes().into_iter().filter_map(|code| tag(&salt, code)).collect()
    }

    fn some_codes(&mut self) -> Vec<u8> {
        match self.rng.below(4) {
            0 => CODES.to_vec(),
            _ => vec![self.one_of(&CODES)],
        }
    }

    /// A consent by label, of the patient, who knows the salts of some hospitals, or on paper: what
    /// another member may read, or what is kept of all that it may.
    pub(super) fn consent_by_label(&mut self, scene: &Scene<'_>) -> Deed {
        let (by, knows) = self.one_of(&[
            ((1, "patient", ANNA), &[1, 2][..]),
            ((1, "patient", ANNA), &[1]),
            ((1, "patient", ANNA), &[2]),
            ((2, "patient", ANEW), &[2]),
            ((1, "service", "x"), &[1]),
            ((2, "service", "x"), &[2]),
        ]);
        let number = self.any_patient();
        let tags: Vec<_> = knows.iter().flat_map(|member| self.known_tags(scene.ledger, *member, number)).collect();
        let rules = match (self.rng.below(8), tags.is_empty()) {
            // Others open little to the third member.
            (0..=2, false) => vec![pb::ConsentRule { tags, ..permit(self.one_of(&[2, 3, 3])) }],
            (3..=6, false) => vec![permit(2), pb::ConsentRule { tags, ..self.denial() }],
            _ => vec![permit(2), pb::ConsentRule { labelled: true, ..self.denial() }],
        };
        self.put_consent((by, number), ConsentBase::BreakGlassOnly, rules, scene.now_ms)
    }

    /// Of some codes, under salts of a hospital, of which some came later or are not told.
    fn known_tags(&mut self, ledger: &LedgerStore, member: u64, number: u64) -> Vec<Bytes> {
        let mut salts = salts_of(ledger, member, number);
        salts.retain(|_| self.rng.chance(500));
        let codes = self.some_codes();
        salts.iter().flat_map(|salt| codes.iter().filter_map(|code| tag(salt, *code))).collect()
    }

    /// Of everybody, of the second hospital, or of the first one's own clinician.
    fn denial(&mut self) -> pb::ConsentRule {
        match self.rng.below(8) {
            0 => pb::ConsentRule { grantees: Vec::new(), ..deny(&spiffe_id(1, "clinician", "c")) },
            1..=5 => pb::ConsentRule { effect: ConsentEffect::Deny.into(), ..permit(2) },
            _ => deny(&spiffe_id(1, "clinician", "c")),
        }
    }
}

/// What a hospital has put for a patient, in order.
pub(super) fn salts_of(ledger: &LedgerStore, member: u64, number: u64) -> Vec<Bytes> {
    let place = keys::patient_salt(&SaltName::new(pseudonym(number), &member_id(member)));
    let state: pb::PatientSaltState = ledger.message(&place).unwrap_or_default();
    state.salts.into_iter().map(|salt| salt.salt_id).collect()
}

fn tag(salt: &Bytes, code: u8) -> Option<Bytes> {
    let salt = SaltId::parse("salt_id", salt).ok()?;
    Some(Bytes::copy_from_slice(&PolicyTag::new(salt, [code; 16]).0))
}
