//! What a custodian asks for: the requests that wait for it, and the versions that it keeps.

mod owed;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_ledger::custody::{self, Held, Holding, Keepers};
use consilium_ledger::rights::records_of_member;
use consilium_ledger::{StoreFault, Table, keys};
use consilium_proto::error::{FieldError, fixed, length_in};
use consilium_proto::header::Header;
use consilium_proto::ids::{KeyId, PatientPseudonym, RecordId};
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb::{self, HeldPatient, HeldPlace, HeldVersion, RecordVersion};
use consilium_proto::state::{CustodyName, WrapRequestName};
use consilium_proto::transaction::Urgency;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::access_log::{Answer, page_size, prove};
use super::errors::Reason;
use super::reading::in_lane;
use super::record_reader::RecordReader;
use super::{Api, Caller};
use crate::access::{self, Decision, Grant, What, decide};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;
use owed::owed;
use pb::ListHeldVersionsResponse as HeldAnswer;

const PAGE_DEFAULT: u32 = 64;
const PAGE_MAX: u32 = 256;
/// Keys that a caller may name.
const KEYS_MAX: usize = 16;
/// Longest time that a request is waited for, milliseconds.
const WAIT_MAX_MS: u32 = 30_000;
/// How long a caller waits for a block that it has seen elsewhere.
const BEHIND_FOR: Duration = Duration::from_secs(2);
/// A busy ledger has many blocks a second; so long a wait does not look again.
const PACE: Duration = Duration::from_millis(5);
/// Versions that one answer looks at: it is given before the caller gives up.
const LOOKED_AT_MAX: u64 = 4_096;

impl Api {
    pub(super) async fn wrap_requests(
        &self,
        request: Request<pb::ListWrapRequestsRequest>,
    ) -> Answer<pb::ListWrapRequestsResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let asked = Arc::new(AskedList::parse(&caller, &request)?);
        let until = Instant::now() + patience(request.wait_ms)?.min(within);
        // Somebody waits for a key: another node may be further.
        self.freshen(request.read.as_ref(), within.min(BEHIND_FOR)).await?;
        let mut applied = self.published.watch_applied();
        let (answer, header) = loop {
            applied.borrow_and_update();
            let (asked, reader) = (Arc::clone(&asked), caller.id.clone());
            let read = move |ledger: &LedgerSnapshot<'_>| asked.read(ledger, &reader);
            // An emergency may be among them.
            let read = in_lane(&caller.id, Some(Urgency::Key), self.read(read)).await?;
            let (answer, header) = read.ok_or_else(not_custodian)?;
            let more = async {
                tokio::time::sleep(PACE).await;
                applied.changed().await
            };
            if !answer.requests.is_empty() || !matches!(timeout_at(until, more).await, Ok(Ok(()))) {
                break (answer, header);
            }
            caller.ensure_stands()?;
        };
        let header = Some((&self.prove_header(header, within).await?).into());
        Ok(Response::new(pb::ListWrapRequestsResponse { header, ..answer }))
    }

    pub(super) async fn held_versions(
        &self,
        request: Request<pb::ListHeldVersionsRequest>,
    ) -> Answer<pb::ListHeldVersionsResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let page = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        let key = fixed("key_id", &request.key_id).map(KeyId::from_bytes);
        let key = key.map_err(|e| Reason::InvalidArgument.field(&e))?;
        let own_keys = parse_keys(&request.key_ids)?;
        let asked_member = parse_member(&request.member)?;
        if request.patients && !request.wrapped {
            return Err(Reason::InvalidArgument.field(&FieldError::malformed("patients", "is for what is wrapped")));
        }
        if request.owed && request.wrapped {
            let why = FieldError::malformed("owed", "is not for what is wrapped for the key in question");
            return Err(Reason::InvalidArgument.field(&why));
        }
        self.freshen(request.read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let member = asked_member.as_ref().unwrap_or(caller.id.member()).as_str();
            let keeper = custody::keepers(ledger, member).map_err(failed)?.keeper;
            let what = match request.wrapped {
                true => What::HeldVersions { custodian: keeper.as_deref() },
                false => What::WrapRequests { custodian: keeper.as_deref(), deputy: None },
            };
            if !decide(&access::Request { reader: &caller.id, what }).allows() {
                return Ok(None);
            }
            let records = RecordReader::new(ledger, &caller.id);
            let mut list = HeldList { ledger, records, key, wrapped: request.wrapped, own_keys: &own_keys };
            let from = request.from.clone().unwrap_or_default();
            let mut answer = match (request.patients, request.owed) {
                (true, _) => list.patients(member, &from, page)?,
                (false, true) => list.owed(member, &from, page)?,
                (false, false) => list.versions(member, &from, page)?,
            };
            answer.work = Some(prove(ledger, keys::custody_work(member))?);
            answer.count = Some(prove(ledger, keys::custody_count(&CustodyName::new(member, key)))?);
            Ok(Some((answer, ledger.tip_header().clone())))
        };
        let (answer, header) = self.read(read).await?.ok_or_else(not_custodian)?;
        let header = Some((&self.prove_header(header, within).await?).into());
        Ok(Response::new(pb::ListHeldVersionsResponse { header, ..answer }))
    }
}

