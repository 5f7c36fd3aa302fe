//! Records: encrypted here, wrapped for their recipients, written as few
//! transactions, and read back.
//!
//! Steps of a write: [`RecordDraft`] (what to store, blinded) → [`seal`]
//! (encrypt and wrap; pure, for blocking threads) → [`pack`] (which records
//! share a transaction) → [`RecordWriter`] (sign and submit). Steps of a read:
//! [`RecordReader`] fetches, checks every commitment, unwraps and decrypts.
//!
//! Plaintext and content keys never leave this process. A content key encrypts
//! one version of one record only. Recipients' keys are believed only with a
//! proof against a certified header: a node that could name the recipient's
//! key could read every new record.

mod access;
mod contents;
mod disagreements;
mod draft;
pub mod import;
mod late;
mod pack;
mod reader;
mod recipient;
mod seal;
mod wraps;
mod writer;

pub use access::{Access, KEY_PATIENCE};
pub use consilium_proto::limits::TAGS_MAX;
pub use disagreements::Statement;
pub use draft::{RecordDraft, TAG_NAMES, tag_of};
pub use late::LateRequest;
pub use pack::{PackLimits, Size, pack};
pub use reader::{Described, History, Opened, QueryFilter, RecordReader, Shown};
use recipient::patient_keys_for;
pub use recipient::{Recipient, RecipientRefusal, custodian, custodians, patient_keys, readers_for_patient, recipient};
pub use seal::{SealedRecord, seal, size_of};
pub use wraps::AddedWrap;
pub use writer::{Draft, LabelsBefore, PatientKeys, Prepared, RecordWriter, Sealer, Target};
pub use writer::{confirm_misfiled, retract};

use consilium_proto::ids::{PatientPseudonym, RecordId};

/// A fresh random record id.
#[must_use]
pub fn new_record_id() -> RecordId {
    RecordId(rand::random())
}

/// A fresh random pseudonym: for a new patient, or for a record about none.
#[must_use]
pub fn new_pseudonym() -> PatientPseudonym {
    PatientPseudonym(rand::random())
}
