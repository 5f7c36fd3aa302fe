//! Attachments: which of them an action names, in what order, and what each
//! must be. Everyone who makes, checks, stores, sends or archives attachments
//! asks [`Action::commitments`]; a new action says there what it attaches, or it
//! does not compile. A new [`Slot`] does not compile before each of them knows
//! what to do with it.

use bytes::Bytes;

use super::{
    Action, AddWraps, AddedWrap, EmergencyAction, PatientAction, PatientLookups, PetitionAction, PutPatientSalt,
    Rewrap, VersionRef, WrapRef, WriteRecord,
};
use crate::error::{FieldError, fixed};
use crate::hash::{Hash, sha256};
use crate::ids::{EmergencyId, KeyId, PatientPseudonym, PetitionId, RecordId};
use crate::limits::{
    DESCRIPTOR_BYTES_MAX, EMERGENCY_TEXT_BYTES_MAX, LOOKUP_BYTES, PETITION_TEXT_BYTES_MAX, WRAP_BYTES_MAX,
};
use crate::pb;
use crate::pb::attachment_ref::Kind;
use crate::record::Descriptor;

/// What an attachment is, and so where it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The encrypted content of a version of a record.
    Payload {
        /// The record.
        record: RecordId,
        /// Its version.
        version: u32,
    },
    /// The search tags of a version of a record.
    Descriptor {
        /// The record.
        record: RecordId,
        /// Its version.
        version: u32,
    },
    /// The key of a version of a record, wrapped for a recipient.
    Wrap {
        /// The record.
        record: RecordId,
        /// Its version.
        version: u32,
        /// The recipient's key.
        recipient: KeyId,
    },
    /// A blinded identifier of a patient.
    Lookup {
        /// The patient.
        patient: PatientPseudonym,
        /// The SHA-256 by which the patient's row commits to it.
        hash: Hash,
    },
    /// The salt of a patient's labels, wrapped for a key.
    SaltWrap {
        /// The patient.
        patient: PatientPseudonym,
        /// The SHA-256 by which the row of the salt commits to it.
        hash: Hash,
    },
    /// The reason of an emergency in words.
    EmergencyText {
        /// The emergency.
        emergency: EmergencyId,
    },
    /// The text of a petition.
    PetitionText {
        /// The petition.
        petition: PetitionId,
    },
    /// The answer to a petition.
    PetitionAnswer {
        /// The petition.
        petition: PetitionId,
    },
}

impl From<&Slot> for pb::AttachmentRef {
    fn from(slot: &Slot) -> Self {
        let of_version = |kind: Kind, record: &RecordId, version: u32| Self {
            kind: kind.into(),
            record_id: Bytes::copy_from_slice(&record.0),
            version,
            ..Self::default()
        };
        let of_petition = |kind: Kind, petition: &PetitionId| Self {
            kind: kind.into(),
            petition_id: Bytes::copy_from_slice(&petition.0),
            ..Self::default()
        };
        let of_patient = |kind: Kind, patient: &PatientPseudonym, hash: &Hash| Self {
            kind: kind.into(),
            patient: Bytes::copy_from_slice(&patient.0),
            lookup_sha256: hash.to_bytes(),
            ..Self::default()
        };
        match slot {
            Slot::PetitionText { petition } => of_petition(Kind::PetitionText, petition),
            Slot::PetitionAnswer { petition } => of_petition(Kind::PetitionAnswer, petition),
            Slot::Payload { record, version } => of_version(Kind::Payload, record, *version),
            Slot::Descriptor { record, version } => of_version(Kind::Descriptor, record, *version),
            Slot::Wrap { record, version, recipient } => {
                Self { recipient_key_id: recipient.to_bytes(), ..of_version(Kind::Wrap, record, *version) }
            }
            Slot::Lookup { patient, hash } => of_patient(Kind::Lookup, patient, hash),
            Slot::SaltWrap { patient, hash } => of_patient(Kind::SaltWrap, patient, hash),
            Slot::EmergencyText { emergency } => Self {
                kind: Kind::EmergencyText.into(),
                emergency_id: Bytes::copy_from_slice(&emergency.0),
                ..Self::default()
            },
        }
    }
}

impl TryFrom<&pb::AttachmentRef> for Slot {
    type Error = FieldError;