fn not_custodian() -> Status {
    Reason::PermissionDenied.status("what is in custody is for the custodian, or for its deputy what has an emergency")
}

fn parse_member(member: &str) -> Result<Option<MemberId>, Status> {
    let member = (!member.is_empty()).then(|| MemberId::parse("member", member)).transpose();
    member.map_err(|e| Reason::InvalidArgument.field(&e))
}

fn parse_keys(key_ids: &[bytes::Bytes]) -> Result<Vec<KeyId>, Status> {
    let parsed = length_in("key_ids", key_ids.len(), 0, KEYS_MAX);
    let parsed = parsed.and_then(|()| key_ids.iter().map(|id| fixed("key_ids", id).map(KeyId::from_bytes)).collect());
    parsed.map_err(|e: FieldError| Reason::InvalidArgument.field(&e))
}

fn failed(fault: StoreFault) -> StorageError {
    StorageError::corrupt("state", fault)
}

/// How long the caller waits for a request.
fn patience(wait_ms: u32) -> Result<Duration, Status> {
    match wait_ms {
        ms if ms > WAIT_MAX_MS => {
            Err(Reason::InvalidArgument.field(&FieldError::range("wait_ms", 0, WAIT_MAX_MS.into(), ms.into())))
        }
        ms => Ok(Duration::from_millis(ms.into())),
    }
}

/// Which requests are asked for.
struct AskedList {
    member: MemberId,
    from_number: u64,
    page: usize,
    own_keys: Vec<KeyId>,
}

impl AskedList {
    fn parse(caller: &Caller, request: &pb::ListWrapRequestsRequest) -> Result<Self, Status> {
        Ok(Self {
            member: parse_member(&request.member)?.unwrap_or_else(|| caller.id.member().clone()),
            from_number: request.from_number,
            page: page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?,
            own_keys: parse_keys(&request.key_ids)?,
        })
    }

    /// What there is now; `None` if the caller may not see it.
    fn read(
        &self,
        ledger: &LedgerSnapshot<'_>,
        caller: &SpiffeId,
    ) -> Result<Option<(pb::ListWrapRequestsResponse, Header)>, StorageError> {
        let member = self.member.as_str();
        let Keepers { keeper, deputy } = custody::keepers(ledger, member).map_err(failed)?;
        let what = What::WrapRequests { custodian: keeper.as_deref(), deputy: deputy.as_deref() };
        let all = match decide(&access::Request { reader: caller, what }) {
            Decision::Allow(grant) => grant != Grant::Deputy,
            Decision::Deny(_) => return Ok(None),
        };
        let mut answer = pb::ListWrapRequestsResponse::default();
        let mut records = RecordReader::new(ledger, caller);
        for key in self.open(ledger, all)? {
            let request: Option<pb::WrapRequestState> = ledger.state(&key)?;
            let request = request.ok_or_else(|| StorageError::corrupt("index", "names no request that is open"))?;
            let id = RecordId::parse("record_id", &request.record_id);
            let id = id.map_err(|e| StorageError::corrupt("state", e))?;
            let version = records.version(&id, request.version)?;
            let (own_wrap, committed) = records.custody_wrap(&id, &version, &self.own_keys)?.unwrap_or_default();
            answer.own_wraps.push(own_wrap);
            answer.versions.push(committed);
            answer.requests.push(prove(ledger, key)?);
        }
        answer.work = Some(prove(ledger, keys::custody_work(member))?);
        Ok(Some((answer, ledger.tip_header().clone())))
    }

