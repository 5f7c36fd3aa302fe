//! Reading records: what is said of those of one's own member or of one that it keeps, and, by requests for access
//! ([`super::access`]), the contents of any.
//!
//! What is said of a version (author, kind, patient, time, retraction, whether it is the newest)
//! is believed only with proof ([`consilium_proto::record`]). That a payload belongs to this
//! record and version on this ledger is proven by its encryption, and that the author meant
//! this payload by the hash that the author signed. That a query has left nothing
//! out, nobody proves.

mod page;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use consilium_grpc::records_service_client::RecordsServiceClient;
use consilium_proto::error::FieldError;
use consilium_proto::hash::{Hash, sha256};
use consilium_proto::header::Header;
use consilium_proto::ids::{Fingerprint, PatientPseudonym, RecordId, SearchTag};
use consilium_proto::limits::ANSWER_BYTES_MAX;
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb::{self, AccessKind, PurposeOfUse};
use consilium_proto::record::{Descriptor, GoodSignatures, KnownSigner, RecordProof};
use consilium_proto::state::keys;
use consilium_proto::transaction::check_kind;
use consilium_proto::when::utc_ms;
use futures::future::{Either, ready};
use futures::{Stream, stream};
use prost::Message;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use self::page::{Page, pages};
use super::access::{Access, KEY_PATIENCE};
use super::disagreements::Statement;
use crate::answer::Proven;
use crate::client::Client;
use crate::error::{ClientError, Unverified};
use crate::false_answer::Answered;
use crate::governance::at_least;
use crate::paging::{Pages, whole};

/// Records asked for at once.
const PAGE_SIZE: u32 = 500;

/// A version of a record as read.
pub struct Opened {
    /// The version, and what became of its record.
    pub record: Proven<Shown>,
    /// The document, byte for byte; `None` for a retraction.
    pub plaintext: Option<Zeroizing<Vec<u8>>>,
    /// What the patient states against this version, the oldest first.
    pub disagreements: Vec<Statement>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened(version {} of a {})", self.record.version.version, self.record.version.kind)
    }
}

/// Versions of a record that were shown, and what became of it: of a whole history, all that
/// this identity may see; else one.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Oldest first, at least one.
    pub versions: Vec<pb::RecordVersion>,
    /// The number of the newest version: there are as many.
    pub newest: u32,
    /// Whether the newest is a retraction.
    pub retracted: bool,
    /// Statements of the patient that it disagrees, with this or other versions.
    pub disagreements: Vec<pb::Disagreement>,
    /// The member whose people wrote the first version.
    pub member: String,
}

impl History {
    /// A page of a history behind those before it; what became of the record, the last one says.
    pub(super) fn join(before: Option<Self>, page: Option<Self>) -> Result<Option<Self>, ClientError> {
        let (mut all, page) = match (before, page) {
            (Some(all), Some(page)) => (all, page),
            (before, page) => return Ok(page.or(before)),
        };
        let last = all.versions.last().map_or(0, |version| version.version);
        if page.versions.first().is_some_and(|first| first.version <= last) || page.newest < all.newest {
            return Err(ClientError::contradiction("a page of a history goes back behind the one before it"));
        }
        all.versions.extend(page.versions);
        Ok(Some(Self { versions: all.versions, ..page }))
    }
}

/// One version of a record that was shown, and what became of the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The version.
    pub version: pb::RecordVersion,
    /// The number of the newest version.
    pub newest: u32,
    /// Whether the newest is a retraction.
    pub retracted: bool,
    /// As in [`History`].
    pub disagreements: Vec<pb::Disagreement>,
    /// As in [`History`].
    pub member: String,
}

impl Shown {
    pub(super) fn of(version: &pb::RecordVersion, history: History) -> Self {
        let History { versions: _, newest, retracted, disagreements, member } = history;
        Self { version: version.clone(), newest, retracted, disagreements, member }
    }
}

/// A version and its search tags.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// The version.
    pub version: pb::RecordVersion,
    /// Ascending.
    pub tags: Vec<SearchTag>,
}

