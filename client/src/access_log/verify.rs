//! Answers of `AccessService` held against a header that is final. Pure: what a node may say, and
//! nothing of how it was asked.

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_proto::consent::Grant;
use consilium_proto::error::{FieldError, fixed, length_in};
use consilium_proto::hash::{Hash, sha256};
use consilium_proto::header::Header;
use consilium_proto::ids::{ConsentId, PatientPseudonym, TimeMs, TransactionId};
use consilium_proto::limits::{BODY_BYTES_MAX, SEAL_AHEAD_MAX_MS};
use consilium_proto::merkle::{InclusionProof, empty_root, leaf_hash, verify_inclusion};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::patient::members_shown_to;
use consilium_proto::pb;
use consilium_proto::state::{self, CareName, SaltName, keys};
use consilium_proto::state_tree::{StateProof, Terminal, verify_state_proof};
use prost::Message;

use super::pages::LogPages;
use super::{
    AccessEvent, AccessLog, KeptLog, KnownConsent, LogFault, MemberCare, MemberSalts, PatientRows, ProvenDecision,
    SealedEntry,
};
use crate::error::{ClientError, Unverified};

/// A patient's log, page by page.
pub(crate) struct Pages {
    patient: PatientPseudonym,
    log: LogPages,
    events: Vec<AccessEvent>,
    sealed: Vec<SealedEntry>,
    /// Until when one of these is sealed that is sealed longest.
    longest: Option<SealedEntry>,
    /// Of the events.
    seals: Vec<SealedEntry>,
}

impl Pages {
    pub(crate) fn new(patient: PatientPseudonym, kept: KeptLog) -> Self {
        let (events, sealed, seals) = (Vec::new(), Vec::new(), Vec::new());
        Self { patient, log: LogPages::new(kept), events, sealed, longest: None, seals }
    }

    /// The number of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.log.known().count
    }

    /// Adds an answer to the question for the events from [`Self::next`] on. True: that was the
    /// last one, and all of them together are proven to be the log.
    pub(crate) fn add(&mut self, answer: &pb::GetAccessLogResponse, header: &Header) -> Result<bool, ClientError> {
        let row = log_row(&keys::access_log(&self.patient), answer.log.as_ref(), header)?;
        self.log.grow(row, &answer.consistency_path)?;
        self.append_all(answer, header)?;
        let whole = self.log.is_whole()?;
        if answer.events.is_empty() && answer.sealed.is_empty() && !whole {
            return Err(LogFault::Count { count: row.0, shown: self.next() }.into());
        }
        Ok(whole)
    }

    /// Entries and those that are sealed, by their places.
    fn append_all(&mut self, answer: &pb::GetAccessLogResponse, header: &Header) -> Result<(), ClientError> {
        let sealed = answer.sealed.iter().map(SealedEntry::try_from).collect::<Result<Vec<_>, _>>()?;
        let (mut sealed, mut events) = (sealed.into_iter().peekable(), answer.events.iter());
        loop {
            let place = self.next();
            if let Some(entry) = sealed.next_if(|entry| entry.sequence == place) {
                self.append_sealed(entry, header)?;
            } else if let Some(event) = events.next() {
                self.append(place, event)?;
            } else {
                return match sealed.next() {
                    Some(entry) => Err(LogFault::OutOfPlace { place, sequence: entry.sequence }.into()),
                    None => Ok(()),
                };
            }
        }
    }

    /// A seal that is over is none, nor one that lasts longer than a year.
    fn append_sealed(&mut self, entry: SealedEntry, header: &Header) -> Result<(), ClientError> {
        if entry.until <= header.time || !is_lawful(&entry, header.time) {
            return Err(LogFault::SealRefused { place: entry.sequence, until_ms: entry.until.0 }.into());
        }
        self.log.append_leaf(entry.leaf)?;
        if self.longest.as_ref().is_none_or(|longest| longest.until < entry.until) {
            self.longest = Some(entry);
        }
        self.sealed.push(entry);
        Ok(())
    }

    fn append(&mut self, place: u64, entry: &Bytes) -> Result<(), ClientError> {
        let event = decode_event(entry)?;
        if event.sequence != place {
            return Err(LogFault::OutOfPlace { place, sequence: event.sequence }.into());
        }
        if event.patient != self.patient {
            return Err(LogFault::Other { place }.into());
        }
        // What stands before an entry is not later than it.
        if let Some(long) = self.longest.as_ref().filter(|longest| !is_lawful(longest, event.time)) {
            return Err(LogFault::SealRefused { place: long.sequence, until_ms: long.until.0 }.into());
        }
        self.log.append(entry)?;
        let seal = |until| SealedEntry { sequence: place, leaf: leaf_hash(entry), until };
        self.seals.extend(event.sealed_until.map(seal));
        self.events.push(event);
        Ok(())
    }

    /// Once all is there.
    pub(crate) fn into_log(self, header: Header) -> AccessLog {
        let (from, KeptLog { count, root }) = (self.log.kept().count, self.log.known());
        let Self { patient, events, sealed, seals, .. } = self;
        AccessLog { patient, from, events, sealed, seals, opened: Vec::new(), count, root, header }
    }
}