    fn try_from(m: &pb::AttachmentRef) -> Result<Self, FieldError> {
        let (record, version) = (|| RecordId::parse("record_id", &m.record_id), m.version);
        let patient = || PatientPseudonym::parse("patient", &m.patient);
        let hash = || fixed("lookup_sha256", &m.lookup_sha256).map(Hash::from_bytes);
        match m.kind() {
            Kind::Payload => Ok(Self::Payload { record: record()?, version }),
            Kind::Descriptor => Ok(Self::Descriptor { record: record()?, version }),
            Kind::Wrap => {
                let recipient = KeyId::from_bytes(fixed("recipient_key_id", &m.recipient_key_id)?);
                Ok(Self::Wrap { record: record()?, version, recipient })
            }
            Kind::Lookup => Ok(Self::Lookup { patient: patient()?, hash: hash()? }),
            Kind::SaltWrap => Ok(Self::SaltWrap { patient: patient()?, hash: hash()? }),
            Kind::EmergencyText => {
                Ok(Self::EmergencyText { emergency: EmergencyId::parse("emergency_id", &m.emergency_id)? })
            }
            Kind::PetitionText => {
                Ok(Self::PetitionText { petition: PetitionId::parse("petition_id", &m.petition_id)? })
            }
            Kind::PetitionAnswer => {
                Ok(Self::PetitionAnswer { petition: PetitionId::parse("petition_id", &m.petition_id)? })
            }
            Kind::Unspecified => Err(FieldError::malformed("kind", "is not a known kind of attachment")),
        }
    }
}

/// Bytes that an attachment may have. None has 0: that stands for one that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// So many.
    Exactly(u32),
    /// So many or less.
    AtMost(usize),
}

/// What an action says of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment {
    /// What it is.
    pub slot: Slot,
    /// SHA-256 of its bytes.
    pub hash: Hash,
    /// Its size.
    pub size: Size,
}

/// An attachment of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// What an action says of it.
    pub commitment: Commitment,
    /// Its content; empty if it is gone, in a transaction of a block.
    pub bytes: Bytes,
}

impl Commitment {
    /// Checks an attachment's content, which must be there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, bytes: &[u8]) -> Result<(), &'static str> {
        let sized = match self.size {
            Size::Exactly(size) => bytes.len() == size as usize,
            Size::AtMost(max) => (1..=max).contains(&bytes.len()),
        };
        if !sized {
            return Err("does not have the size that the action names");
        }
        if sha256(&[bytes]) != *self.hash.as_bytes() {
            return Err("does not have the SHA-256 that the action names");
        }
        match self.slot {
            Slot::Descriptor { .. } => Descriptor::decode(bytes).map(|_| ()),
            Slot::Payload { .. }
            | Slot::Wrap { .. }
            | Slot::Lookup { .. }
            | Slot::SaltWrap { .. }
            | Slot::EmergencyText { .. }
            | Slot::PetitionText { .. }
            | Slot::PetitionAnswer { .. } => Ok(()),
        }
    }
}

impl Action {
    /// Its attachments, in the order in which a transaction holds them.
    #[must_use]
    pub fn commitments(&self) -> Vec<Commitment> {
        match self {
            Self::WriteRecord(write) => write.commitments(),
            Self::Patient(PatientAction::PutSalt(salt)) => salt.commitments(),
            Self::Patient(action) => action.lookups().map(PatientLookups::commitments).unwrap_or_default(),
            Self::AddWraps(add) => add.commitments(),
            Self::Emergency(action) => action.text().into_iter().collect(),
            Self::Petition(action) => action.text().into_iter().collect(),
            Self::Enroll(_)
            | Self::AssignUnit(_)
            | Self::PublishRevocations(_)
            | Self::SetCustodyKey(_)
            | Self::Custody(_)
            | Self::RetractRecord(_)
            | Self::ConfirmRetraction(_)
            | Self::Consent(_)
            | Self::RequestAccess(_)
            | Self::Disclosure(_)
            | Self::Stake(_)
            | Self::Node(_)
            | Self::Governance(_) => Vec::new(),
        }
    }
}

