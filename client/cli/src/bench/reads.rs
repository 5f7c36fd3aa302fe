//! Reading: records that were written before the timing, proven and decrypted as by every caller.

use std::sync::Arc;

use consilium_client::records::{Draft, RecordDraft, RecordReader, RecordWriter};
use consilium_client::{Client, ClientError};
use consilium_grpc::records_service_client::RecordsServiceClient;
use consilium_proto::ids::{PatientPseudonym, RecordId};
use consilium_proto::pb;
use prost::Message;

/// Records that are read in turn.
const RECORDS: usize = 256;

/// What is read.
pub(super) struct Library {
    clients: Vec<Client>,
    records: Vec<(PatientPseudonym, RecordId)>,
}

impl Library {
    /// Writes the records, for this identity alone. Each of the clients has connections of its own.
    pub(super) async fn write(clients: Vec<Client>, payload_bytes: usize) -> Result<Self, ClientError> {
        let client = clients.first().cloned().ok_or_else(|| ClientError::Usage("no client to read with".into()))?;
        let patients: Vec<_> = (0..RECORDS).map(|_| PatientPseudonym(rand::random())).collect();
        let draft = |patient: &PatientPseudonym| {
            Draft::new(RecordDraft {
                kind: "Observation".into(),
                patient: *patient,
                confidentiality: pb::Confidentiality::Normal,
                tags: Vec::new(),
                plaintext: (0..payload_bytes).map(|_| rand::random()).collect::<Vec<u8>>().into(),
            })
        };
        let writer = RecordWriter::new(client, &[]).await?;
        let written = writer.write(patients.iter().map(draft).collect(), pb::WaitFor::Certified).await?;
        let records = written.into_iter().flat_map(|(_, ids)| ids);
        Ok(Self { clients, records: patients.into_iter().zip(records).collect() })
    }

    pub(super) fn connections(&self) -> usize {
        self.clients.len()
    }

    /// Bytes of one answer, and how many of them prove it.
    pub(super) async fn answer_bytes(&self) -> Result<(usize, usize), ClientError> {
        let Some((client, (patient, record))) = self.clients.first().zip(self.records.first()) else {
            return Ok((0, 0));
        };
        let records = vec![pb::VersionRef { record_id: record.0.to_vec().into(), version: 0 }];
        let request = pb::RequestAccess {
            patient: patient.0.to_vec().into(),
            purpose: pb::PurposeOfUse::Treat.into(),
            kind: pb::AccessKind::Read.into(),
            records,
            ..pb::RequestAccess::default()
        };
        let action = pb::Action { action: Some(pb::action::Action::RequestAccess(request)) };
        let transaction = Some(client.sign(vec![action], Vec::new())?);
        let request = pb::ReadRecordsRequest { transaction, ..pb::ReadRecordsRequest::default() };
        let ask = |channel| {
            let request = request.clone();
            async move { RecordsServiceClient::new(channel).read_records(request).await }
        };
        let answer = client.read(ask).await?;
        let proofs = answer.records.iter().map(|record| record.proof.as_ref().map_or(0, Message::encoded_len));
        let proving = proofs.sum::<usize>() + answer.header.as_ref().map_or(0, Message::encoded_len);
        Ok((answer.encoded_len(), proving))
    }
}

/// Reads one record after the other.
pub(super) struct Reads {
    library: Arc<Library>,
    reader: RecordReader,
    next: usize,
}

impl Reads {
    pub(super) fn new(library: &Arc<Library>, number: usize) -> Self {
        let client = library.clients[number % library.clients.len()].clone();
        Self { library: Arc::clone(library), reader: RecordReader::new(client), next: number }
    }

    /// A record that was opened, or the reason why it was not.
    pub(super) async fn once(&mut self) -> Result<(), String> {
        let (patient, record) = self.library.records[self.next % self.library.records.len()];
        self.next += 1;
        match self.reader.get_of(patient, record, None).await {
            Ok(opened) if opened.plaintext.is_some() => Ok(()),
            Ok(_) => Err("NO_PLAINTEXT".to_owned()),
            Err(ClientError::Status { reason, .. }) if !reason.is_empty() => Err(reason),
            Err(error) => Err(error.to_string()),
        }
    }
}