/// Whether an entry of at most this time may be sealed for so long.
fn is_lawful(entry: &SealedEntry, time: TimeMs) -> bool {
    entry.until.0 <= time.0.saturating_add(SEAL_AHEAD_MAX_MS)
}

/// An entry that was sealed, now that its time is over: what its hash was kept of, and sealed until
/// then.
pub(super) fn opened(
    sealed: &SealedEntry,
    patient: &PatientPseudonym,
    answer: &pb::GetAccessLogResponse,
) -> Result<AccessEvent, ClientError> {
    let not_opened = || LogFault::NotOpened { place: sealed.sequence };
    let entry = answer.events.first().filter(|entry| leaf_hash(entry) == sealed.leaf).ok_or_else(not_opened)?;
    let event = decode_event(entry)?;
    let same =
        event.sequence == sealed.sequence && event.patient == *patient && event.sealed_until == Some(sealed.until);
    if same { Ok(event) } else { Err(not_opened().into()) }
}

/// A decision: the event is of that request, and in a log in which it belongs.
pub(super) fn decision(
    id: TransactionId,
    answer: &pb::GetDecisionResponse,
    header: Header,
) -> Result<ProvenDecision, ClientError> {
    let event = decode_event(&answer.event)?;
    if event.transaction_id != id {
        return Err(LogFault::Other { place: event.sequence }.into());
    }
    let shown = answer.log.as_ref().map(|row| &row.key[..]).unwrap_or_default();
    let unmatched_key = keys::unmatched_log(event.reader.member().as_str());
    let unmatched = shown == unmatched_key;
    let key = if unmatched { unmatched_key } else { keys::access_log(&event.patient) };
    let (count, root) = log_row(&key, answer.log.as_ref(), &header)?;
    let not_in_log = |why| ClientError::from(LogFault::NotInLog(why));
    let proof = InclusionProof::new(event.sequence, count, hashes("path", &answer.path)?).map_err(not_in_log)?;
    verify_inclusion(&leaf_hash(&answer.event), &proof, &root).map_err(not_in_log)?;
    Ok(ProvenDecision { event, unmatched, header })
}

/// The rows of a patient, each under its own key.
pub(super) fn patient_rows(
    patient: PatientPseudonym,
    reader: &SpiffeId,
    answer: &pb::GetPatientResponse,
    header: Header,
) -> Result<PatientRows, ClientError> {
    let state: Option<pb::PatientState> = message(&keys::patient(&patient), answer.patient.as_ref(), &header)?;
    let list: Option<pb::ConsentListState> =
        message(&keys::consent_list(&patient), answer.consent_list.as_ref(), &header)?;
    let listed = list.unwrap_or_default().consents;
    if listed.len() != answer.consents.len() {
        let count = listed.len() as u64;
        return Err(LogFault::Count { count, shown: answer.consents.len() as u64 }.into());
    }
    let consents = listed.iter().zip(&answer.consents).map(|(entry, row)| {
        let id = ConsentId::parse("consent_id", &entry.consent_id)?;
        consent(id, patient, row, &header)
    });
    let consents = consents.collect::<Result<_, ClientError>>()?;
    let names = keys::record_lists(&patient);
    let lists = match &answer.record_lists {
        None => None,
        Some(row) => {
            let names: Option<pb::RecordListsState> = message(&names, Some(row), &header)?;
            Some(names.unwrap_or_default().lists)
        }
    };
    let salts = salts(patient, members_shown_to(reader, state.as_ref(), header.time), answer, &header)?;
    let care = care(patient, answer, &header)?;
    if care.is_none() && reader.role() == Role::Auditor {
        return Err(ClientError::contradiction("an auditor is not shown under whose care the patient is"));
    }
    let salt_wraps = answer.salt_wraps.clone();
    Ok(PatientRows { patient, state, consents, lists, care, salts, salt_wraps, header })
}

/// What the members of the roster say of their care, none left out.
fn care(
    patient: PatientPseudonym,
    answer: &pb::GetPatientResponse,
    header: &Header,
) -> Result<Option<Vec<MemberCare>>, ClientError> {
    let Some(roster) = &answer.roster else { return Ok(None) };
    let roster: Option<pb::RosterState> = message(&keys::roster(), Some(roster), header)?;
    let members = roster.unwrap_or_default().members;
    if members.len() != answer.care.len() {
        let (count, shown) = (members.len() as u64, answer.care.len() as u64);
        return Err(LogFault::Count { count, shown }.into());
    }
    let rows = members.into_iter().zip(&answer.care).map(|(member, row)| {
        let state: Option<pb::CareState> = message(&keys::care(&CareName::new(patient, &member)), Some(row), header)?;
        Ok(state.map(|state| MemberCare { member, state }))
    });
    Ok(Some(rows.filter_map(Result::transpose).collect::<Result<_, ClientError>>()?))
}

