//! Versions that a custodian keeps, as a node lists them. How many there are is proven, and so is
//! how many are wrapped for a key, and which wrap the ledger has of each; which ones they are, and
//! that none is left out, is the node's word. A node that shows one that is not kept makes the rules
//! refuse its wrap, and no more.

use bytes::Bytes;
use consilium_grpc::access_service_client::AccessServiceClient;
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, KeyId, RecordId};
use consilium_proto::limits::ANSWER_BYTES_MAX;
use consilium_proto::names::MemberId;
use consilium_proto::pb::{self, read_options::Consistency};
use consilium_proto::state::{CustodyName, keys};

use super::requests::check_own_wrap;
use crate::access_log::row_message as message;
use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;

/// Versions of one answer, so that a batch of wraps is one transaction.
const PAGE_SIZE: u32 = 64;

/// Which versions are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldQuery {
    /// Whose records.
    pub member: MemberId,
    /// The key in question.
    pub key: KeyId,
    /// Those that are wrapped for it; else those that are left to be wrapped for it.
    pub wrapped: bool,
    /// Their patients, in the place of the versions; with `wrapped`.
    pub patients: bool,
    /// Where to go on; `None`: from the first record on.
    pub from: Option<pb::HeldPlace>,
    /// Wraps that are owed, each with its version; without `wrapped`.
    pub owed: bool,
    /// Ids of keys that wraps can be opened with.
    pub own_keys: Vec<Bytes>,
    /// As of this block or a later one.
    pub at_least: Height,
}

impl HeldQuery {
    /// Versions that are left to be wrapped for a key, from the first on.
    #[must_use]
    pub fn new(member: MemberId, key: KeyId, at_least: Height) -> Self {
        let (wrapped, patients, owed) = (false, false, false);
        Self { member, key, wrapped, patients, owed, from: None, own_keys: Vec::new(), at_least }
    }
}

/// How many versions there are, proven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// In custody.
    pub versions: u64,
    /// Of these, wrapped for the key in question.
    pub wrapped: u64,
    /// Requests for wraps that wait.
    pub open_requests: u64,
}

impl Counts {
    /// Versions in custody that are not wrapped for the key.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.versions.saturating_sub(self.wrapped)
    }
}

/// A part of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldPage {
    /// Maybe none, although there are more.
    pub versions: Vec<pb::HeldVersion>,
    /// In the place of versions, if patients were asked for; each once, by pseudonym ascending.
    pub patients: Vec<pb::HeldPatient>,
    /// As many as versions, if they were asked for. The node's word: the rules judge each.
    pub owed: Vec<pb::OwedWrap>,
    /// How many versions the node says it has looked at.
    pub looked_at: u64,
    /// Where to go on; `None`: that were all.
    pub next: Option<pb::HeldPlace>,
    /// At the block that was answered from.
    pub counts: Counts,
}

type HeldAnswer = Answered<pb::ListHeldVersionsRequest, pb::ListHeldVersionsResponse>;

impl Client {
    /// Versions of a member's records that are wrapped for a key, or left to be. For who keeps
    /// them; those that are wrapped also for auditors.
    ///
    /// # Errors
    /// PERMISSION_DENIED; counts that are not proven.
    pub async fn held_versions(&self, query: &HeldQuery) -> Result<HeldPage, ClientError> {
        let request = pb::ListHeldVersionsRequest {
            key_id: query.key.to_bytes(),
            wrapped: query.wrapped,
            from: query.from.clone(),
            patients: query.patients,
            owed: query.owed,
            page_size: PAGE_SIZE,
            key_ids: query.own_keys.clone(),
            read: Some(pb::ReadOptions { consistency: Some(Consistency::MinHeight(query.at_least.0)) }),
            member: query.member.to_string(),
        };
        let (answered, header) = self.recent(|| self.fetch_held(request.clone())).await?;
        let goes_on = |next: &pb::HeldPlace| query.from.as_ref().is_none_or(|from| place(next) > place(from));
        let paired = !query.owed || answered.answer.owed.len() == answered.answer.versions.len();
        let page = match (answered.answer.next.as_ref().is_none_or(goes_on), paired) {
            (true, true) => check(query.member.as_str(), query.key, &answered.answer, &header),
            (false, _) => Err(ClientError::contradiction("the node goes back to pages that it has answered")),
            (true, false) => Err(ClientError::contradiction("the list has not as many versions as wraps")),
        };
        self.judged(&answered, page)
    }

    /// How many versions are in custody, and how many are wrapped for a key. For whom
    /// [`Self::held_versions`] is.
    ///
    /// # Errors
    /// As there.
    pub async fn custody_counts(&self, member: &MemberId, key: KeyId, at_least: Height) -> Result<Counts, ClientError> {
        let end = pb::HeldPlace { sequence: u64::MAX, ..pb::HeldPlace::default() };
        let member = member.clone();
        let query = HeldQuery { from: Some(end), wrapped: true, ..HeldQuery::new(member, key, at_least) };
        Ok(self.held_versions(&query).await?.counts)
    }

    /// What a member has said of its custody, proven; `None`: nothing.
    ///
    /// # Errors
    /// If the node cannot prove it.
    pub async fn custody_of(&self, member: &MemberId) -> Result<Option<pb::CustodyState>, ClientError> {
        self.proven_row(&keys::custody(member.as_str())).await
    }

    async fn fetch_held(&self, request: pb::ListHeldVersionsRequest) -> Result<(HeldAnswer, Header), ClientError> {
        let ask = |channel, request| async move {
            let mut service = AccessServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
            service.list_held_versions(request).await
        };
        let answered = self.ask("ListHeldVersions", request, ask).await?;
        let header = self.final_header(answered.answer.header.as_ref()).await;
        let header = self.judged(&answered, header)?;
        Ok((answered, header))
    }
}

/// In the order of pages.
fn place(place: &pb::HeldPlace) -> (&[u8], u64, u32) {
    (&place.patient, place.sequence, place.version)
}

fn check(
    member: &str,
    key: KeyId,
    answer: &pb::ListHeldVersionsResponse,
    header: &Header,
) -> Result<HeldPage, ClientError> {
    let work: Option<pb::CustodyWorkState> = message(&keys::custody_work(member), answer.work.as_ref(), header)?;
    let count = keys::custody_count(&CustodyName::new(member, key));
    let count: Option<pb::CustodyCountState> = message(&count, answer.count.as_ref(), header)?;
    let work = work.unwrap_or_default();
    let wrapped = count.unwrap_or_default().versions;
    for held in &answer.versions {
        let record = RecordId::parse("record_id", &held.record_id)?;
        let wrap = held.own_wrap.clone().unwrap_or_default();
        check_own_wrap((&record, held.version), &wrap, held.committed.as_ref(), header)?;
    }
    let counts = Counts { versions: work.versions, wrapped, open_requests: work.open };
    let patients = ascending(&answer.patients)?;
    let (versions, owed) = (answer.versions.clone(), answer.owed.clone());
    Ok(HeldPage { versions, patients, owed, looked_at: answer.looked_at, next: answer.next.clone(), counts })
}

/// A node that names a patient again would be counted again, too.
fn ascending(patients: &[pb::HeldPatient]) -> Result<Vec<pb::HeldPatient>, ClientError> {
    match patients.windows(2).all(|pair| matches!(pair, [one, next] if one.patient < next.patient)) {
        true => Ok(patients.to_vec()),
        false => Err(ClientError::contradiction("the patients are not in order")),
    }
}
