//! What waits for a custodian, as a node lists it: each request proven against a certified header,
//! with the own wrap that the ledger commits to, and how many there are in all. A node can hide
//! none from who may see all of them, and no wrap of its own making is wrapped again.

use std::time::Duration;

use bytes::Bytes;
use consilium_proto::error::FieldError;
use consilium_proto::hash::sha256;
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, KeyId, RecordId, TimeMs};
use consilium_proto::names::MemberId;
use consilium_proto::pb;
use consilium_proto::record::RecordProof;
use consilium_proto::state::{self, StateKey, WrapName, keys};

use crate::access_log::{LogFault, at, row_message as message, service};
use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;

/// Requests that are asked for at once.
pub(crate) const PAGE_SIZE: u32 = 256;

/// Which requests are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrapQuery {
    /// Whose records.
    pub member: MemberId,
    /// Those with an emergency alone, as a deputy: how many there are of these nobody proves.
    pub as_deputy: bool,
    /// From this number on.
    pub from_number: u64,
    /// Ids of keys that wraps can be opened with; none: any of the caller's.
    pub own_keys: Vec<Bytes>,
    /// As of this block or a later one.
    pub at_least: Height,
    /// How long one is waited for where there is none, at most 30 s.
    pub wait: Duration,
}

/// Requests that wait, at most 256, by number ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct WrapPage {
    /// Each proven.
    pub requests: Vec<WrapRequest>,
    /// How many are open in all, with and without an emergency.
    pub open: u64,
    /// Of the block that was answered from.
    pub height: Height,
    /// Of that block.
    pub time: TimeMs,
}

impl WrapPage {
    /// Whether there may be more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.requests.len() >= PAGE_SIZE as usize
    }
}

/// A request for a key wrap that waits for the custodian of a member.
#[derive(Debug, Clone, PartialEq)]
pub struct WrapRequest {
    /// Its number.
    pub number: u64,
    /// Its row.
    pub state: pb::WrapRequestState,
    /// The version's key, wrapped for a key of the custodian, as the ledger has it; empty if the
    /// node has none.
    pub own_wrap: pb::KeyWrap,
}

type WrapsAnswer = Answered<pb::ListWrapRequestsRequest, pb::ListWrapRequestsResponse>;

impl Client {
    /// Requests for key wraps that wait for a member's records, from a number on. For the
    /// custodian, and for a deputy those with an emergency.
    ///
    /// # Errors
    /// PERMISSION_DENIED; what is not proven, or left out.
    pub async fn wrap_requests(&self, query: &WrapQuery) -> Result<WrapPage, ClientError> {
        let request = pb::ListWrapRequestsRequest {
            page_size: PAGE_SIZE,
            from_number: query.from_number,
            read: at(query.at_least),
            key_ids: query.own_keys.clone(),
            member: query.member.to_string(),
            wait_ms: u32::try_from(query.wait.as_millis()).unwrap_or(u32::MAX),
        };
        let (answered, header) = self.recent(|| self.fetch_wraps(request.clone())).await?;
        let page = check(query, &answered.answer, &header);
        self.judged(&answered, page)
    }

    async fn fetch_wraps(&self, request: pb::ListWrapRequestsRequest) -> Result<(WrapsAnswer, Header), ClientError> {
        let ask = |channel, request| async move { service(channel).list_wrap_requests(request).await };
        let answered = self.ask("ListWrapRequests", request, ask).await?;
        let header = self.final_header(answered.answer.header.as_ref()).await;
        let header = self.judged(&answered, header)?;
        Ok((answered, header))
    }
}

/// Requests for wraps of a member, by number ascending.
pub(crate) fn check(
    query: &WrapQuery,
    answer: &pb::ListWrapRequestsResponse,
    header: &Header,
) -> Result<WrapPage, ClientError> {
    let member = query.member.as_str();
    let count = answer.requests.len();
    if (answer.own_wraps.len(), answer.versions.len()) != (count, count) {
        return Err(ClientError::contradiction("the list has not as many wraps as requests"));
    }
    let work: Option<pb::CustodyWorkState> = message(&keys::custody_work(member), answer.work.as_ref(), header)?;
    let open = work.unwrap_or_default().open;
    let mut requests: Vec<WrapRequest> = Vec::with_capacity(count);
    for ((row, own_wrap), committed) in answer.requests.iter().zip(&answer.own_wraps).zip(&answer.versions) {
        let name = match StateKey::decode(&row.key) {
            Some(StateKey::WrapRequest(name)) if name.member == member => name,
            _ => return Err(LogFault::OtherRow(format!("wrap requests of member {member}")).into()),
        };
        let least = requests.last().map_or(query.from_number, |last| last.number.saturating_add(1));
        let state: Option<pb::WrapRequestState> = message(&row.key, Some(row), header)?;
        let state = state.filter(|_| name.number >= least);
        let state = state.ok_or_else(|| LogFault::OtherRow(state::describe(&row.key)))?;
        let record = RecordId::parse("record_id", &state.record_id)?;
        check_own_wrap((&record, state.version), own_wrap, Some(committed), header)?;
        requests.push(WrapRequest { number: name.number, state, own_wrap: own_wrap.clone() });
    }
    let page = WrapPage { requests, open, height: header.height, time: header.time };
    // From the first on and with room for more, it is all there is.
    if query.from_number == 0 && !query.as_deputy && !page.is_full() && count as u64 != open {
        return Err(ClientError::contradiction(format!("{open} requests wait, and {count} are shown")));
    }
    Ok(page)
}

/// A wrap of a version for a key of the custodian is the one that the ledger commits to: the
/// version, or a row of its own. Anybody can make another one, and who wrapped it again would lock
/// the record up for ever. None at all is what a node may say.
pub(crate) fn check_own_wrap(
    (record, number): (&RecordId, u32),
    wrap: &pb::KeyWrap,
    committed: Option<&pb::CommittedVersion>,
    header: &Header,
) -> Result<(), ClientError> {
    if wrap.wrap.is_empty() {
        return Ok(());
    }
    let key = KeyId::try_from(wrap.recipient_key_id.as_ref());
    let key = key.map_err(|_| FieldError::malformed("recipient_key_id", "is not a key's id"))?;
    let version = committed.and_then(|committed| committed.record.as_ref().zip(committed.proof.as_ref()));
    let hash = match version {
        Some((version, proof)) => {
            let proof = RecordProof::try_from(proof)?;
            let proven = proof.verify_contents(record, std::slice::from_ref(version), header);
            proven.map_err(|e| ClientError::contradiction(e.to_string()))?;
            let of_key = |of: &&pb::KeyWrapRef| of.recipient_key_id == key.as_bytes()[..];
            let written = version.wraps.iter().find(of_key).filter(|_| version.version == number);
            written.map(|of| of.wrap_sha256.clone())
        }
        None => {
            let name = keys::wrap_state(&WrapName { record: *record, version: number, recipient: key });
            let row =
                pb::ProvenRow { key: name.clone().into(), value: wrap.state.clone(), proof: wrap.state_proof.clone() };
            message::<pb::WrapState>(&name, Some(&row), header)?.map(|state| state.wrap_sha256)
        }
    };
    match hash.is_some_and(|hash| hash[..] == sha256(&[&wrap.wrap])[..]) {
        true => Ok(()),
        false => Err(ClientError::contradiction("the own key wrap is not the one that the ledger names")),
    }
}

#[cfg(test)]
mod tests;