/// The salts of these members, none left out; and nothing is wrapped that they do not commit to.
fn salts(
    patient: PatientPseudonym,
    members: BTreeSet<String>,
    answer: &pb::GetPatientResponse,
    header: &Header,
) -> Result<Vec<MemberSalts>, ClientError> {
    if members.len() != answer.salts.len() {
        let (count, shown) = (members.len() as u64, answer.salts.len() as u64);
        return Err(LogFault::Count { count, shown }.into());
    }
    let mut out = Vec::new();
    for (member, row) in members.into_iter().zip(&answer.salts) {
        let place = keys::patient_salt(&SaltName::new(patient, &member));
        let state: Option<pb::PatientSaltState> = message(&place, Some(row), header)?;
        out.push(MemberSalts { member, salts: state.unwrap_or_default().salts });
    }
    let kept = || out.iter().flat_map(|member| &member.salts).flat_map(|salt| &salt.keepers);
    let committed = |wrap: &Bytes| kept().any(|keeper| sha256(&[wrap]) == keeper.wrap_sha256[..]);
    match answer.salt_wraps.iter().all(committed) {
        true => Ok(out),
        false => Err(ClientError::contradiction("the node shows a wrap of a salt that nobody committed to")),
    }
}

fn consent(
    id: ConsentId,
    patient: PatientPseudonym,
    row: &pb::ProvenRow,
    header: &Header,
) -> Result<KnownConsent, ClientError> {
    let state: Option<pb::ConsentState> = message(&keys::consent(&id), Some(row), header)?;
    let state = state.filter(|state| state.patient == patient.0[..]);
    let state = state.ok_or_else(|| LogFault::OtherRow(state::describe(&keys::consent(&id))))?;
    let grant = Grant::parse(state.grant.as_ref().ok_or_else(|| FieldError::missing("grant"))?)?;
    Ok(KnownConsent { id, state, grant })
}

impl PatientRows {
    /// The pseudonyms that are linked with it now, each with the members that say so.
    pub(super) fn links(&self) -> Result<Vec<(PatientPseudonym, Vec<String>)>, FieldError> {
        let mut links: Vec<(PatientPseudonym, Vec<String>)> = Vec::new();
        let now = self.state.iter().flat_map(|state| &state.links).filter(|link| link.to_height == 0);
        for link in now {
            let other = PatientPseudonym::parse("links.other", &link.other)?;
            match links.iter_mut().find(|(known, _)| *known == other) {
                Some((_, members)) => members.push(link.member.clone()),
                None => links.push((other, vec![link.member.clone()])),
            }
        }
        Ok(links)
    }
}

fn decode_event(entry: &Bytes) -> Result<AccessEvent, FieldError> {
    // An entry says hardly more than the transaction that left it.
    length_in("event", entry.len(), 0, BODY_BYTES_MAX)?;
    let event = pb::AccessEvent::decode(entry.clone());
    let event = event.map_err(|_| FieldError::malformed("event", "is not an AccessEvent"))?;
    AccessEvent::try_from(&event).map_err(|e| e.within("event"))
}

/// How many entries a log has, and its root.
pub(crate) fn log_row(key: &[u8], row: Option<&pb::ProvenRow>, header: &Header) -> Result<(u64, Hash), ClientError> {
    let Some(state) = message::<pb::LogState>(key, row, header)? else { return Ok((0, empty_root())) };
    Ok((state.count, fixed("root", &state.root).map(Hash::from_bytes)?))
}

/// The message of a row under its key; `None` if it is proven that there is no such row.
pub(crate) fn message<M: Message + Default>(
    key: &[u8],
    row: Option<&pb::ProvenRow>,
    header: &Header,
) -> Result<Option<M>, ClientError> {
    let row = row.filter(|row| row.key == key).ok_or_else(|| LogFault::OtherRow(state::describe(key)))?;
    let not_proven = |why: String| ClientError::from(LogFault::Row { row: state::describe(key), why });
    let proof = StateProof::decode(&row.proof).map_err(|e| not_proven(e.to_string()))?;
    // A row that is there may be empty, too: the proof says which it is.
    let there = !row.value.is_empty() || *proof.terminal() == Terminal::Present;
    let value = there.then_some(&row.value[..]);
    verify_state_proof(&header.state_root, key, value, &proof).map_err(|e| not_proven(e.to_string()))?;
    value.map(M::decode).transpose().map_err(|e| not_proven(e.to_string()))
}

pub(crate) fn hashes(field: &str, path: &[Bytes]) -> Result<Vec<Hash>, FieldError> {
    path.iter().map(|hash| fixed(field, hash).map(Hash::from_bytes)).collect()
}

impl From<LogFault> for ClientError {
    fn from(fault: LogFault) -> Self {
        Self::Verification(Unverified::Log(fault))
    }
}
