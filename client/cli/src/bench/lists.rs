//! Listing: all records of one patient, proven to be whole and checked as by every caller.

use consilium_client::record_lists::KeptLists;
use consilium_client::records::{Draft, RecordDraft, RecordWriter};
use consilium_client::{Client, ClientError};
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::pb;

/// Records that are written in one transaction.
const BATCH: usize = 100;
/// They are listed, not read.
const PLAINTEXT: &[u8] = b"{}";

/// Writes the records of a new patient.
pub(super) async fn write(writer: Client, records: usize) -> Result<PatientPseudonym, ClientError> {
    let patient = PatientPseudonym(rand::random());
    let draft = |_| {
        Draft::new(RecordDraft {
            kind: "Observation".into(),
            patient,
            confidentiality: pb::Confidentiality::Normal,
            tags: Vec::new(),
            labels: Default::default(),
            plaintext: PLAINTEXT.to_vec().into(),
        })
    };
    let writer = RecordWriter::new(writer).await?;
    let mut left = records;
    while left > 0 {
        let batch = left.min(BATCH);
        writer.write((0..batch).map(draft).collect(), pb::WaitFor::Certified).await?;
        left -= batch;
    }
    Ok(patient)
}

/// A list that was proven to be whole, or the reason why it was not.
pub(super) async fn once(client: &Client, patient: PatientPseudonym) -> Result<(), String> {
    match client.record_lists(patient, None, &KeptLists::nothing()).await {
        Ok(lists) if lists.records().is_empty() => Err("NO_RECORDS".to_owned()),
        Ok(_) => Ok(()),
        Err(ClientError::Status { reason, .. }) if !reason.is_empty() => Err(reason),
        Err(error) => Err(error.to_string()),
    }
}