/// What to look for. Conditions are joined by AND; a node wants at least one
/// of patient, member and tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryFilter {
    /// Whose records.
    pub patient: Option<PatientPseudonym>,
    /// Resource type.
    pub kind: Option<String>,
    /// SPIFFE id of the newest version's author.
    pub author: Option<String>,
    /// The member whose people wrote the first version.
    pub author_member: Option<String>,
    /// Block time of the newest version, milliseconds, inclusive.
    pub from_ms: Option<u64>,
    /// Block time, milliseconds, exclusive.
    pub to_ms: Option<u64>,
    /// A search tag.
    pub tag: Option<SearchTag>,
}

impl QueryFilter {
    /// Refuses conditions that nothing can meet, or that would be taken for none: an empty answer
    /// to them would look like one to what was meant.
    ///
    /// # Errors
    /// [`ClientError::Usage`].
    pub fn check(&self) -> Result<(), ClientError> {
        let usage = |what: String| Err(ClientError::Usage(what));
        if let Some(Err(error)) = self.kind.as_deref().map(check_kind) {
            return usage(error.to_string());
        }
        if let Some(Err(error)) = self.author.as_deref().map(str::parse::<SpiffeId>) {
            return usage(format!("author: {error}"));
        }
        if let Some(Err(error)) = self.author_member.as_deref().map(str::parse::<MemberId>) {
            return usage(format!("author's member: {error}"));
        }
        match (self.from_ms.unwrap_or(0), self.to_ms) {
            // In messages it stands for no end at all.
            (_, Some(0)) => usage("the time before which is asked is 1970 itself: nothing is older".to_owned()),
            (from, Some(to)) if from >= to => {
                usage(format!("from {} to before {} there is no time", utc_ms(from), utc_ms(to)))
            }
            (_, Some(_) | None) => Ok(()),
        }
    }

    /// Whether a record with these tags is what is looked for.
    fn matches(&self, Shown { version: record, member, .. }: &Shown, tags: &[SearchTag]) -> bool {
        self.patient.is_none_or(|patient| record.patient == patient.0[..])
            && self.kind.as_ref().is_none_or(|kind| *kind == record.kind)
            && self.author.as_ref().is_none_or(|author| *author == record.author)
            && self.author_member.as_deref().is_none_or(|wanted| member == wanted)
            && self.from_ms.is_none_or(|from| record.time_ms >= from)
            && self.to_ms.is_none_or(|to| record.time_ms < to)
            && self.tag.is_none_or(|tag| tags.contains(&tag))
    }

    /// As a request for access commits to it.
    fn conditions(&self) -> pb::RecordQuery {
        pb::RecordQuery {
            kind: self.kind.clone().unwrap_or_default(),
            author: self.author.clone().unwrap_or_default(),
            author_member: self.author_member.clone().unwrap_or_default(),
            from_ms: self.from_ms.unwrap_or(0),
            to_ms: self.to_ms.unwrap_or(0),
            tag: self.tag.map(|t| Bytes::copy_from_slice(&t.0)).unwrap_or_default(),
        }
    }

    fn request(&self, page_token: Bytes) -> pb::QueryRecordsRequest {
        let pb::RecordQuery { kind, author, author_member, from_ms, to_ms, tag } = self.conditions();
        let patient = self.patient.map(|p| Bytes::copy_from_slice(&p.0)).unwrap_or_default();
        let (page_size, read) = (PAGE_SIZE, None);
        pb::QueryRecordsRequest {
            patient,
            kind,
            author,
            author_member,
            from_ms,
            to_ms,
            tag,
            page_size,
            page_token,
            read,
        }
    }
}

/// Reads records as this identity.
#[derive(Debug, Clone)]
pub struct RecordReader {
    client: Client,
    access: Access,
    patience: Duration,
}

