//! Patients as they are found: look-ups, attachments that hold a blinded identifier under a
//! salt. A patient's row commits to each by its SHA-256, and after an erasure nothing leads
//! from an identifier to the pseudonym, which is random: not even for whoever has the search
//! key. Never a part of what is hashed into the ledger.

mod salt;

use bytes::Bytes;
use prost::Message;

use crate::error::{FieldError, fixed};
use crate::hash::{Hash, sha256};
use crate::header::Header;
use crate::ids::{Height, PatientPseudonym, SearchTag};
use crate::pb;
use crate::random::{RandomUnavailable, random_array};
use crate::state::keys;
use crate::state_tree::{StateProof, verify_state_proof};

pub use salt::{PatientSalt, members_shown_to};

const SALT_LEN: usize = 16;

/// A blinded identifier of a patient, and its salt. Encoded as the salt and the tag, 16 bytes
/// each.
#[derive(Clone, PartialEq, Eq)]
pub struct Lookup {
    salt: [u8; SALT_LEN],
    tag: SearchTag,
}

impl Lookup {
    /// Of a tag, under a new salt.
    ///
    /// # Errors
    /// If the randomness of the operating system fails.
    pub fn new(tag: SearchTag) -> Result<Self, RandomUnavailable> {
        Ok(Self { salt: random_array()?, tag })
    }

    /// Reads it back.
    ///
    /// # Errors
    /// If it has another length.
    pub fn decode(bytes: &[u8]) -> Result<Self, FieldError> {
        let bytes: [u8; 2 * SALT_LEN] = fixed("lookup", bytes)?;
        let ([salt, tag], _) = bytes.as_chunks::<SALT_LEN>() else {
            return Err(FieldError::malformed("lookup", "has another length"));
        };
        Ok(Self { salt: *salt, tag: SearchTag(*tag) })
    }

    /// See the type.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        [self.salt, self.tag.0].concat().into()
    }

    /// What a patient's row commits to it by.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::from_bytes(sha256(&[&self.salt, &self.tag.0]))
    }

    /// The blinded identifier.
    #[must_use]
    pub fn tag(&self) -> SearchTag {
        self.tag
    }
}

/// The tag is about a patient.
impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lookup([redacted])")
    }
}

/// A patient to whom a tag leads, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedPatient {
    /// The pseudonym.
    pub patient: PatientPseudonym,
    /// The tag that leads to it.
    pub tag: SearchTag,
    /// The member that says so.
    pub by: String,
    /// The block since which it says so.
    pub since: Height,
}

impl ResolvedPatient {
    /// Checks what a node found against a header which the caller knows to be final.
    ///
    /// # Errors
    /// What is wrong with it; then nothing of it is to be believed.
    pub fn verify(found: &pb::FoundPatient, header: &Header) -> Result<Self, FieldError> {
        let patient = PatientPseudonym::parse("patient", &found.patient)?;
        let proof = StateProof::decode(&found.state_proof)
            .map_err(|_| FieldError::malformed("state_proof", "is not a state proof"))?;
        verify_state_proof(&header.state_root, &keys::patient(&patient), Some(&found.state), &proof)
            .map_err(|_| FieldError::malformed("state_proof", "does not prove the patient's row"))?;
        let state = pb::PatientState::decode(found.state.clone())
            .map_err(|_| FieldError::malformed("state", "is not a patient"))?;
        let lookup = Lookup::decode(&found.lookup)?;
        let hash = lookup.hash();
        let said = state.lookups.into_iter().find(|said| said.sha256 == hash.as_bytes()[..]);
        let said = said.ok_or_else(|| FieldError::malformed("lookup", "is none of the patient's"))?;
        Ok(Self { patient, tag: lookup.tag, by: said.member, since: Height(said.height) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lookups_are_salted_and_come_back() {
        let made = Lookup::new(SearchTag([7; 16])).unwrap();
        assert_eq!(Lookup::decode(&made.encode()), Ok(made.clone()));
        assert_eq!((made.tag(), made.encode().len()), (SearchTag([7; 16]), crate::limits::LOOKUP_BYTES));
        assert_eq!(made.hash(), Hash::of(&[&made.encode()]));
        assert_ne!(Lookup::new(SearchTag([7; 16])).unwrap().hash(), made.hash());
        assert!(Lookup::decode(&[0; 31]).is_err() && Lookup::decode(&[0; 33]).is_err());
    }
}