    /// The keys of a page of what is open: of all, or of emergencies alone, whatever else waits.
    fn open(&self, ledger: &LedgerSnapshot<'_>, all: bool) -> Result<Vec<Vec<u8>>, StorageError> {
        let member = self.member.as_str();
        if all {
            let first = keys::wrap_request(&WrapRequestName::new(member, self.from_number));
            let prefix = first.get(..first.len() - 8).unwrap_or_default();
            let rows = ledger.scan(Table::State, prefix, &first).take(self.page);
            return rows.map(|row| Ok(row?.0.into())).collect();
        }
        let prefix = keys::index_emergency_requests(member);
        let rows = ledger.scan(Table::Index, &prefix, &keys::index_entry(prefix.clone(), self.from_number));
        let number = |entry: &[u8]| entry.last_chunk().map(|number| u64::from_be_bytes(*number)).unwrap_or_default();
        let key = |number| keys::wrap_request(&WrapRequestName::new(member, number));
        rows.take(self.page).map(|row| Ok(key(number(&row?.0)))).collect()
    }
}

/// Versions of a member's records, in the order in which the records were created.
struct HeldList<'a> {
    ledger: &'a LedgerSnapshot<'a>,
    records: RecordReader<'a>,
    key: KeyId,
    wrapped: bool,
    own_keys: &'a [KeyId],
}

