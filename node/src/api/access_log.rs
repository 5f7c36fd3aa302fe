//! `AccessService`: what became of requests for access, and what holds of a patient, with
//! proofs. Who may not know of a patient is told what one is told who asks for nobody.

use std::pin::Pin;

use bytes::Bytes;
use consilium_grpc::access_service_server::AccessService;
use consilium_ledger::{Table, keys, log, state_map};
use consilium_proto::consent::Custodians;
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{EmergencyId, KeyId, PatientPseudonym, TimeMs, TransactionId};
use consilium_proto::merkle::leaf_hash;
use consilium_proto::names::SpiffeId;
use consilium_proto::patient::members_shown_to;
use consilium_proto::pb::{
    self, AccessEvent, ConsentListState, CustodyState, EncryptionKeyState, LogState, PatientAcceptance,
    PatientSaltState, PatientState, ProvenRow, RosterState, SaltWrap,
};
use consilium_proto::state::{CareName, SaltName, StateRow};
use consilium_proto::state_tree::KeyHash;
use futures::Stream;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Api;
use super::decision::decision;
use super::errors::Reason;
use super::notices::{self, Watching};
use super::pages::Filled;
use super::record_lists;
use crate::access::{self, Accepted, Patient, What, decide};
use crate::contained;
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

pub(super) type Answer<T> = Result<Response<T>, Status>;

const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1_000;

