//! Records sealed by hand, with keys that a test knows, so that it can look
//! for them where they must not be. Independent of the SDK's own writer.

use bytes::Bytes;
use consilium_client::Client;
use consilium_proto::envelope::{ContentKey, EnvelopeContext, seal_payload, wrap_key};
use consilium_proto::hash::sha256;
use consilium_proto::ids::{PatientPseudonym, RecordId};
use consilium_proto::keys::EncryptionPublicKey;
use consilium_proto::pb;
use consilium_proto::transaction::encryption_key_id;

/// A sealed version of a record, ready to be signed.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The record.
    pub record_id: RecordId,
    /// What goes into the body.
    pub write: pb::WriteRecord,
    /// Payload, then wraps: no search tags.
    pub attachments: Vec<Bytes>,
}

/// Sixteen random bytes.
#[must_use]
pub fn random_id() -> RecordId {
    RecordId(rand::random())
}

/// The same pseudonym for the same patient, who is not registered.
#[must_use]
pub fn pseudonym(patient: &str) -> PatientPseudonym {
    let mut id = [0; 16];
    id.copy_from_slice(&sha256(&[patient.as_bytes()])[..16]);
    PatientPseudonym(id)
}

/// A new Observation about a patient, readable by its author.
///
/// # Errors
/// If the client lacks keys.
pub fn record(client: &Client, patient: &str, plaintext: &[u8]) -> anyhow::Result<Sealed> {
    let own = client.identity().encryption_key().ok_or_else(|| anyhow::anyhow!("no encryption key"))?.public_key();
    seal_with(client, random_id(), 1, patient, plaintext, &ContentKey::generate()?, &[own])
}

/// The same, certified on the ledger already.
///
/// # Errors
/// If the client lacks keys, or the ledger refuses it.
pub async fn stored(client: &Client, patient: &str, plaintext: &[u8]) -> anyhow::Result<Sealed> {
    let sealed = record(client, patient, plaintext)?;
    client.submit(sealed.sign(client)?, pb::WaitFor::Certified).await?.into_applied()?;
    Ok(sealed)
}

/// A version of a record with everything chosen by the test.
///
/// # Errors
/// If the client lacks keys.
pub fn seal_with(
    client: &Client,
    record_id: RecordId,
    version: u32,
    patient: &str,
    plaintext: &[u8],
    key: &ContentKey,
    recipients: &[EncryptionPublicKey],
) -> anyhow::Result<Sealed> {
    let ledger_id = *client.genesis().ledger_id.as_bytes();
    let context = EnvelopeContext { ledger_id, record_id: record_id.0, version };
    let payload = Bytes::from(seal_payload(key, &context, plaintext)?);
    let mut attachments = vec![payload.clone()];
    let mut wraps = Vec::new();
    for recipient in recipients {
        let wrap = Bytes::from(wrap_key(key, recipient, &context)?.encode());
        wraps.push(pb::KeyWrapRef {
            recipient_key_id: encryption_key_id(recipient).to_bytes(),
            wrap_sha256: Bytes::copy_from_slice(&sha256(&[&wrap])),
        });
        attachments.push(wrap);
    }
    let write = pb::WriteRecord {
        record_id: Bytes::copy_from_slice(&record_id.0),
        version,
        patient: Bytes::copy_from_slice(&pseudonym(patient).0),
        kind: "Observation".into(),
        confidentiality: pb::Confidentiality::Normal.into(),
        payload_sha256: Bytes::copy_from_slice(&sha256(&[&payload])),
        payload_size: u32::try_from(payload.len())?,
        descriptor_sha256: Bytes::new(),
        wraps,
        policy_tags: Vec::new(),
    };
    Ok(Sealed { record_id, write, attachments })
}

impl Sealed {
    /// Whose it is.
    #[must_use]
    pub fn patient(&self) -> PatientPseudonym {
        let mut id = [0; 16];
        id.copy_from_slice(&self.write.patient);
        PatientPseudonym(id)
    }

    /// The action.
    #[must_use]
    pub fn action(&self) -> pb::Action {
        pb::Action { action: Some(pb::action::Action::WriteRecord(self.write.clone())) }
    }

    /// A transaction of this record alone.
    ///
    /// # Errors
    /// If a field is wrong.
    pub fn sign(&self, client: &Client) -> anyhow::Result<pb::SignedTransaction> {
        Ok(client.sign(vec![self.action()], self.attachments.clone())?)
    }
}
