//! `RecordsService`: metadata and ciphertext for those who may have them. What
//! is denied looks exactly like what does not exist, in answers, counts,
//! order and pages.

use std::sync::Arc;

use bytes::Bytes;
use consilium_grpc::records_service_server::RecordsService;
use consilium_ledger::{Table, keys};
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::ids::{KeyId, PatientPseudonym, RecordId, SearchTag};
use consilium_proto::pb;
use tonic::{Request, Response, Status};

use super::errors::{self, Reason};
use super::{Api, Caller};
use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;

type Answer<T> = Result<Response<T>, Status>;

const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1_000;
/// Index entries looked at for one page: bounds the cost of a query that
/// matches little. The page token goes on from there.
const SCAN_MAX: usize = 10_000;

#[tonic::async_trait]
impl RecordsService for Api {
    async fn get_record(&self, request: Request<pb::GetRecordRequest>) -> Answer<pb::GetRecordResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let id = record_id(&request.record_id)?;
        let height = self.freshen(request.read.as_ref(), within).await?;
        let answer = self.blocking(move |api| get(&api.ledger, &caller, &id, request.version)).await?;
        let (record, payload, wraps) = answer.ok_or_else(not_found)?;
        Ok(Response::new(pb::GetRecordResponse { record: Some(record), payload, wraps, height: height.0 }))
    }

    async fn query_records(&self, request: Request<pb::QueryRecordsRequest>) -> Answer<pb::QueryRecordsResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let query = Query::parse(&request).map_err(|e| Reason::InvalidArgument.field(&e))?;
        let height = self.freshen(request.read.as_ref(), within).await?;
        let (records, next_page_token) = self.blocking(move |api| query.run(&api.ledger, &caller)).await?;
        Ok(Response::new(pb::QueryRecordsResponse { records, next_page_token, height: height.0 }))
    }

    async fn get_record_history(
        &self,
        request: Request<pb::GetRecordHistoryRequest>,
    ) -> Answer<pb::GetRecordHistoryResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let id = record_id(&request.record_id)?;
        let height = self.freshen(request.read.as_ref(), within).await?;
        let versions = self.blocking(move |api| history(&api.ledger, &caller, &id)).await?;
        if versions.is_empty() {
            return Err(not_found());
        }
        Ok(Response::new(pb::GetRecordHistoryResponse { versions, height: height.0 }))
    }
}

impl Api {
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, Status> {
        let api = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&api)).await;
        done.map_err(|_| Reason::Internal.status("stopping"))?.map_err(|e| errors::storage(&e))
    }
}

fn not_found() -> Status {
    Reason::NotFound.status("no such record for this caller")
}

fn record_id(bytes: &[u8]) -> Result<RecordId, Status> {
    RecordId::parse("record_id", bytes).map_err(|e| Reason::InvalidArgument.field(&e))
}

type Released = (pb::RecordVersion, Bytes, Vec<pb::KeyWrap>);

fn get(store: &LedgerStore, caller: &Caller, id: &RecordId, version: u32) -> Result<Option<Released>, StorageError> {
    let Some(state) = store.message::<pb::RecordState>(Table::State, &keys::record(id))? else { return Ok(None) };
    let number = if version == 0 { state.version } else { version };
    let Some(record) = store.message::<pb::RecordVersion>(Table::Versions, &keys::version(id, number))? else {
        return Ok(None);
    };
    if !may_read(store, caller, &state, id, &record)? {
        return Ok(None);
    }
    let payload = store.read(Table::Payloads, &keys::payload(id, number))?.unwrap_or_default();
    let wraps = own_wraps(store, caller, id, &record)?;
    Ok(Some((record, payload, wraps)))
}

