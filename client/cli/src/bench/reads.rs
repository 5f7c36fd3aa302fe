//! Reading: records that were written before the timing, proven and decrypted as by every caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use consilium_client::records::{Access, Draft, RecordDraft, RecordReader, RecordWriter};
use consilium_client::{Client, ClientError};
use consilium_grpc::records_service_client::RecordsServiceClient;
use consilium_proto::ids::{PatientPseudonym, RecordId};
use consilium_proto::pb;
use consilium_proto::transaction::VersionRef;
use prost::Message;

/// Records that are written in one transaction.
const BATCH: usize = 64;

/// What is read: the records of a patient at a time.
pub(super) struct Library {
    clients: Vec<Client>,
    shelves: Vec<Shelf>,
    /// Each shelf is read once; otherwise in turn.
    once: bool,
    next: AtomicUsize,
}

/// Of one patient.
struct Shelf {
    patient: PatientPseudonym,
    records: Vec<VersionRef>,
}

/// What to write for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stock {
    /// Patients.
    pub(super) shelves: usize,
    /// Records of each, read at once.
    pub(super) records: usize,
    /// Bytes of plaintext of each.
    pub(super) payload_bytes: usize,
    /// Whether each is read once only.
    pub(super) once: bool,
}

impl Library {
    /// Writes the records as one identity, to be read by others of its member: each of the clients
    /// has connections of its own.
    pub(super) async fn write(writer: Client, clients: Vec<Client>, stock: Stock) -> Result<Self, ClientError> {
        let patients: Vec<_> = (0..stock.shelves).map(|_| PatientPseudonym(rand::random())).collect();
        let draft = |patient: PatientPseudonym| {
            Draft::new(RecordDraft {
                kind: "Observation".into(),
                patient,
                confidentiality: pb::Confidentiality::Normal,
                tags: Vec::new(),
                labels: Default::default(),
                plaintext: (0..stock.payload_bytes).map(|_| rand::random()).collect::<Vec<u8>>().into(),
            })
        };
        let owners: Vec<_> = patients.iter().flat_map(|patient| std::iter::repeat_n(*patient, stock.records)).collect();
        let writer = RecordWriter::new(writer).await?;
        let mut written = Vec::with_capacity(owners.len());
        for batch in owners.chunks(BATCH) {
            let drafts = batch.iter().copied().map(draft).collect();
            let done = writer.write(drafts, pb::WaitFor::Certified).await?;
            written.extend(done.into_iter().flat_map(|(_, ids)| ids));
        }
        let newest = |record: &RecordId| VersionRef { record: *record, version: 0 };
        let shelves = patients.into_iter().zip(written.chunks(stock.records.max(1)));
        let shelves = shelves.map(|(patient, ids)| Shelf { patient, records: ids.iter().map(newest).collect() });
        Ok(Self { clients, shelves: shelves.collect(), once: stock.once, next: AtomicUsize::new(0) })
    }

    pub(super) fn connections(&self) -> usize {
        self.clients.len()
    }

    fn next(&self) -> Option<&Shelf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match self.once {
            true => self.shelves.get(number),
            false => self.shelves.get(number % self.shelves.len().max(1)),
        }
    }

    /// Bytes of one answer, and how many of them prove it.
    pub(super) async fn answer_bytes(&self) -> Result<(usize, usize), ClientError> {
        let Some((client, shelf)) = self.clients.first().zip(self.shelves.first()) else {
            return Ok((0, 0));
        };
        let request = pb::RequestAccess {
            patient: shelf.patient.0.to_vec().into(),
            purpose: pb::PurposeOfUse::Treat.into(),
            kind: pb::AccessKind::Read.into(),
            records: shelf.records.iter().map(Into::into).collect(),
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

/// Reads one shelf after the other.
pub(super) struct Reads {
    library: Arc<Library>,
    reader: RecordReader,
}

impl Reads {
    pub(super) fn new(library: &Arc<Library>, number: usize) -> Self {
        let client = library.clients[number % library.clients.len()].clone();
        let reader = RecordReader::with(client, Access::of(pb::PurposeOfUse::Treat));
        Self { library: Arc::clone(library), reader }
    }

    /// A shelf of which all was opened, or the reason why it was not.
    pub(super) async fn once(&mut self) -> Result<(), String> {
        let shelf = self.library.next().ok_or("NOTHING_LEFT")?;
        match self.reader.read(shelf.patient, &shelf.records).await {
            Ok(opened) if opened.len() == shelf.records.len() && opened.iter().all(|o| o.plaintext.is_some()) => Ok(()),
            Ok(_) => Err("NO_PLAINTEXT".to_owned()),
            Err(ClientError::Status { reason, .. }) if !reason.is_empty() => Err(reason),
            Err(error) => Err(error.to_string()),
        }
    }
}