impl WriteRecord {
    /// The payload, then the descriptor if there is one, then the wraps.
    fn commitments(&self) -> Vec<Commitment> {
        let (record, version) = (self.record_id, self.version);
        let payload = Commitment {
            slot: Slot::Payload { record, version },
            hash: self.payload_hash,
            size: Size::Exactly(self.payload_size),
        };
        let wraps = self.wraps.iter().map(|wrap| Commitment {
            slot: Slot::Wrap { record, version, recipient: wrap.recipient },
            hash: wrap.wrap_hash,
            size: Size::AtMost(WRAP_BYTES_MAX),
        });
        let descriptor = self.descriptor_hash.map(|hash| Commitment {
            slot: Slot::Descriptor { record, version },
            hash,
            size: Size::AtMost(DESCRIPTOR_BYTES_MAX),
        });
        std::iter::once(payload).chain(descriptor).chain(wraps).collect()
    }
}

impl AddWraps {
    /// The readers' wraps, then those for custody keys.
    fn commitments(&self) -> Vec<Commitment> {
        let rewraps = self.rewraps.iter().filter_map(Rewrap::commitment);
        self.wraps.iter().map(AddedWrap::commitment).chain(rewraps).collect()
    }
}

impl Rewrap {
    fn commitment(&self) -> Option<Commitment> {
        let VersionRef { record, version } = self.version;
        let slot = Slot::Wrap { record, version, recipient: self.recipient };
        self.wrap_hash.map(|hash| Commitment { slot, hash, size: Size::AtMost(WRAP_BYTES_MAX) })
    }
}

impl AddedWrap {
    fn commitment(&self) -> Commitment {
        let VersionRef { record, version } = self.version;
        let slot = Slot::Wrap { record, version, recipient: self.recipient };
        Commitment { slot, hash: self.wrap_hash, size: Size::AtMost(WRAP_BYTES_MAX) }
    }
}

impl EmergencyAction {
    /// The reason in words.
    fn text(&self) -> Option<Commitment> {
        let Self::Declare(declared) = self else { return None };
        let slot = Slot::EmergencyText { emergency: declared.id };
        declared.text.map(|hash| Commitment { slot, hash, size: Size::AtMost(EMERGENCY_TEXT_BYTES_MAX) })
    }
}

impl PetitionAction {
    /// The text of a petition, or of an answer.
    fn text(&self) -> Option<Commitment> {
        let (slot, hash) = match self {
            Self::Open(opened) => (Slot::PetitionText { petition: opened.id }, opened.text),
            Self::Answer(answer) => (Slot::PetitionAnswer { petition: answer.id }, answer.text),
        };
        hash.map(|hash| Commitment { slot, hash, size: Size::AtMost(PETITION_TEXT_BYTES_MAX) })
    }
}

impl PutPatientSalt {
    fn commitments(&self) -> Vec<Commitment> {
        let patient = self.patient;
        let commitment = |wrap: &WrapRef| {
            let slot = Slot::SaltWrap { patient, hash: wrap.wrap_hash };
            Commitment { slot, hash: wrap.wrap_hash, size: Size::AtMost(WRAP_BYTES_MAX) }
        };
        self.wraps.iter().map(commitment).collect()
    }
}

impl PatientLookups {
    fn commitments(&self) -> Vec<Commitment> {
        let patient = self.patient;
        let commitment = |hash: &Hash| Commitment {
            slot: Slot::Lookup { patient, hash: *hash },
            hash: *hash,
            size: Size::Exactly(LOOKUP_BYTES as u32),
        };
        self.lookups.iter().map(commitment).collect()
    }
}

/// Whether attachments may have been erased since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Erasure {
    /// No: each must be there.
    Impossible,
    /// Yes: an empty one stands for each that is gone.
    Possible,
}

/// The attachments of actions, all of them gone.
pub(super) fn absent(actions: &[Action]) -> Vec<Attachment> {
    let commitments = actions.iter().flat_map(Action::commitments);
    commitments.map(|commitment| Attachment { commitment, bytes: Bytes::new() }).collect()
}

/// Gives attachments their contents, each of which must be what its action says.
pub(super) fn fill(attachments: &mut [Attachment], contents: &[Bytes], erasure: Erasure) -> Result<(), FieldError> {
    if contents.len() < attachments.len() {
        return Err(FieldError::missing("transaction.attachments"));
    }
    if contents.len() > attachments.len() {
        return Err(FieldError::malformed("transaction.attachments", "holds more than the actions name"));
    }
    for (i, (attachment, bytes)) in attachments.iter_mut().zip(contents).enumerate() {
        if erasure == Erasure::Impossible || !bytes.is_empty() {
            let check = attachment.commitment.check(bytes);
            check.map_err(|why| FieldError::malformed(format!("transaction.attachments[{i}]"), why))?;
        }
        attachment.bytes = bytes.clone();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
