//! Salts of a patient's labels: keys that are wrapped for those who keep them as a record's content
//! key is, and under which sensitivity labels are blinded. Versions carry labels, and consents name
//! them, by these tags alone; whoever has no salt sees that two are the same.

use std::collections::BTreeSet;

use crate::consent::Custodians;
use crate::envelope::{
    ContentKey, EnvelopeContext, EnvelopeError, KeyWrap, SearchKey, blind_tag, unwrap_key, wrap_key,
};
use crate::hash::sha256;
use crate::ids::{LedgerId, PatientPseudonym, PolicyTag, SaltId, TimeMs};
use crate::keys::{EncryptionPrivateKey, EncryptionPublicKey};
use crate::names::{Role, SpiffeId};
use crate::pb::PatientState;
use crate::signing::Domain;

/// What is blinded.
const LABEL: &str = "label";
/// In the place of a record's version, which is 1 or more: so no wrap of one is one of the other.
const NO_VERSION: u32 = 0;

/// See the module.
#[derive(Clone)]
pub struct PatientSalt {
    patient: PatientPseudonym,
    key: ContentKey,
}

/// A secret.
impl std::fmt::Debug for PatientSalt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PatientSalt({})", self.id())
    }
}

impl PatientSalt {
    /// A new one.
    ///
    /// # Errors
    /// If the randomness of the operating system fails.
    pub fn generate(patient: PatientPseudonym) -> Result<Self, EnvelopeError> {
        Ok(Self { patient, key: ContentKey::generate()? })
    }

    /// By what it is known: of 32 random bytes this tells nothing.
    #[must_use]
    pub fn id(&self) -> SaltId {
        let hash = sha256(&[&Domain::PATIENT_SALT.prefix(), &self.patient.0, self.key.expose()]);
        SaltId(*hash.first_chunk().expect("a SHA-256 has more than 16 bytes"))
    }

    /// The tag of a sensitivity code of v3-ActCode, such as `PSY`.
    #[must_use]
    pub fn label(&self, code: &str) -> PolicyTag {
        let key = SearchKey::from_bytes(self.key.expose());
        PolicyTag::new(self.id(), blind_tag(&key, LABEL, code.as_bytes()))
    }

    /// Wraps it for somebody who is to keep it.
    ///
    /// # Errors
    /// If the randomness of the operating system fails.
    pub fn wrap(&self, ledger: LedgerId, keeper: &EncryptionPublicKey) -> Result<KeyWrap, EnvelopeError> {
        wrap_key(&self.key, keeper, &context(ledger, self.patient))
    }

    /// Opens a wrap of the salt of a patient that is known by `id`.
    ///
    /// # Errors
    /// If it is for another key, or of another salt.
    pub fn open(
        ledger: LedgerId,
        (patient, id): (PatientPseudonym, SaltId),
        wrap: &KeyWrap,
        private: &EncryptionPrivateKey,
    ) -> Result<Self, EnvelopeError> {
        let key = unwrap_key(wrap, private, &context(ledger, patient))?;
        let salt = Self { patient, key };
        if salt.id() == id { Ok(salt) } else { Err(EnvelopeError::Open) }
    }
}

/// The members whose salts of a patient are shown to somebody: to those who write at a member its
/// own, and to who reads for the patient those of all that have accepted it to read.
#[must_use]
pub fn members_shown_to(reader: &SpiffeId, patient: Option<&PatientState>, time: TimeMs) -> BTreeSet<String> {
    let name = reader.to_string();
    match reader.role() {
        Role::Service | Role::Clinician => BTreeSet::from([reader.member().to_string()]),
        Role::Patient => {
            let said = patient.into_iter().flat_map(|state| state.acceptances.iter().map(move |a| (state, &a.member)));
            let reads =
                said.filter(|(state, member)| Custodians::only(member).hear(state, &name, time).any(|a| a.may_read));
            reads.map(|(_, member)| member.clone()).collect()
        }
        Role::Node | Role::Admin | Role::Researcher | Role::Auditor | Role::Device => BTreeSet::new(),
    }
}

fn context(ledger: LedgerId, patient: PatientPseudonym) -> EnvelopeContext {
    EnvelopeContext { ledger_id: *ledger.as_bytes(), record_id: patient.0, version: NO_VERSION }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::KemId;

    const LEDGER: LedgerId = LedgerId::from_bytes([1; 32]);
    const PATIENT: PatientPseudonym = PatientPseudonym([2; 16]);

    #[test]
    fn a_keeper_opens_the_salt_of_this_patient_and_no_other() {
        let [own, other] = [0, 1].map(|_| EncryptionPrivateKey::generate(KemId::X25519HkdfSha256).unwrap());
        let salt = PatientSalt::generate(PATIENT).unwrap();
        let wrap = salt.wrap(LEDGER, &own.public_key()).unwrap();
        let opened = PatientSalt::open(LEDGER, (PATIENT, salt.id()), &wrap, &own).unwrap();
        assert_eq!((opened.id(), opened.label("PSY")), (salt.id(), salt.label("PSY")));
        let fails = |ledger, known, private| PatientSalt::open(ledger, known, &wrap, private).is_err();
        assert!(fails(LEDGER, (PATIENT, salt.id()), &other));
        assert!(fails(LEDGER, (PatientPseudonym([3; 16]), salt.id()), &own));
        assert!(fails(LedgerId::from_bytes([9; 32]), (PATIENT, salt.id()), &own));
        let another = PatientSalt::generate(PATIENT).unwrap();
        assert!(fails(LEDGER, (PATIENT, another.id()), &own), "a wrap of something else");
    }

    #[test]
    fn without_the_salt_a_label_is_like_any_other() {
        let of =
            |patient| PatientSalt { patient: PatientPseudonym([patient; 16]), key: ContentKey::from_bytes(&[7; 32]) };
        let salts = [of(2), PatientSalt::generate(PATIENT).unwrap(), PatientSalt::generate(PATIENT).unwrap()];
        let labels = salts.iter().flat_map(|salt| ["PSY", "HIV"].map(|code| salt.label(code)));
        let labels: std::collections::BTreeSet<_> = labels.collect();
        assert_eq!(labels.len(), 6, "each patient's, and each salt's, is another one");
        assert!(salts.iter().all(|salt| salt.label("PSY").salt() == salt.id()));
        // Nothing of the code is in it, and nothing of the key in what it is known by.
        let shown = format!("{:?}", salts[0]);
        assert_eq!(shown, format!("PatientSalt({})", salts[0].id()));
        assert_ne!(of(3).id(), salts[0].id());
    }

    #[test]
    fn id_and_labels_are_golden() {
        let salt = PatientSalt { patient: PATIENT, key: ContentKey::from_bytes(&[7; 32]) };
        assert_eq!(salt.id().to_string(), "921b1d622486781b5556b593effdc366");
        assert_eq!(salt.label("PSY").to_string(), "921b1d622486781b5556b593effdc366279fea5515dba1eacf17c9fc537b32eb");
    }
}