/// The author's member, or the owner of a key that this version is wrapped
/// for; for a retraction, of the version before it.
fn may_read(
    store: &LedgerStore,
    caller: &Caller,
    state: &pb::RecordState,
    id: &RecordId,
    record: &pb::RecordVersion,
) -> Result<bool, StorageError> {
    if state.member == caller.member() {
        return Ok(true);
    }
    let mut record = record.clone();
    if record.retraction {
        let before = store.message(Table::Versions, &keys::version(id, record.version.saturating_sub(1)))?;
        record = before.ok_or_else(|| StorageError::corrupt("version", "absent"))?;
    }
    for wrap in &record.wraps {
        if owns(store, caller, &wrap.recipient_key_id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn owns(store: &LedgerStore, caller: &Caller, key_id: &[u8]) -> Result<bool, StorageError> {
    let key_id = KeyId::try_from(key_id).map_err(|e| StorageError::corrupt("version", e))?;
    let key: Option<pb::EncryptionKeyState> = store.message(Table::State, &keys::encryption_key(&key_id))?;
    Ok(key.is_some_and(|key| key.spiffe_id == caller.id.to_string()))
}

fn own_wraps(
    store: &LedgerStore,
    caller: &Caller,
    id: &RecordId,
    record: &pb::RecordVersion,
) -> Result<Vec<pb::KeyWrap>, StorageError> {
    let mut wraps = Vec::new();
    for wrap in &record.wraps {
        if !owns(store, caller, &wrap.recipient_key_id)? {
            continue;
        }
        let key_id =
            KeyId::try_from(wrap.recipient_key_id.as_ref()).map_err(|e| StorageError::corrupt("version", e))?;
        if let Some(bytes) = store.read(Table::Wraps, &keys::wrap(id, record.version, &key_id))? {
            wraps.push(pb::KeyWrap { recipient_key_id: wrap.recipient_key_id.clone(), wrap: bytes });
        }
    }
    Ok(wraps)
}

fn history(store: &LedgerStore, caller: &Caller, id: &RecordId) -> Result<Vec<pb::RecordVersion>, StorageError> {
    let Some(state) = store.message::<pb::RecordState>(Table::State, &keys::record(id))? else {
        return Ok(Vec::new());
    };
    let mut versions = Vec::new();
    for number in 1..=state.version {
        let version: Option<pb::RecordVersion> = store.message(Table::Versions, &keys::version(id, number))?;
        let version = version.ok_or_else(|| StorageError::corrupt("version", "absent"))?;
        if may_read(store, caller, &state, id, &version)? {
            versions.push(version);
        }
    }
    Ok(versions)
}

/// A parsed query.
struct Query {
    prefix: Vec<u8>,
    start: Vec<u8>,
    page: usize,
    conditions: pb::QueryRecordsRequest,
}

impl Query {
    fn parse(m: &pb::QueryRecordsRequest) -> Result<Self, FieldError> {
        if m.page_size > PAGE_MAX {
            return Err(FieldError::range("page_size", 0, PAGE_MAX.into(), m.page_size.into()));
        }
        // The most selective index that the conditions allow.
        let prefix = if !m.tag.is_empty() {
            keys::index_tag(&SearchTag::parse("tag", &m.tag)?)
        } else if !m.patient.is_empty() {
            keys::index_patient(&PatientPseudonym::parse("patient", &m.patient)?)
        } else if !m.author_member.is_empty() {
            keys::index_member(&m.author_member)
        } else {
            return Err(FieldError::malformed("patient", "one of patient, author_member and tag is required"));
        };
        if !m.patient.is_empty() {
            PatientPseudonym::parse("patient", &m.patient)?;
        }
        let start = match m.page_token.is_empty() {
            true => prefix.clone(),
            false => keys::index_entry(prefix.clone(), u64::from_be_bytes(fixed("page_token", &m.page_token)?)),
        };
        let page = if m.page_size == 0 { PAGE_DEFAULT } else { m.page_size } as usize;
        Ok(Self { prefix, start, page, conditions: m.clone() })
    }

    fn run(self, store: &Arc<LedgerStore>, caller: &Caller) -> Result<(Vec<pb::RecordVersion>, Bytes), StorageError> {
        let mut found = Vec::new();
        for (looked_at, row) in store.scan(Table::Index, &self.prefix, &self.start).enumerate() {
            let (key, id) = row?;
            let sequence = key.get(self.prefix.len()..).unwrap_or_default();
            if found.len() >= self.page || looked_at >= SCAN_MAX {
                return Ok((found, Bytes::copy_from_slice(sequence)));
            }
            let id = RecordId::parse("index", &id).map_err(|e| StorageError::corrupt("index", e))?;
            if let Some(record) = self.newest(store, caller, &id)? {
                found.push(record);
            }
        }
        Ok((found, Bytes::new()))
    }

    fn newest(
        &self,
        store: &LedgerStore,
        caller: &Caller,
        id: &RecordId,
    ) -> Result<Option<pb::RecordVersion>, StorageError> {
        let Some(state) = store.message::<pb::RecordState>(Table::State, &keys::record(id))? else {
            return Ok(None);
        };
        let version: Option<pb::RecordVersion> = store.message(Table::Versions, &keys::version(id, state.version))?;
        let version = version.ok_or_else(|| StorageError::corrupt("version", "absent"))?;
        let wanted = self.matches(&state, &version) && may_read(store, caller, &state, id, &version)?;
        Ok(wanted.then_some(version))
    }

    fn matches(&self, state: &pb::RecordState, version: &pb::RecordVersion) -> bool {
        let q = &self.conditions;
        (q.patient.is_empty() || q.patient == state.patient)
            && (q.kind.is_empty() || q.kind == state.kind)
            && (q.author.is_empty() || q.author == version.author)
            && (q.author_member.is_empty() || q.author_member == state.member)
            && (q.from_ms == 0 || version.time_ms >= q.from_ms)
            && (q.to_ms == 0 || version.time_ms < q.to_ms)
            && (q.tag.is_empty() || version.tags.contains(&q.tag))
    }
}
