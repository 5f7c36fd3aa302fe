//! `AccessService.WatchNotices` and `GetEmergencyText`: emergencies, told to those who have to
//! look at them, and that something has changed which the caller has read. Each part of the stream
//! is read from one snapshot and decided anew: who may know of a patient no more is told nothing
//! more. What is the same for all streams is read once for all.

mod reviews;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use consilium_ledger::missing::is_wanted;
use consilium_ledger::{Table, keys};
use consilium_proto::error::FieldError;
use consilium_proto::header::Header;
use consilium_proto::ids::{EmergencyId, Height, PatientPseudonym, TimeMs};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{self, CustodyState, EmergencyState, LogState, PatientState, ProvenRow};
use consilium_proto::transaction::Slot;
use tonic::Status;

pub(super) use self::reviews::OpenReviews;
use super::access_log::{may, not_found, parse_patient, prove, speaks_for};
use super::errors::Reason;
use super::{Api, Caller, changes};
use crate::access::{self, Emergency, Patient, What, decide};
use crate::contained::Items;
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// Emergencies in an answer, and what more there is of the same block.
const EMERGENCIES_MAX: usize = 256;
/// A busy ledger has many blocks a second; nobody reads notices that fast.
const PACE: Duration = Duration::from_millis(250);

/// What a stream is about.
pub(super) struct Watching {
    caller: Caller,
    subject: Subject,
    after: Height,
}

/// Of what there is something to tell.
#[derive(Clone, Copy)]
enum Subject {
    /// Emergencies.
    All,
    /// Emergencies and accesses.
    Patient(PatientPseudonym),
    /// Changes of what the caller has read.
    Reads,
}

/// Up to where it was told.
#[derive(Clone, Copy)]
struct Told {
    height: Height,
    /// Time of that block: reviews that were due by then were told.
    time: TimeMs,
    log_count: Option<u64>,
}

/// What is to be told.
struct Notices {
    emergencies: Vec<ProvenRow>,
    log_count: u64,
    changes: bool,
    header: Header,
    upto: Told,
}

impl Watching {
    pub(super) fn parse(caller: Caller, request: &pb::WatchNoticesRequest) -> Result<Self, Status> {
        let subject = match (request.of_reads, request.patient.is_empty()) {
            (true, true) => Subject::Reads,
            (true, false) => {
                let error = FieldError::malformed("patient", "is not for what the caller has read");
                return Err(Reason::InvalidArgument.field(&error));
            }
            (false, true) if caller.has_role(Role::Auditor) => Subject::All,
            (false, true) => return Err(Reason::InvalidArgument.field(&FieldError::missing("patient"))),
            (false, false) => Subject::Patient(parse_patient(&request.patient)?),
        };
        Ok(Self { caller, subject, after: Height(request.after_height) })
    }

    /// Tells what comes, until the reader, the node, or the caller's right ends.
    pub(super) async fn tell(self, api: Api, sender: Items<pb::WatchNoticesResponse>) {
        let ended = tokio::select! {
            ended = self.tell_on(&api, &sender) => ended,
            () = self.caller.info.cut() => {
                Err(Reason::IdentityRefused.status("the identity certificate is not accepted any more"))
            }
            () = sender.closed() => return,
        };
        if let Err(status) = ended {
            let _ = sender.send(Err(status)).await;
        }
    }