#[tonic::async_trait]
impl AccessService for Api {
    async fn get_access_log(&self, request: Request<pb::GetAccessLogRequest>) -> Answer<pb::GetAccessLogResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let patient = parse_patient(&request.patient)?;
        let page = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        self.freshen(request.read.as_ref(), within).await?;
        let from = request.from_sequence;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            if !may(ledger, &caller.id, &patient, What::AccessLog)? {
                return Ok(None);
            }
            let answer = read_log(ledger, &caller.id, &keys::access_log(&patient), (from, page))?;
            Ok(Some((answer, ledger.tip_header().clone())))
        };
        let (answer, header) = self.read(read).await?.ok_or_else(not_found)?;
        let header = Some((&self.prove_header(header, within).await?).into());
        Ok(Response::new(pb::GetAccessLogResponse { header, ..answer }))
    }

    async fn get_decision(&self, request: Request<pb::GetDecisionRequest>) -> Answer<pb::GetDecisionResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let id = fixed("transaction_id", &request.transaction_id).map(TransactionId::from_bytes);
        let id = id.map_err(|e| Reason::InvalidArgument.field(&e))?;
        self.freshen(request.read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let decision = decision(ledger, &caller.id, &id)?;
            Ok(decision.map(|decision| (decision, ledger.tip_header().clone())))
        };
        let (answer, header) = self.read(read).await?.ok_or_else(not_found)?;
        let header = Some((&self.prove_header(header, within).await?).into());
        Ok(Response::new(pb::GetDecisionResponse { header, ..answer }))
    }

    async fn get_patient(&self, request: Request<pb::GetPatientRequest>) -> Answer<pb::GetPatientResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let patient = parse_patient(&request.patient)?;
        self.freshen(request.read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let rows = read_patient(ledger, &caller.id, &patient)?;
            Ok(rows.map(|rows| (rows, ledger.tip_header().clone())))
        };
        let (answer, header) = self.read(read).await?.ok_or_else(not_found)?;
        let header = Some((&self.prove_header(header, within).await?).into());
        Ok(Response::new(pb::GetPatientResponse { header, ..answer }))
    }

    async fn list_patient_records(
        &self,
        request: Request<pb::ListPatientRecordsRequest>,
    ) -> Answer<pb::ListPatientRecordsResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let patient = parse_patient(&request.patient)?;
        let wanted = record_lists::parse(patient, &request).map_err(|e| Reason::InvalidArgument.field(&e))?;
        self.freshen(request.read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            if !may(ledger, &caller.id, &patient, What::RecordLists)? {
                return Ok(None);
            }
            Ok(Some((record_lists::read(ledger, &patient, &wanted)?, ledger.tip_header().clone())))
        };
        let (answer, header) = self.read(read).await?.ok_or_else(not_found)?;
        let header = Some((&self.prove_header(header, within).await?).into());
        Ok(Response::new(pb::ListPatientRecordsResponse { header, ..answer }))
    }

    async fn list_wrap_requests(
        &self,
        request: Request<pb::ListWrapRequestsRequest>,
    ) -> Answer<pb::ListWrapRequestsResponse> {
        self.wrap_requests(request).await
    }

    async fn list_held_versions(
        &self,
        request: Request<pb::ListHeldVersionsRequest>,
    ) -> Answer<pb::ListHeldVersionsResponse> {
        self.held_versions(request).await
    }

    async fn get_emergency_text(
        &self,
        request: Request<pb::GetEmergencyTextRequest>,
    ) -> Answer<pb::GetEmergencyTextResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let id = EmergencyId::parse("emergency_id", &request.emergency_id);
        let id = id.map_err(|e| Reason::InvalidArgument.field(&e))?;
        self.freshen(request.read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let text = notices::sealed_text(ledger, &caller.id, &id)?;
            Ok(text.map(|text| (text, ledger.tip_header().clone())))
        };
        let no_such = || Reason::NotFound.status("no such emergency for this caller");
        let ((emergency, text), header) = self.read(read).await?.ok_or_else(no_such)?;
        let behind = || Reason::Behind.status("the text of the emergency is not on this node; another one has it");
        let text = text.ok_or_else(behind)?;
        let header = Some((&self.prove_header(header, within).await?).into());
        Ok(Response::new(pb::GetEmergencyTextResponse { emergency: Some(emergency), text, header }))
    }

    type WatchNoticesStream = Pin<Box<dyn Stream<Item = Result<pb::WatchNoticesResponse, Status>> + Send>>;

    async fn watch_notices(&self, request: Request<pb::WatchNoticesRequest>) -> Answer<Self::WatchNoticesStream> {
        let caller = Self::caller(&request)?;
        let watching = Watching::parse(caller, &request.into_inner())?;
        let (sender, receiver) = mpsc::channel(1);
        let api = self.clone();
        contained::feed(sender, |sender| async move {
            watching.tell(api, sender).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_changes(&self, request: Request<pb::ListChangesRequest>) -> Answer<pb::ListChangesResponse> {
        self.changes(request).await
    }

    async fn list_disclosures(
        &self,
        request: Request<pb::ListDisclosuresRequest>,
    ) -> Answer<pb::ListDisclosuresResponse> {
        self.disclosures(request).await.map(Response::new)
    }

    async fn list_petitions(&self, request: Request<pb::ListPetitionsRequest>) -> Answer<pb::ListPetitionsResponse> {
        self.petitions(request).await.map(Response::new)
    }
}

pub(super) fn not_found() -> Status {
    Reason::NotFound.status("no such patient for this caller")
}

pub(super) fn parse_patient(bytes: &[u8]) -> Result<PatientPseudonym, Status> {
    PatientPseudonym::parse("patient", bytes).map_err(|e| Reason::InvalidArgument.field(&e))
}

pub(super) fn page_size(asked: u32, default: u32, max: u32) -> Result<usize, Status> {
    match asked {
        0 => Ok(default as usize),
        asked if asked <= max => Ok(asked as usize),
        asked => {
            let error = FieldError::range("page_size", 0, max.into(), asked.into());
            Err(Reason::InvalidArgument.field(&error))
        }
    }
}

/// Whether a reader may know of a patient that there is.
pub(super) fn may(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    patient: &PatientPseudonym,
    what: fn(Patient) -> What<'static>,
) -> Result<bool, StorageError> {
    let state: Option<PatientState> = ledger.state(&keys::patient(patient))?;
    let registered = state.is_some();
    let accepted = speaks_for(ledger, &state.unwrap_or_default(), reader)?;
    let allowed = |what| decide(&access::Request { reader, what }).allows();
    // That there are records of somebody whom nobody has registered is told by their lists.
    let recorded = allowed(What::RecordLists(Patient { accepted }))
        && ledger.read(Table::State, &keys::record_lists(patient))?.is_some();
    Ok((registered || recorded) && allowed(what(Patient { accepted })))
}

/// How much the member that registered a patient, or who keeps its records since it left, has
/// accepted an identity to read for it.
pub(super) fn speaks_for(
    ledger: &LedgerSnapshot<'_>,
    patient: &PatientState,
    identity: &SpiffeId,
) -> Result<Accepted, StorageError> {
    let speaks = |reads| speaks_to(ledger, &patient.member, (patient, identity), reads);
    Ok(match speaks(&PatientAcceptance::reads_all)? {
        true => Accepted::ForAll,
        false if speaks(&|a| a.may_read)? => Accepted::ForSome,
        false => Accepted::Not,
    })
}

/// Whether a member, or who keeps its records since it left, has accepted an identity for a patient
/// so that it reads that.
pub(super) fn speaks_to(
    ledger: &LedgerSnapshot<'_>,
    member: &str,
    (patient, identity): (&PatientState, &SpiffeId),
    reads: &dyn Fn(&PatientAcceptance) -> bool,
) -> Result<bool, StorageError> {
    let custody: Option<CustodyState> = ledger.state(&keys::custody(member))?;
    let keepers = custody.map(|custody| custody.keepers).unwrap_or_default();
    let (custodians, name) = (Custodians::new(member, &keepers), identity.to_string());
    Ok(custodians.hear(patient, &name, ledger.tip_header().time).any(reads))
}

pub(super) fn prove(ledger: &LedgerSnapshot<'_>, key: Vec<u8>) -> Result<ProvenRow, StorageError> {
    let value = ledger.read(Table::State, &key)?.unwrap_or_default();
    let proof = state_map::prove(ledger, &KeyHash::of(&key)).map_err(|e| StorageError::corrupt("trie", e))?;
    Ok(ProvenRow { key: key.into(), value, proof: proof.encode().into() })
}

fn read_log(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    key: &[u8],
    (from, page): (u64, usize),
) -> Result<pb::GetAccessLogResponse, StorageError> {
    let row: Option<LogState> = ledger.state(key)?;
    let count = row.map_or(0, |row| row.count);
    let end = count.min(from.saturating_add(page as u64));
    let (mut events, mut sealed, mut filled) = (Vec::new(), Vec::new(), Filled::default());
    for place in from..end {
        let entry = entry(ledger, key, place)?;
        if !filled.takes(entry.len()) {
            break;
        }
        let event = AccessEvent::decode(entry.clone()).map_err(|e| StorageError::corrupt("log", e))?;
        match kept_from(ledger, reader, &event) {
            Some(until_ms) => {
                sealed.push(pb::SealedEntry { sequence: place, leaf_hash: leaf_hash(&entry).to_bytes(), until_ms });
            }
            None => events.push(entry),
        }
    }
    let consistency_path = growth(ledger, key, from, count)?;
    let log = Some(prove(ledger, key.to_vec())?);
    Ok(pb::GetAccessLogResponse { events, log, consistency_path, header: None, sealed })
}

/// Until when an entry is kept from a reader, if it is now.
pub(super) fn kept_from(ledger: &LedgerSnapshot<'_>, reader: &SpiffeId, event: &AccessEvent) -> Option<u64> {
    let seal = event.legal.as_ref()?.seal.as_ref()?;
    let what = What::SealedEntry { until: TimeMs(seal.until_ms), now: ledger.tip_header().time };
    (!decide(&access::Request { reader, what }).allows()).then_some(seal.until_ms)
}

/// That the first entries of a log are what they were; nothing is needed for none.
pub(super) fn growth(
    ledger: &LedgerSnapshot<'_>,
    key: &[u8],
    from: u64,
    count: u64,
) -> Result<Vec<Bytes>, StorageError> {
    if !(1..=count).contains(&from) {
        return Ok(Vec::new());
    }
    let proof = log::prove_growth(ledger, key, from, count).map_err(|e| StorageError::corrupt("log", e))?;
    Ok(proof.path().iter().map(Hash::to_bytes).collect())
}

pub(super) fn entry(ledger: &LedgerSnapshot<'_>, key: &[u8], place: u64) -> Result<Bytes, StorageError> {
    let entry = log::entry(ledger, key, place).map_err(|e| StorageError::corrupt("log", e))?;
    entry.ok_or_else(|| StorageError::corrupt("log", "lacks an entry"))
}

/// The rows of a patient, for who may know of it: of what kinds its records are, how confidential,
/// and who cares for it, only for whom all its records are listed.
fn read_patient(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    patient: &PatientPseudonym,
) -> Result<Option<pb::GetPatientResponse>, StorageError> {
    if !may(ledger, reader, patient, What::Patient)? {
        return Ok(None);
    }
    let record_lists = match may(ledger, reader, patient, What::RecordLists)? {
        true => Some(prove(ledger, keys::record_lists(patient))?),
        false => None,
    };
    let list: Option<ConsentListState> = ledger.state(&keys::consent_list(patient))?;
    let consent = |id: &[u8]| [&[StateRow::Consent as u8], id].concat();
    let listed = list.unwrap_or_default().consents;
    let consents = listed.iter().map(|entry| prove(ledger, consent(&entry.consent_id)));
    let (salts, salt_wraps) = salts_of(ledger, reader, patient)?;
    let (roster, care) = match may(ledger, reader, patient, What::Care)? {
        true => (Some(prove(ledger, keys::roster())?), care_of(ledger, patient)?),
        false => (None, Vec::new()),
    };
    Ok(Some(pb::GetPatientResponse {
        patient: Some(prove(ledger, keys::patient(patient))?),
        consent_list: Some(prove(ledger, keys::consent_list(patient))?),
        consents: consents.collect::<Result<_, _>>()?,
        record_lists,
        header: None,
        salts,
        salt_wraps,
        roster,
        care,
    }))
}

/// What each member of the roster says of its care for a patient.
fn care_of(ledger: &LedgerSnapshot<'_>, patient: &PatientPseudonym) -> Result<Vec<ProvenRow>, StorageError> {
    let roster: Option<RosterState> = ledger.state(&keys::roster())?;
    let members = roster.unwrap_or_default().members;
    members.iter().map(|member| prove(ledger, keys::care(&CareName::new(*patient, member)))).collect()
}

/// Rows of the salts of a patient's labels, and wraps of them for keys of the reader.
fn salts_of(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    patient: &PatientPseudonym,
) -> Result<(Vec<ProvenRow>, Vec<Bytes>), StorageError> {
    let state: Option<PatientState> = ledger.state(&keys::patient(patient))?;
    let (mut rows, mut wraps) = (Vec::new(), Vec::new());
    for member in members_shown_to(reader, state.as_ref(), ledger.tip_header().time) {
        let place = keys::patient_salt(&SaltName::new(*patient, &member));
        let salts: Option<PatientSaltState> = ledger.state(&place)?;
        rows.push(prove(ledger, place)?);
        for keeper in salts.unwrap_or_default().salts.into_iter().flat_map(|salt| salt.keepers) {
            wraps.extend(own_salt_wrap(ledger, reader, patient, &keeper)?);
        }
    }
    Ok((rows, wraps))
}

/// A wrap of a salt, if it is for a key of the reader.
fn own_salt_wrap(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    patient: &PatientPseudonym,
    keeper: &SaltWrap,
) -> Result<Option<Bytes>, StorageError> {
    let corrupt = |e: consilium_proto::hash::LengthError| StorageError::corrupt("salt", e);
    let key = KeyId::try_from(keeper.recipient_key_id.as_ref()).map_err(corrupt)?;
    let key: Option<EncryptionKeyState> = ledger.state(&keys::encryption_key(&key))?;
    let what = What::Wrap { owner: key.as_ref().map(|key| key.spiffe_id.as_str()) };
    if !decide(&access::Request { reader, what }).allows() {
        return Ok(None);
    }
    let hash = Hash::try_from(keeper.wrap_sha256.as_ref()).map_err(corrupt)?;
    ledger.read(Table::Lookups, &keys::lookup(patient, &hash))
}

#[cfg(test)]
mod tests;
