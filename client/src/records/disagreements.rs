//! Statements of patients that they disagree with a version of a record. Each is sealed with the
//! version's content key, so that whoever may open the version may open it, and is lost with it.

use bytes::Bytes;
use consilium_proto::envelope::{ContentKey, EnvelopeContext, open_payload, seal_payload};
use consilium_proto::error::fixed;
use consilium_proto::hash::sha256;
use consilium_proto::ids::{PatientPseudonym, PetitionId, RecordId};
use consilium_proto::pb;
use consilium_proto::record::GoodSignatures;
use consilium_proto::transaction::VersionRef;
use zeroize::Zeroizing;

use super::access::content_key;
use super::reader::{RecordReader, Shown};
use crate::client::Client;
use crate::error::ClientError;

/// A statement of a patient against a version.
pub struct Statement {
    /// The petition that holds it.
    pub petition: PetitionId,
    /// What it says; `None` if it was erased, or nobody can open it.
    pub text: Option<Zeroizing<Vec<u8>>>,
}

/// The text is not for logs.
impl std::fmt::Debug for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Statement({})", self.petition)
    }
}

impl RecordReader {
    /// Seals a statement against a version for all who may read it. Asks for the version to get
    /// its key, which is logged as every access.
    ///
    /// # Errors
    /// As [`Self::get_of`].
    pub async fn seal_statement(
        &self,
        patient: PatientPseudonym,
        version: VersionRef,
        petition: PetitionId,
        text: &[u8],
    ) -> Result<Vec<u8>, ClientError> {
        let (answered, header) = self.ask_contents(patient, &[version]).await?;
        let released = answered.answer.records.first().ok_or_else(ClientError::not_found)?;
        let shown = self.check_released(patient, released, (&header, &mut GoodSignatures::default())).await;
        let shown = self.client().judged(&answered, shown)?;
        let id = RecordId::parse("record_id", &shown.version.record_id)?;
        if (id, shown.version.version) != (version.record, version.version) {
            return Err(ClientError::contradiction("another version was answered than was asked for"));
        }
        let wrap = self.own_wrap(id, &shown.version, released, &header)?;
        let context = EnvelopeContext {
            ledger_id: *self.client().genesis().ledger_id.as_bytes(),
            record_id: id.0,
            version: version.version,
        };
        let key = content_key(self.client(), &context, &wrap)?;
        Ok(seal_payload(&key, &context_of(self.client(), petition), text)?)
    }
}

/// No record has a version 0: the key that is derived for it opens nothing else.
fn context_of(client: &Client, petition: PetitionId) -> EnvelopeContext {
    EnvelopeContext { ledger_id: *client.genesis().ledger_id.as_bytes(), record_id: petition.0, version: 0 }
}

/// The sealed statements against a version, which are those that the record's row names.
pub(super) fn committed(shown: &Shown, released: &pb::ReleasedRecord) -> Result<Vec<(PetitionId, Bytes)>, ClientError> {
    let about: Vec<_> = shown.disagreements.iter().filter(|stated| stated.version == shown.version.version).collect();
    if about.len() != released.disagreements.len() {
        return Err(ClientError::contradiction("the record's row names more or fewer statements of the patient"));
    }
    let pairs = about.into_iter().zip(&released.disagreements);
    let checked = pairs.map(|(stated, sealed)| {
        let named: [u8; 32] = fixed("disagreements.text_sha256", &stated.text_sha256)?;
        match sealed.is_empty() || sha256(&[sealed]) == named {
            true => Ok((PetitionId::parse("disagreements.petition_id", &stated.petition_id)?, sealed.clone())),
            false => Err(ClientError::contradiction("a statement does not have the hash that the record's row names")),
        }
    });
    checked.collect()
}

/// One that does not open must not keep anybody from reading the record.
pub(super) fn open(client: &Client, key: &ContentKey, sealed: Vec<(PetitionId, Bytes)>) -> Vec<Statement> {
    let open = |petition: PetitionId, sealed: &[u8]| open_payload(key, &context_of(client, petition), sealed).ok();
    sealed.into_iter().map(|(petition, sealed)| Statement { petition, text: open(petition, &sealed) }).collect()
}