impl HeldList<'_> {
    /// Versions that are asked for, from a place on.
    fn versions(&mut self, member: &str, from: &HeldPlace, page: usize) -> Result<HeldAnswer, StorageError> {
        let holding = Holding::of(self.ledger, member, self.key).map_err(failed)?;
        let mut versions = Vec::new();
        let (next, looked_at) = self.walk((member, from), |list, _, id, version, place| {
            versions.extend(list.look(&holding, id, version, place)?);
            Ok(versions.len() == page)
        })?;
        Ok(HeldAnswer { versions, next, looked_at, ..HeldAnswer::default() })
    }

    /// Wraps that are owed, from a place on; all of a version in one answer.
    fn owed(&mut self, member: &str, from: &HeldPlace, page: usize) -> Result<HeldAnswer, StorageError> {
        let (mut versions, mut all) = (Vec::new(), Vec::new());
        let (next, looked_at) = self.walk((member, from), |list, record, id, version, place| {
            for owed in owed(list.ledger, record, id, version)? {
                versions.push(said(version, place.clone()));
                all.push(owed);
            }
            Ok(all.len() >= page)
        })?;
        Ok(HeldAnswer { versions, owed: all, next, looked_at, ..HeldAnswer::default() })
    }

    /// Looks at a member's versions from a place on until it is enough, and gives where to go on and
    /// how many were looked at.
    fn walk(
        &mut self,
        (member, from): (&str, &HeldPlace),
        mut look: impl FnMut(
            &mut Self,
            &pb::RecordState,
            &RecordId,
            &RecordVersion,
            HeldPlace,
        ) -> Result<bool, StorageError>,
    ) -> Result<(Option<HeldPlace>, u64), StorageError> {
        let prefix = keys::index_member(member);
        let first = keys::index_entry(prefix.clone(), from.sequence);
        let (mut looked_at, mut enough) = (0, false);
        for row in self.ledger.scan(Table::Index, &prefix, &first) {
            let (entry, id) = row?;
            let corrupt = |e| StorageError::corrupt("index", e);
            let id = RecordId::parse("record_id", &id).map_err(corrupt)?;
            let sequence = entry.last_chunk().map(|sequence| u64::from_be_bytes(*sequence)).unwrap_or_default();
            let record = self.record(&id)?;
            let start = if sequence == from.sequence { from.version.max(1) } else { 1 };
            for version in start..=record.version {
                let place = HeldPlace { sequence, version, ..HeldPlace::default() };
                if enough || looked_at == LOOKED_AT_MAX {
                    return Ok((Some(place), looked_at));
                }
                looked_at += 1;
                let version = self.records.version(&id, version)?;
                enough = look(self, &record, &id, &version, place)?;
            }
        }
        Ok((None, looked_at))
    }

    /// Patients behind one, each with how many versions there are. All versions of a patient are
    /// looked at for one answer.
    fn patients(&self, member: &str, from: &HeldPlace, page: usize) -> Result<HeldAnswer, StorageError> {
        let mut patients = Vec::new();
        let (next, looked_at) = self.walk_patients((member, from, page), &mut patients)?;
        Ok(HeldAnswer { patients, next, looked_at, ..HeldAnswer::default() })
    }

    fn walk_patients(
        &self,
        (member, from, page): (&str, &HeldPlace, usize),
        found: &mut Vec<HeldPatient>,
    ) -> Result<(Option<HeldPlace>, u64), StorageError> {
        let prefix = keys::index_all_writers();
        let (mut last, mut looked_at) = (PatientPseudonym::parse("patient", &from.patient).ok(), 0);
        let first = last.map_or_else(|| prefix.clone(), |patient| keys::index_writers(&patient));
        for row in self.ledger.scan(Table::Index, &prefix, &first) {
            let (entry, _) = row?;
            let entry = (keys::patient_of_writer(&entry), keys::writer_of_index(&entry));
            let (Some(patient), Some((_, writer))) = entry else {
                return Err(StorageError::corrupt("index", "names no writer of a patient's records"));
            };
            if found.len() == page || looked_at >= LOOKED_AT_MAX {
                let patient = last.map(|last| Bytes::copy_from_slice(&last.0)).unwrap_or_default();
                return Ok((Some(HeldPlace { patient, ..HeldPlace::default() }), looked_at));
            }
            looked_at += 1;
            if writer != member || last == Some(patient) {
                continue;
            }
            last = Some(patient);
            let (all, wrapped) = self.count(&patient, member)?;
            looked_at = looked_at.saturating_add(all);
            if wrapped > 0 {
                found.push(HeldPatient { patient: Bytes::copy_from_slice(&patient.0), versions: wrapped });
            }
        }
        Ok((None, looked_at))
    }

    /// How many versions of a member's records of a patient there are, and how many of them are
    /// wrapped for the key.
    fn count(&self, patient: &PatientPseudonym, member: &str) -> Result<(u64, u64), StorageError> {
        let (mut all, mut wrapped) = (0, 0);
        for id in records_of_member(self.ledger, patient, member).map_err(failed)?.into_values() {
            for version in 1..=self.record(&id)?.version {
                let version = self.records.version(&id, version)?;
                all += 1;
                wrapped += u64::from(custody::is_wrapped(self.ledger, &id, &version, &self.key).map_err(failed)?);
            }
        }
        Ok((all, wrapped))
    }

    fn record(&self, id: &RecordId) -> Result<pb::RecordState, StorageError> {
        self.records.state(id)?.ok_or_else(|| StorageError::corrupt("record", "absent"))
    }

    /// What is said of a version, if it is asked for.
    fn look(
        &mut self,
        holding: &Holding,
        id: &RecordId,
        version: &RecordVersion,
        place: HeldPlace,
    ) -> Result<Option<HeldVersion>, StorageError> {
        let said = said(version, place);
        if self.wrapped {
            let wrapped = custody::is_wrapped(self.ledger, id, version, &self.key).map_err(failed)?;
            return Ok(wrapped.then_some(said));
        }
        Ok(match holding.held(self.ledger, id, version).map_err(failed)? {
            Held::Done => None,
            Held::Uncounted => Some(HeldVersion { uncounted: true, ..said }),
            Held::Left => {
                let (own_wrap, committed) = self.records.custody_wrap(id, version, self.own_keys)?.unzip();
                Some(HeldVersion { own_wrap, committed, ..said })
            }
        })
    }
}

/// What is said of every version.
fn said(version: &RecordVersion, place: HeldPlace) -> HeldVersion {
    HeldVersion {
        record_id: version.record_id.clone(),
        version: version.version,
        patient: version.patient.clone(),
        place: Some(place),
        ..HeldVersion::default()
    }
}

#[cfg(test)]
mod tests;
