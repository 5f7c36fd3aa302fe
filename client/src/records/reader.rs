//! Reading records: fetch, check every commitment, unwrap, decrypt.
//!
//! Commitments come from the same answer as the payload, so they catch damage
//! and mistakes; that the ledger says so is shown by receipts and archives.
//! That a payload belongs to this record and version on this ledger, however,
//! is proven by its encryption.

use bytes::Bytes;
use consilium_grpc::records_service_client::RecordsServiceClient;
use consilium_proto::envelope::{EnvelopeContext, KeyWrap, open_payload, unwrap_key};
use consilium_proto::error::fixed;
use consilium_proto::hash::sha256;
use consilium_proto::ids::{PatientPseudonym, RecordId, SearchTag};
use consilium_proto::limits::ANSWER_BYTES_MAX;
use consilium_proto::pb;
use futures::stream::{self, Stream};
use prost::Message;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use crate::client::Client;
use crate::error::ClientError;

/// Records asked for at once.
const PAGE_SIZE: u32 = 500;

/// A version of a record as read.
pub struct Opened {
    /// What the ledger says of it.
    pub record: pb::RecordVersion,
    /// The document, byte for byte; `None` for a retraction.
    pub plaintext: Option<Zeroizing<Vec<u8>>>,
    /// Height of the answering node's state.
    pub height: u64,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened(version {} of a {})", self.record.version, self.record.kind)
    }
}

/// What to look for. Conditions are joined by AND; a node wants at least one
/// of patient, member and tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryFilter {
    /// Whose records.
    pub patient: Option<PatientPseudonym>,
    /// Resource type.
    pub kind: Option<String>,
    /// Author's SPIFFE id.
    pub author: Option<String>,
    /// Author's member.
    pub author_member: Option<String>,
    /// Block time of the newest version, milliseconds, inclusive.
    pub from_ms: Option<u64>,
    /// Block time, milliseconds, exclusive.
    pub to_ms: Option<u64>,
    /// A search tag.
    pub tag: Option<SearchTag>,
}

impl QueryFilter {
    fn request(&self, page_token: Bytes) -> pb::QueryRecordsRequest {
        pb::QueryRecordsRequest {
            patient: self.patient.map(|p| Bytes::copy_from_slice(&p.0)).unwrap_or_default(),
            kind: self.kind.clone().unwrap_or_default(),
            author: self.author.clone().unwrap_or_default(),
            author_member: self.author_member.clone().unwrap_or_default(),
            from_ms: self.from_ms.unwrap_or(0),
            to_ms: self.to_ms.unwrap_or(0),
            tag: self.tag.map(|t| Bytes::copy_from_slice(&t.0)).unwrap_or_default(),
            page_size: PAGE_SIZE,
            page_token,
            read: None,
        }
    }
}

/// Reads records as this identity.
#[derive(Debug, Clone)]
pub struct RecordReader {
    client: Client,
}

impl RecordReader {
    /// A reader.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Fetches and decrypts a version; `None` is the newest.
    ///
    /// # Errors
    /// NOT_FOUND also for what may not be read; a missing key; an answer that
    /// contradicts the question or its own commitments.
    pub async fn get(&self, record_id: RecordId, version: Option<u32>) -> Result<Opened, ClientError> {
        let answer = self.fetch(record_id, version).await?;
        let record = checked_record(record_id, version, answer.record.as_ref())?;
        if record.retraction {
            return Ok(Opened { record, plaintext: None, height: answer.height });
        }
        let client = self.client.clone();
        let (payload, wraps, about) = (answer.payload, answer.wraps, record.clone());
        let opened = tokio::task::spawn_blocking(move || open(&client, record_id, &about, &payload, &wraps)).await;
        let plaintext = opened.map_err(|_| ClientError::Usage("decryption was interrupted".into()))??;
        Ok(Opened { record, plaintext: Some(plaintext), height: answer.height })
    }

    async fn fetch(&self, record_id: RecordId, version: Option<u32>) -> Result<pb::GetRecordResponse, ClientError> {
        let request = pb::GetRecordRequest {
            record_id: Bytes::copy_from_slice(&record_id.0),
            version: version.unwrap_or(0),
            read: None,
        };
        self.client
            .read(|channel| {
                let request = request.clone();
                async move { service(channel).get_record(request).await }
            })
            .await
    }

    /// All versions, oldest first, with their chain of hashes checked.
    ///
    /// # Errors
    /// NOT_FOUND also for what may not be read; a history that contradicts itself.
    pub async fn history(&self, record_id: RecordId) -> Result<Vec<pb::RecordVersion>, ClientError> {
        let request = pb::GetRecordHistoryRequest { record_id: Bytes::copy_from_slice(&record_id.0), read: None };
        let answer = self
            .client
            .read(|channel| {
                let request = request.clone();
                async move { service(channel).get_record_history(request).await }
            })
            .await?;
        check_history(record_id, &answer.versions)?;
        Ok(answer.versions)
    }

