//! What a node may hand out for a request for access: what its event permits, to whoever made
//! it, once the event's block is certified, and not for ever. Any node does, and none decides
//! anything by itself (guarantee G6). No rule of the ledger depends on this.

use std::collections::BTreeSet;

use consilium_proto::access::{PolicyRules, permits};
use consilium_proto::ids::{Fingerprint, Height, RecordId, TimeMs, TransactionId};
use consilium_proto::limits::RELEASE_WINDOW_MS;
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{AccessEvent, AccessGround, RecordState, RetractionReason, SignerState};
use consilium_proto::transaction::{RequestAccess, VersionRef};
use prost::Message;

use super::{Decider, Reading};
use crate::actions::admit;
use crate::keys;
use crate::log;
use crate::roster::corrupt;
use crate::rules::Refusal;
use crate::table::Table;
use crate::view::{Location, StateReader, StoreFault, View};

/// Somebody wants what a request permitted, and how far the node is that was asked.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The request's transaction.
    pub transaction: TransactionId,
    /// Who signed it.
    pub author: Fingerprint,
    /// To whom the answer goes.
    pub reader: &'a SpiffeId,
    /// The highest height that is certified here.
    pub certified: Height,
    /// Time of the newest block here.
    pub time: TimeMs,
}

/// An event whose contents may be handed out.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// What was decided.
    pub event: AccessEvent,
    /// The versions that it permits, but for those of records that were filed wrongly.
    pub versions: BTreeSet<VersionRef>,
}

impl Opened {
    /// Whether anything is permitted, be it that each record of a query is decided by itself.
    #[must_use]
    pub fn permits(&self) -> bool {
        self.event.decisions.iter().any(|decision| permits(decision.ground()))
    }
}

/// Why nothing is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// No block that is certified here holds an event of it.
    NoEvent,
    /// Another one made it.
    NotTheReaders,
    /// Whoever made it has lost its rights since.
    NotStanding,
    /// It was decided too long ago.
    Ended,
}

/// What a request opens here and now.
///
/// # Errors
/// If the store fails, or lacks what it must hold.
pub fn open<R: StateReader>(reader: &R, claim: &Claim<'_>) -> Result<Result<Opened, Withheld>, StoreFault> {
    let Some(event) = certified_event(reader, claim)? else { return Ok(Err(Withheld::NoEvent)) };
    if event.reader != claim.reader.to_string() {
        return Ok(Err(Withheld::NotTheReaders));
    }
    if let Some(withheld) = withheld(&View::new(reader), claim)? {
        return Ok(Err(withheld));
    }
    if claim.time.0 >= event.time_ms.saturating_add(RELEASE_WINDOW_MS) {
        return Ok(Err(Withheld::Ended));
    }
    let mut versions = BTreeSet::new();
    for decision in event.decisions.iter().filter(|decision| permits(decision.ground())) {
        let speaks = matches!(decision.ground(), AccessGround::Patient | AccessGround::Representative);
        for version in &decision.records {
            let version = VersionRef::try_from(version).map_err(|e| corrupt(format!("log: {e}")))?;
            if !is_closed(&View::new(reader), &version.record, speaks)? {
                versions.insert(version);
            }
        }
    }
    Ok(Ok(Opened { event, versions }))
}

/// What a request opens that is not on the ledger yet and cannot come there now: versions that
/// the reader's own member wrote and that are permitted by this state. For its services and
/// clinicians; the node keeps the request before it hands out anything.
///
/// # Errors
/// As [`open`].
pub fn open_late<R: StateReader>(
    reader: &R,
    policy: &dyn PolicyRules,
    (claim, request): (&Claim<'_>, &RequestAccess),
) -> Result<Result<BTreeSet<VersionRef>, Withheld>, StoreFault> {
    if let Some(withheld) = withheld(&View::new(reader), claim)? {
        return Ok(Err(withheld));
    }
    let reading = Reading {
        reader: claim.reader,
        patient: request.patient,
        kind: request.kind,
        purpose: request.purpose,
        project: request.project,
        emergency: request.emergency,
        time: claim.time,
    };
    let mut decider = Decider::new(reader, policy, reading)?;
    let mut opened = BTreeSet::new();
    for asked in &request.records {
        let state: Option<RecordState> = View::new(reader).message(Table::State, &keys::record(&asked.record))?;
        let is_own = state.is_some_and(|state| state.member == claim.reader.member().as_str());
        let (decided, version) = decider.decide(reader, &asked.record, asked.version)?;
        if let Some(version) = version.filter(|_| is_own && decided.permits()) {
            opened.insert(VersionRef { record: asked.record, version: version.version });
        }
    }
    Ok(Ok(opened))
}

/// Why the one who claims is answered nothing at all.
fn withheld<R: StateReader>(view: &View<'_, R>, claim: &Claim<'_>) -> Result<Option<Withheld>, StoreFault> {
    let signer: Option<SignerState> = view.message(Table::State, &keys::signer(&claim.author))?;
    let name = claim.reader.to_string();
    let Some(signer) = signer.filter(|signer| signer.spiffe_id == name) else {
        return Ok(Some(Withheld::NotTheReaders));
    };
    match admit(view, claim.time, &signer) {
        Ok(_) => Ok(None),
        Err(Refusal::Rejected(_)) => Ok(Some(Withheld::NotStanding)),
        Err(Refusal::Fault(fault)) => Err(fault),
    }
}

/// Whether a record has turned out to be somebody else's, maybe since it was decided: to who speaks for
/// the patient only once that is confirmed.
fn is_closed<R: StateReader>(view: &View<'_, R>, record: &RecordId, speaks: bool) -> Result<bool, StoreFault> {
    let state: Option<RecordState> = view.message(Table::State, &keys::record(record))?;
    Ok(state.is_some_and(|state| {
        let misfiled = state.retraction_reason() == RetractionReason::WrongPatient;
        misfiled && (!speaks || !state.retraction_confirmed_by.is_empty())
    }))
}

/// The event of the claim's transaction, if its block is certified.
fn certified_event<R: StateReader>(reader: &R, claim: &Claim<'_>) -> Result<Option<AccessEvent>, StoreFault> {
    let row = reader.get(Table::Transactions, &keys::transaction(&claim.transaction))?;
    let location = row.map(|row| Location::decode(&row)).transpose()?;
    let location = location.filter(|location| location.height <= claim.certified);
    let Some(place) = location.and_then(|location| location.log) else { return Ok(None) };
    let entry = log::entry(reader, &place.log, place.place)?.ok_or_else(|| corrupt("a log lacks an entry"))?;
    AccessEvent::decode(entry).map(Some).map_err(|e| corrupt(format!("log: {e}")))
}