    async fn tell_on(&self, api: &Api, sender: &Items<pb::WatchNoticesResponse>) -> Result<(), Status> {
        let mut told: Option<Told> = None;
        let mut certified = api.published.watch_certified();
        loop {
            // A height that is not here yet is one that another node has told.
            let next = told.map_or(self.after, |told| told.height.next());
            let reached =
                certified.wait_for(|c| next == Height::GENESIS || c.as_ref().is_some_and(|c| c.header.height >= next));
            let Ok(last) = reached.await.map(|c| c.as_ref().map_or(Height::GENESIS, |c| c.header.height)) else {
                return Ok(());
            };
            let (reader, subject, after) = (self.caller.id.clone(), self.subject, self.after);
            let reviews = api.shared.reviews.clone();
            let gather = move |ledger: &LedgerSnapshot<'_>| {
                let told = told.map_or_else(|| resume(ledger, after), Ok)?;
                match subject {
                    Subject::All => gather((ledger, &reviews), &reader, None, (told, last)),
                    Subject::Patient(patient) => gather((ledger, &reviews), &reader, Some(patient), (told, last)),
                    Subject::Reads => gather_changes(ledger, &reader, (told, last)).map(Some),
                }
            };
            let notices = api.read(gather).await?.ok_or_else(not_found)?;
            let grown = told.is_none_or(|told| told.log_count != notices.upto.log_count);
            let news = !notices.emergencies.is_empty() || notices.changes || grown;
            told = Some(notices.upto);
            if news && sender.send(Ok(answer(api, notices).await?)).await.is_err() {
                return Ok(());
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

async fn answer(api: &Api, notices: Notices) -> Result<pb::WatchNoticesResponse, Status> {
    let Notices { emergencies, log_count, changes, header, upto } = notices;
    let header = Some((&api.prove_header(header, api.limits.request_timeout).await?).into());
    Ok(pb::WatchNoticesResponse { emergencies, log_count, header, cursor: upto.height.0, changes })
}

/// Where a stream goes on.
fn resume(ledger: &LedgerSnapshot<'_>, after: Height) -> Result<Told, StorageError> {
    let header = ledger.header(after)?;
    let time = header.map_or_else(|| ledger.tip_header().time, |header| header.time);
    Ok(Told { height: after, time, log_count: None })
}

/// What to tell of the blocks behind `told` up to `last`; `None` if the reader may not know of
/// the patient.
fn gather(
    (ledger, reviews): (&LedgerSnapshot<'_>, &OpenReviews),
    reader: &SpiffeId,
    patient: Option<PatientPseudonym>,
    (told, last): (Told, Height),
) -> Result<Option<Notices>, StorageError> {
    let mut log_count = 0;
    if let Some(patient) = &patient {
        if !may(ledger, reader, patient, What::AccessLog)? {
            return Ok(None);
        }
        log_count = ledger.state::<LogState>(&keys::access_log(patient))?.map_or(0, |row| row.count);
    }
    let header = ledger.tip_header().clone();
    let entries = patient.map_or_else(keys::index_emergencies, |patient| keys::index_emergencies_about(&patient));
    let (mut ids, height) = happened(ledger, &entries, (told.height, last))?;
    ids.extend(reviews.overdue(ledger, patient, (told.time, header.time))?);
    let mut audience = Audience { ledger, reader, concerned: BTreeMap::new() };
    let mut emergencies = Vec::new();
    for id in ids {
        let key = keys::emergency(&id);
        let state: Option<EmergencyState> = ledger.state(&key)?;
        let state = state.ok_or_else(|| StorageError::corrupt("index", "names an emergency that there is not"))?;
        if audience.includes_reader(&state)? {
            emergencies.push(prove(ledger, key)?);
        }
    }
    let upto = Told { height, time: header.time.max(told.time), log_count: Some(log_count) };
    Ok(Some(Notices { emergencies, log_count, changes: false, header, upto }))
}

/// Whether what a reader has read changed in the blocks behind `told` up to `last`.
fn gather_changes(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    (told, last): (Told, Height),
) -> Result<Notices, StorageError> {
    let changes = changes::any_for(ledger, reader, (told.height, last))?;
    let upto = Told { height: last, log_count: Some(0), ..told };
    Ok(Notices { emergencies: Vec::new(), log_count: 0, changes, header: ledger.tip_header().clone(), upto })
}

/// Emergencies that by an index were declared or reviewed behind a height, up to another one at
/// most; and up to which one these are all.
fn happened(
    ledger: &LedgerSnapshot<'_>,
    prefix: &[u8],
    (after, last): (Height, Height),
) -> Result<(BTreeSet<EmergencyId>, Height), StorageError> {
    let mut found = BTreeSet::new();
    let mut reached = after;
    for row in ledger.scan(Table::Index, prefix, &keys::index_entry(prefix.to_vec(), after.next().0)) {
        let entry = keys::emergency_of_index(&row?.0);
        let (height, id) = entry.ok_or_else(|| StorageError::corrupt("index", "has no emergency"))?;
        if height > last {
            break;
        }
        if found.len() >= EMERGENCIES_MAX && height > reached {
            return Ok((found, reached));
        }
        found.insert(id);
        reached = height;
    }
    Ok((found, last))
}

/// Whom an emergency concerns.
struct Audience<'a> {
    ledger: &'a LedgerSnapshot<'a>,
    reader: &'a SpiffeId,
    /// Whether the reader's member registered a patient, or has written records of it.
    concerned: BTreeMap<PatientPseudonym, bool>,
}

impl Audience<'_> {
    fn includes_reader(&mut self, emergency: &EmergencyState) -> Result<bool, StorageError> {
        let corrupt = |e: &dyn std::fmt::Display| StorageError::corrupt("emergency", e.to_string());
        let declared_by: SpiffeId = emergency.reader.parse().map_err(|e| corrupt(&e))?;
        let id = PatientPseudonym::parse("patient", &emergency.patient).map_err(|e| corrupt(&e))?;
        let patient: PatientState = self.ledger.state(&keys::patient(&id))?.unwrap_or_default();
        let accepted = speaks_for(self.ledger, &patient, self.reader)?;
        let what = What::Emergency(Emergency {
            declared_by: declared_by.member().as_str(),
            concerns_member: self.is_concerned(id, &patient)?,
            patient: Patient { accepted },
        });
        Ok(decide(&access::Request { reader: self.reader, what }).allows())
    }

    fn is_concerned(&mut self, id: PatientPseudonym, patient: &PatientState) -> Result<bool, StorageError> {
        let member = self.reader.member().as_str();
        if self.reader.role() != Role::Auditor || patient.member == member {
            return Ok(patient.member == member);
        }
        if let Some(known) = self.concerned.get(&id) {
            return Ok(*known);
        }
        // By the patient's lists and who has written into them, however many records are in them.
        let prefix = keys::index_writers(&id);
        let mut keeps = false;
        for row in self.ledger.scan(Table::Index, &prefix, &prefix) {
            let (key, _) = row?;
            let (_, writer) = keys::writer_of_index(&key).ok_or_else(|| corrupt_index("has no member"))?;
            keeps |= writer == member;
            if keeps {
                break;
            }
        }
        self.concerned.insert(id, keeps);
        Ok(keeps)
    }
}

fn corrupt_index(what: &str) -> StorageError {
    StorageError::corrupt("index", what)
}

/// An emergency with its text, for who may have it: empty if there is none, or it was erased;
/// `None` if it is not on this node.
pub(super) fn sealed_text(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    id: &EmergencyId,
) -> Result<Option<(ProvenRow, Option<Bytes>)>, StorageError> {
    let key = keys::emergency(id);
    let Some(state) = ledger.state::<EmergencyState>(&key)? else { return Ok(None) };
    let declared_by: SpiffeId = state.reader.parse().map_err(|e| StorageError::corrupt("emergency", e))?;
    let declared_by = declared_by.member().as_str();
    let custody: Option<CustodyState> = ledger.state(&keys::custody(declared_by))?;
    let custodian = custody.as_ref().map(|custody| custody.custodian.as_str());
    if !decide(&access::Request { reader, what: What::EmergencyText { declared_by, custodian } }).allows() {
        return Ok(None);
    }
    let slot = Slot::EmergencyText { emergency: *id };
    let (table, place) = keys::attachment(&slot);
    let text = ledger.read(table, &place)?;
    let wanted = is_wanted(ledger, &slot).map_err(|e| StorageError::corrupt("attachment", e))?;
    let gone = state.text_sha256.is_empty() || !wanted;
    Ok(Some((prove(ledger, key)?, text.or_else(|| gone.then(Bytes::new)))))
}

#[cfg(test)]
mod tests;