    /// The newest version's description, without its payload.
    ///
    /// # Errors
    /// As [`Self::history`].
    pub async fn current(&self, record_id: RecordId) -> Result<pb::RecordVersion, ClientError> {
        let mut versions = self.history(record_id).await?;
        versions.pop().ok_or_else(|| ClientError::contradiction("the record has no versions"))
    }

    /// Newest versions of the records that match, oldest record first, page
    /// by page as they are consumed.
    pub fn query(&self, filter: QueryFilter) -> impl Stream<Item = Result<pb::RecordVersion, ClientError>> + Send {
        let first = Page { reader: self.clone(), filter, token: Some(Bytes::new()), left: Vec::new().into_iter() };
        stream::try_unfold(first, |mut page| async move {
            loop {
                if let Some(record) = page.left.next() {
                    return Ok(Some((record, page)));
                }
                let Some(token) = page.token.take() else { return Ok(None) };
                page.load(token).await?;
            }
        })
    }
}

struct Page {
    reader: RecordReader,
    filter: QueryFilter,
    /// Of the next page; `None` after the last.
    token: Option<Bytes>,
    left: std::vec::IntoIter<pb::RecordVersion>,
}

impl Page {
    async fn load(&mut self, token: Bytes) -> Result<(), ClientError> {
        let request = self.filter.request(token.clone());
        let answer = self
            .reader
            .client
            .read(|channel| {
                let request = request.clone();
                async move { service(channel).query_records(request).await }
            })
            .await?;
        if !answer.next_page_token.is_empty() {
            if answer.next_page_token == token {
                return Err(ClientError::contradiction("the node answers the same page for ever"));
            }
            self.token = Some(answer.next_page_token);
        }
        self.left = answer.records.into_iter();
        Ok(())
    }
}

fn service(channel: Channel) -> RecordsServiceClient<Channel> {
    RecordsServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

fn checked_record(
    record_id: RecordId,
    version: Option<u32>,
    record: Option<&pb::RecordVersion>,
) -> Result<pb::RecordVersion, ClientError> {
    let record = record.ok_or_else(|| ClientError::contradiction("the answer has no record"))?;
    if record.record_id != record_id.0[..] || version.is_some_and(|v| v != record.version) {
        return Err(ClientError::contradiction("the answer is about another record or version"));
    }
    Ok(record.clone())
}

fn open(
    client: &Client,
    record_id: RecordId,
    record: &pb::RecordVersion,
    payload: &Bytes,
    wraps: &[pb::KeyWrap],
) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    if sha256(&[payload]) != fixed::<32>("record.payload_sha256", &record.payload_sha256)? {
        return Err(ClientError::contradiction("the payload does not have the hash that the record names"));
    }
    let private = client.identity().encryption_key().ok_or(ClientError::Setting { setting: "encryption_key" })?;
    let own = client.identity().encryption_key_id().ok_or(ClientError::Setting { setting: "encryption_key" })?;
    let is_own = |id: &Bytes| id[..] == own.as_bytes()[..];
    let wrap = wraps.iter().find(|w| is_own(&w.recipient_key_id));
    let wrap = wrap.ok_or_else(|| ClientError::Usage("the record is not encrypted for this identity's key".into()))?;
    let committed = record.wraps.iter().find(|w| is_own(&w.recipient_key_id)).map(|w| &w.wrap_sha256);
    if committed.is_none_or(|hash| hash[..] != sha256(&[&wrap.wrap])[..]) {
        return Err(ClientError::contradiction("the key wrap does not have the hash that the record names"));
    }
    let context = EnvelopeContext {
        ledger_id: *client.genesis().ledger_id.as_bytes(),
        record_id: record_id.0,
        version: record.version,
    };
    let key = unwrap_key(&KeyWrap::decode(&wrap.wrap)?, private, &context)?;
    Ok(open_payload(&key, &context, payload)?)
}

/// Checks a whole history: versions from 1 without gaps, of one record, each
/// naming the hash of the one before.
///
/// # Errors
/// [`ClientError::Verification`].
pub fn check_history(record_id: RecordId, versions: &[pb::RecordVersion]) -> Result<(), ClientError> {
    let mut previous = Bytes::new();
    for (expected, version) in (1u32..).zip(versions) {
        if version.record_id != record_id.0[..] || version.version != expected {
            return Err(ClientError::contradiction(format!("the history does not continue with version {expected}")));
        }
        if version.previous_sha256 != previous {
            return Err(ClientError::contradiction(format!("version {expected} does not follow the one before it")));
        }
        // Canonical by contract (state.proto), so encoding again gives the stored bytes.
        previous = Bytes::copy_from_slice(&sha256(&[&version.encode_to_vec()]));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