impl RecordReader {
    /// A reader for treatment.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self::with(client, Access::of(PurposeOfUse::Treat))
    }

    /// A reader for a purpose.
    #[must_use]
    pub fn with(client: Client, access: Access) -> Self {
        Self { client, access, patience: KEY_PATIENCE }
    }

    /// The same, waiting so long for a custodian's key wrap.
    #[must_use]
    pub fn waiting(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same, asking another node first; `None` if there is no other.
    pub(super) fn elsewhere(&self) -> Option<Self> {
        Some(Self { client: self.client.elsewhere()?, access: self.access.clone(), patience: self.patience })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Fetches and decrypts a version of a record of one's own member, or of one that has left and
    /// whose records it keeps: the patient need not be known; `None` is the newest. For any other record there is [`Self::get_of`].
    ///
    /// # Errors
    /// NOT_FOUND also for what may not be read; a missing key; an answer that
    /// contradicts the question or its own commitments.
    pub async fn get(&self, record_id: RecordId, version: Option<u32>) -> Result<Opened, ClientError> {
        let said = self.said(record_id, version).await?;
        let patient = PatientPseudonym::parse("patient", &said.version.patient)?;
        self.get_of(patient, record_id, version).await
    }

    /// What is said of a version of a record of one's own member; `None` is the newest.
    ///
    /// # Errors
    /// As [`Self::get`], but for keys.
    pub async fn said(&self, record_id: RecordId, version: Option<u32>) -> Result<Proven<Shown>, ClientError> {
        let (answered, header) = self.client.recent(|| self.fetch(record_id, version)).await?;
        let said = self.check_version(record_id, version, &answered.answer, &header).await;
        Ok(Proven::under(&header, self.client.judged(&answered, said)?))
    }

    /// The version that was asked for, without what it is about.
    async fn check_version(
        &self,
        record_id: RecordId,
        version: Option<u32>,
        answer: &pb::GetRecordResponse,
        header: &Header,
    ) -> Result<Shown, ClientError> {
        let record = answer.record.as_ref().ok_or_else(|| FieldError::missing("record"))?;
        let shown = self.prove(record_id, std::slice::from_ref(record), answer.proof.as_ref(), header).await?;
        let (answered, newest) = (record.version, shown.newest);
        if answered != version.unwrap_or(newest) {
            let why = format!("version {answered} was answered, the newest one is {newest}");
            return Err(ClientError::contradiction(why));
        }
        Ok(Shown::of(record, shown))
    }

    /// The newest version's description and search tags, without its payload.
    ///
    /// # Errors
    /// As [`Self::get`], but for keys; also if the tags are gone.
    pub async fn described(&self, record_id: RecordId) -> Result<Proven<Described>, ClientError> {
        let (answered, header) = self.client.recent(|| self.fetch(record_id, None)).await?;
        let described = self.describe(record_id, &answered.answer, &header).await;
        Ok(Proven::under(&header, self.client.judged(&answered, described)?))
    }

    async fn describe(
        &self,
        record_id: RecordId,
        answer: &pb::GetRecordResponse,
        header: &Header,
    ) -> Result<Described, ClientError> {
        let Shown { version, .. } = self.check_version(record_id, None, answer, header).await?;
        Ok(Described { tags: tags_of(&version, &answer.descriptor)?, version })
    }

    /// Versions of a record, if they are proven under a header that is final.
    pub(super) async fn prove(
        &self,
        record_id: RecordId,
        shown: &[pb::RecordVersion],
        proof: Option<&pb::RecordProof>,
        header: &Header,
    ) -> Result<History, ClientError> {
        self.prove_among(record_id, shown, proof, (header, &mut GoodSignatures::default())).await
    }

    /// The same of one of several records.
    pub(super) async fn prove_among(
        &self,
        record_id: RecordId,
        shown: &[pb::RecordVersion],
        proof: Option<&pb::RecordProof>,
        (header, good): (&Header, &mut GoodSignatures),
    ) -> Result<History, ClientError> {
        let proof = RecordProof::try_from(proof.ok_or_else(|| FieldError::missing("proof"))?)?;
        let mut signers = BTreeMap::new();
        for key in proof.signers() {
            signers.insert(key, self.client.signer(&key, header.height).await?);
        }
        let keepers = self.keepers(&proof, (&signers, header)).await?;
        let row = proof.verify_among(&record_id, shown, header, (|key| signers.get(key), &keepers, good));
        let row = row.map_err(|why| Unverified::Record { id: record_id, why })?;
        let pb::RecordState { version: newest, retracted, disagreements, member, .. } = row;
        Ok(History { versions: shown.to_vec(), newest, retracted, disagreements, member })
    }

    /// Who has kept the records of the member that a proof names, if others than its people have signed.
    async fn keepers(
        &self,
        proof: &RecordProof,
        (signers, header): (&BTreeMap<Fingerprint, KnownSigner>, &Header),
    ) -> Result<Vec<pb::CustodyKeeper>, ClientError> {
        let row = pb::RecordState::decode(proof.state.clone()).unwrap_or_default();
        if signers.values().all(|signer| signer.id.member().as_str() == row.member) {
            return Ok(Vec::new());
        }
        let (custody, _) = self.client.proven_at(&keys::custody(&row.member), Some(at_least(header.height))).await?;
        let custody = custody.map(pb::CustodyState::decode).transpose();
        let custody = custody.map_err(|_| ClientError::contradiction("a row of the state is malformed"))?;
        Ok(custody.unwrap_or_default().keepers)
    }

    async fn fetch(
        &self,
        record_id: RecordId,
        version: Option<u32>,
    ) -> Result<(Answered<pb::GetRecordRequest, pb::GetRecordResponse>, Header), ClientError> {
        let request = pb::GetRecordRequest {
            record_id: Bytes::copy_from_slice(&record_id.0),
            version: version.unwrap_or(0),
            read: None,
        };
        let ask = |channel, request| async move { service(channel).get_record(request).await };
        let answered = self.client.ask("GetRecord", request, ask).await?;
        let header = self.client.final_header(answered.answer.header.as_ref()).await;
        let header = self.client.judged(&answered, header)?;
        Ok((answered, header))
    }

    /// All versions that this identity may see, oldest first.
    ///
    /// # Errors
    /// NOT_FOUND also for what may not be read; a history that is not proven.
    pub async fn history(&self, record_id: RecordId) -> Result<Proven<History>, ClientError> {
        let (header, history) = self.shown(record_id).await?;
        Ok(Proven::under(&header, history))
    }

    /// The newest version's description, without its payload.
    ///
    /// # Errors
    /// As [`Self::history`]; also if the newest version was not shown.
    pub async fn current(&self, record_id: RecordId) -> Result<Proven<pb::RecordVersion>, ClientError> {
        let (header, history) = self.shown(record_id).await?;
        Ok(Proven::under(&header, newest(&history)?.clone()))
    }

    /// The same, and the member whose record it is.
    ///
    /// # Errors
    /// As [`Self::current`].
    pub(super) async fn current_of(&self, record_id: RecordId) -> Result<(pb::RecordVersion, MemberId), ClientError> {
        let (_, history) = self.shown(record_id).await?;
        Ok((newest(&history)?.clone(), MemberId::parse("member", &history.member)?))
    }

    async fn shown(&self, record_id: RecordId) -> Result<(Header, History), ClientError> {
        whole(|| self.all_shown(record_id)).await
    }

    async fn all_shown(&self, record_id: RecordId) -> Result<(Header, History), ClientError> {
        let (mut pages, mut history) = (Pages::default(), None);
        loop {
            let (answered, header) = self.client.recent(|| self.fetch_history(record_id, pages.token())).await?;
            let answer = &answered.answer;
            let more = pages.follow(&answer.next_page_token, answer.versions.len());
            let page = self.prove(record_id, &answer.versions, answer.proof.as_ref(), &header).await;
            let joined = page.and_then(|page| Ok((History::join(history, Some(page))?, more?)));
            let (joined, more) = self.client.judged(&answered, joined)?;
            history = joined;
            if !more {
                return Ok((header, history.ok_or_else(ClientError::not_found)?));
            }
        }
    }

    pub(super) async fn fetch_history(
        &self,
        record_id: RecordId,
        page_token: Bytes,
    ) -> Result<(Answered<pb::GetRecordHistoryRequest, pb::GetRecordHistoryResponse>, Header), ClientError> {
        let request =
            pb::GetRecordHistoryRequest { record_id: Bytes::copy_from_slice(&record_id.0), read: None, page_token };
        let ask = |channel, request| async move { service(channel).get_record_history(request).await };
        let answered = self.client.ask("GetRecordHistory", request, ask).await?;
        let header = self.client.final_header(answered.answer.header.as_ref()).await;
        let header = self.client.judged(&answered, header)?;
        Ok((answered, header))
    }

    async fn fetch_page(
        &self,
        request: &pb::QueryRecordsRequest,
    ) -> Result<(Answered<pb::QueryRecordsRequest, pb::QueryRecordsResponse>, Header), ClientError> {
        let ask = |channel, request| async move { service(channel).query_records(request).await };
        let answered = self.client.ask("QueryRecords", request.clone(), ask).await?;
        let header = self.client.final_header(answered.answer.header.as_ref()).await;
        let header = self.client.judged(&answered, header)?;
        Ok((answered, header))
    }

    /// Newest versions of the records that match, oldest record first, page
    /// by page as they are consumed. Each one is proven and matches; that there are no others
    /// is the node's word. Conditions that make no sense ([`QueryFilter::check`]) give one error.
    pub fn query(
        &self,
        filter: QueryFilter,
    ) -> impl Stream<Item = Result<Proven<pb::RecordVersion>, ClientError>> + Send {
        match filter.check() {
            Ok(()) => Either::Left(pages(Page::new(self, filter, None))),
            Err(refused) => Either::Right(stream::once(ready(Err(refused)))),
        }
    }

    /// As [`Self::query`], of all records of a patient that may be seen: one event in the
    /// patient's log.
    ///
    /// # Errors
    /// Conditions that make no sense ([`QueryFilter::check`]), a key that cannot sign; what else goes wrong, comes with the records.
    pub fn query_of(
        &self,
        patient: PatientPseudonym,
        filter: QueryFilter,
    ) -> Result<impl Stream<Item = Result<Proven<pb::RecordVersion>, ClientError>> + Send + use<>, ClientError> {
        filter.check()?;
        let filter = QueryFilter { patient: Some(patient), ..filter };
        let (query, query_salt) = (filter.conditions().encode_to_vec(), rand::random::<[u8; 16]>());
        let request = self.access.request(patient, AccessKind::Query);
        let query_sha256 = Hash::of(&[&query_salt, &query]).to_bytes();
        let request = pb::ReadRecordsRequest {
            transaction: Some(self.sign(pb::RequestAccess { query_sha256, ..request })?),
            query: query.into(),
            query_salt: Bytes::copy_from_slice(&query_salt),
            page_size: PAGE_SIZE,
            ..pb::ReadRecordsRequest::default()
        };
        Ok(pages(Page::new(self, filter, Some((patient, request)))))
    }
}

fn newest(history: &History) -> Result<&pb::RecordVersion, ClientError> {
    let last = history.versions.last().filter(|last| last.version == history.newest);
    last.ok_or_else(|| ClientError::contradiction("the newest version was not shown"))
}

pub(super) fn service(channel: Channel) -> RecordsServiceClient<Channel> {
    RecordsServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The search tags of a version that is proven, by its descriptor.
fn tags_of(version: &pb::RecordVersion, descriptor: &[u8]) -> Result<Vec<SearchTag>, ClientError> {
    if version.descriptor_sha256.is_empty() {
        return Ok(Vec::new());
    }
    if descriptor.is_empty() {
        return Err(ClientError::Usage("the record's search tags were erased".into()));
    }
    if sha256(&[descriptor])[..] != version.descriptor_sha256[..] {
        return Err(ClientError::contradiction("the descriptor does not have the hash that the record names"));
    }
    let descriptor = Descriptor::decode(descriptor).map_err(|why| FieldError::malformed("descriptor", why))?;
    Ok(descriptor.tags().to_vec())
}

#[cfg(test)]
mod tests;
