//! Custody: what a member's people write is wrapped for the member's custody key, too, so
//! that it can be opened for those whom the patient lets read it. Requests for access that are
//! permitted ask the custodian for wraps; it adds them, or drops what is not permitted any
//! more. All of it is judged from the state, and never from what is stored of wraps.

use bytes::Bytes;
use consilium_proto::ids::{EmergencyId, KeyId, PatientPseudonym, ProjectTag, RecordId, TimeMs};
use consilium_proto::limits::CUSTODY_OVERLAP_MS;
use consilium_proto::names::{MemberId, Role, SpiffeId};
use consilium_proto::pb::{
    AccessKind, CustodyState, CustodyWorkState, EncryptionKeyState, Outcome, RecordState, RecordVersion,
    WrapRequestState, WrapState,
};
use consilium_proto::state::{WrapName, WrapRequestName};
use consilium_proto::transaction::{AddWraps, OwedWrap, RequestAccess, Rewrap, VersionRef, WriteRecord};

use super::{Author, Context, recipients};
use crate::custody::{self, Held, Holding, Owed};
use crate::keys;
use crate::rights::{Decider, Reading, load_patient};
use crate::roster::corrupt;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// Names the member's custody key, in the place of one before.
pub(super) fn set<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    key: &KeyId,
) -> Result<(), Refusal> {
    author.ensure_admin()?;
    let enrolled: Option<EncryptionKeyState> = view.message(Table::State, &keys::encryption_key(key))?;
    let enrolled = enrolled.ok_or(Refusal::Rejected(Outcome::UnknownRecipient))?;
    let owner: SpiffeId = enrolled.spiffe_id.parse().map_err(|e| corrupt(format!("encryption key: {e}")))?;
    let fits = owner.member() == author.id.member() && owner.role() == Role::Service;
    ensure(fits, Outcome::CustodianRefused)?;
    let place = keys::custody(author.member());
    let before: Option<CustodyState> = view.message(Table::State, &place)?;
    let before = match before {
        // Named again: what came before it counts no longer than it did.
        Some(before) if before.encryption_key_id == key.as_bytes()[..] => return Ok(()),
        Some(before) => before,
        None => CustodyState { first_height: cx.height.0, ..CustodyState::default() },
    };
    let state = CustodyState {
        encryption_key_id: key.to_bytes(),
        custodian: enrolled.spiffe_id,
        since_ms: cx.time.0,
        previous_key_id: before.encryption_key_id.clone(),
        ..before
    };
    view.put_message(Table::State, place, &state);
    Ok(custody::begin_all(view, author.member(), cx.height)?)
}

/// Refuses a version that the custodian of the author's member could not open, and counts it among
/// those of the member whose record it is: that one's, or of one whose records it keeps. Where there
/// is no custodian only what is about no registered patient is written: what a patient lets others
/// read, somebody must be able to open for them.
pub(super) fn take_in<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    (member, write): (&str, &WriteRecord),
) -> Result<(), Refusal> {
    let Some(custody) = custody::load(view, author.member())? else {
        return ensure(load_patient(view, &write.patient)?.is_none(), Outcome::CustodianMissing);
    };
    let own = CustodyKeys::of(&custody, cx.time);
    ensure(write.wraps.iter().any(|wrap| own.are(&wrap.recipient)), Outcome::CustodyWrapMissing)?;
    let recipients = write.wraps.iter().map(|wrap| wrap.recipient);
    Ok(custody::count_written(view, member, recipients, cx.height)?)
}

/// The custody keys for which a member's people may write now.
struct CustodyKeys {
    newest: Bytes,
    /// The one before, as long as it counts.
    previous: Bytes,
}

impl CustodyKeys {
    fn of(custody: &CustodyState, time: TimeMs) -> Self {
        let overlaps = time.0 < custody.since_ms.saturating_add(CUSTODY_OVERLAP_MS);
        let previous = if overlaps { custody.previous_key_id.clone() } else { Bytes::new() };
        Self { newest: custody.encryption_key_id.clone(), previous }
    }

    /// Whether a key is one of them.
    fn are(&self, key: &KeyId) -> bool {
        [&self.newest, &self.previous].into_iter().any(|own| own[..] == key.as_bytes()[..])
    }
}

/// Whether a key is a custody key of a member, or of the deputy that it has named.
pub(super) fn keeps<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    member: &str,
    key: &KeyId,
) -> Result<bool, StoreFault> {
    let custody: Option<CustodyState> = view.message(Table::State, &keys::custody(member))?;
    let Some(custody) = custody else { return Ok(false) };
    let deputy: Option<CustodyState> = match custody.deputy.is_empty() {
        true => None,
        false => view.message(Table::State, &keys::custody(&custody.deputy))?,
    };
    Ok(std::iter::once(&custody).chain(&deputy).any(|custody| CustodyKeys::of(custody, cx.time).are(key)))
}

/// A permitted request, as far as it is the same for all records.
pub(super) struct Wanted<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) reader: &'a SpiffeId,
    pub(super) request: &'a RequestAccess,
    pub(super) key: KeyId,
}

impl Wanted<'_> {
    /// Asks the custodian of a version for its key, unless it is wrapped for the reader's key, or
    /// asked for, already. Where the member has no custodian nobody can.
    ///
    /// A request that waits gives its place to one that the custodian may answer where it could
    /// not: to an emergency, which no limit holds up and a deputy may answer, and to whatever is
    /// permitted when the older one is not any more.
    pub(super) fn ask<R: StateReader>(
        &self,
        view: &mut View<'_, R>,
        id: &RecordId,
        version: &RecordVersion,
    ) -> Result<(), StoreFault> {
        let wrapped = version.wraps.iter().any(|wrap| wrap.recipient_key_id == self.key.as_bytes()[..]);
        let place = keys::wrap_state(&WrapName { record: *id, version: version.version, recipient: self.key });
        if wrapped {
            return Ok(());
        }
        let waiting: Option<WrapState> = view.message(Table::State, &place)?;
        if waiting.as_ref().is_some_and(|wrap| !wrap.wrap_sha256.is_empty()) {
            return Ok(());
        }
        // Who has written the version may be of the member that keeps the record.
        let record: Option<RecordState> = view.message(Table::State, &keys::record(id))?;
        let member = &record.ok_or_else(|| corrupt("a version is of no record"))?.member[..];
        if view.get(Table::State, &keys::custody(member))?.is_none() {
            return Ok(());
        }
        if let Some(waiting) = waiting {
            let place = keys::wrap_request(&WrapRequestName::new(member, waiting.request));
            let before: Option<WrapRequestState> = view.message(Table::State, &place)?;
            let before = before.ok_or_else(|| corrupt("a wrap that is asked for has no request"))?;
            if self.comes_before(view, &before)? {
                unindex(view, (member, waiting.request), &before);
                put_request(view, (member, waiting.request), &self.describe(id, version));
            }
            return Ok(());
        }
        enlist(view, member, place, &self.describe(id, version))
    }

    fn comes_before<R: StateReader>(&self, view: &View<'_, R>, before: &WrapRequestState) -> Result<bool, StoreFault> {
        let sooner = self.request.emergency.is_some() && before.emergency_id.is_empty();
        Ok(sooner || !is_permitted(view, self.cx, before)?)
    }

    fn describe(&self, id: &RecordId, version: &RecordVersion) -> WrapRequestState {
        let Self { cx, reader, request, key } = self;
        let copy = |id: &[u8; 16]| Bytes::copy_from_slice(id);
        WrapRequestState {
            record_id: copy(&id.0),
            version: version.version,
            reader: reader.to_string(),
            recipient_key_id: key.to_bytes(),
            transaction_id: cx.transaction.id.to_bytes(),
            patient: copy(&request.patient.0),
            purpose: request.purpose.into(),
            kind: request.kind.into(),
            emergency_id: request.emergency.map(|id| copy(&id.0)).unwrap_or_default(),
            project: request.project.map(|id| copy(&id.0)).unwrap_or_default(),
            time_ms: cx.time.0,
            owed: false,
        }
    }
}

/// Puts a request for a wrap that nobody has asked for yet behind all others.
fn enlist<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    place: Vec<u8>,
    wanted: &WrapRequestState,
) -> Result<(), StoreFault> {
    let mut work = load_work(view, member)?;
    let request = work.next;
    (work.next, work.open) = (work.next.saturating_add(1), work.open.saturating_add(1));
    view.put_message(Table::State, keys::custody_work(member), &work);
    view.put_message(Table::State, place, &WrapState { request, ..WrapState::default() });
    put_request(view, (member, request), wanted);
    Ok(())
}

/// Puts a request on a member's list.
fn put_request<R: StateReader>(view: &mut View<'_, R>, (member, number): (&str, u64), request: &WrapRequestState) {
    view.put_message(Table::State, keys::wrap_request(&WrapRequestName::new(member, number)), request);
    if !request.emergency_id.is_empty() {
        view.put(Table::Index, keys::index_entry(keys::index_emergency_requests(member), number), Bytes::new());
    }
}

/// A request is for an emergency no more.
fn unindex<R: StateReader>(view: &mut View<'_, R>, (member, number): (&str, u64), before: &WrapRequestState) {
    if !before.emergency_id.is_empty() {
        view.remove(Table::Index, keys::index_entry(keys::index_emergency_requests(member), number));
    }
}

fn load_work<R: StateReader>(view: &View<'_, R>, member: &str) -> Result<CustodyWorkState, StoreFault> {
    Ok(view.message(Table::State, &keys::custody_work(member))?.unwrap_or_default())
}

/// Answers requests, as the custodian of the author's member, or in the place of another one.
pub(super) fn add_wraps<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    add: &AddWraps,
) -> Result<(), Refusal> {
    let member = add.member.as_ref().map_or(author.member(), MemberId::as_str);
    let (own, keepers) = (Some(author.id.to_string()), custody::keepers_over(view, member)?);
    let list = List { member, emergencies_only: own != keepers.keeper || add.emergency };
    let answers_only = add.rewraps.is_empty() && add.owed.is_empty();
    ensure(own == keepers.keeper || (own == keepers.deputy && answers_only), Outcome::CustodianRefused)?;
    for wrap in &add.wraps {
        let request = list.take(view, wrap.request)?;
        let asked = request.record_id == wrap.version.record.0[..]
            && request.version == wrap.version.version
            && request.recipient_key_id == wrap.recipient.as_bytes()[..];
        ensure(asked, Outcome::WrapNotRequested)?;
        ensure(is_permitted(view, cx, &request)?, Outcome::AccessEnded)?;
        let VersionRef { record, version } = wrap.version;
        let name = WrapName { record, version, recipient: wrap.recipient };
        put_wrap(view, cx, member, name, wrap.wrap_hash.to_bytes())?;
    }
    for number in &add.dropped {
        let request = list.take(view, *number)?;
        ensure(!is_permitted(view, cx, &request)?, Outcome::AccessEnded)?;
        let place = keys::wrap_state(&name_of(&request)?);
        let state: Option<WrapState> = view.message(Table::State, &place)?;
        if state.is_none_or(|state| state.wrap_sha256.is_empty()) {
            view.remove(Table::State, place);
        }
    }
    add.rewraps.iter().try_for_each(|wrap| rewrap(view, cx, member, wrap))?;
    add.owed.iter().try_for_each(|wrap| owe(view, cx, member, wrap))
}

/// Asks for a wrap in the place of whom it is owed to.
fn owe<R: StateReader>(view: &mut View<'_, R>, cx: &Context<'_>, member: &str, wrap: &OwedWrap) -> Result<(), Refusal> {
    let OwedWrap { version: VersionRef { record: id, version: number }, recipient } = wrap;
    let (record, version) = kept_version(view, member, &wrap.version)?;
    let owed = Owed { record: &record, id, version: &version, time: cx.time };
    let wanted = WrapRequestState {
        record_id: Bytes::copy_from_slice(&id.0),
        version: *number,
        reader: owed.ensure_owed(view, recipient)?,
        recipient_key_id: recipient.to_bytes(),
        transaction_id: cx.transaction.id.to_bytes(),
        patient: record.patient.clone(),
        kind: AccessKind::Read.into(),
        time_ms: cx.time.0,
        owed: true,
        ..WrapRequestState::default()
    };
    let name = WrapName { record: *id, version: *number, recipient: *recipient };
    Ok(enlist(view, member, keys::wrap_state(&name), &wanted)?)
}

/// A version of a record that a member keeps.
fn kept_version<R: StateReader>(
    view: &View<'_, R>,
    member: &str,
    named: &VersionRef,
) -> Result<(RecordState, RecordVersion), Refusal> {
    let state: Option<RecordState> = view.message(Table::State, &keys::record(&named.record))?;
    let version: Option<RecordVersion> = view.message(Table::Versions, &keys::version(&named.record, named.version))?;
    let kept = state.filter(|state| state.member == member).zip(version);
    kept.ok_or(Refusal::Rejected(Outcome::WrapNotRequested))
}

/// Wraps a version for the newest custody key of the member that keeps it, or of its deputy, or
/// counts it: nobody reads it by that, and so no permit is needed.
fn rewrap<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    member: &str,
    rewrap: &Rewrap,
) -> Result<(), Refusal> {
    let Rewrap { version: VersionRef { record, version: number }, recipient, wrap_hash } = rewrap;
    let (_, version) = kept_version(view, member, &rewrap.version)?;
    ensure(custody::wanted_keys(view, member)?.contains(recipient), Outcome::WrapNotRequested)?;
    let left = match Holding::over(view, member, *recipient)?.held_over(view, record, &version)? {
        Held::Left => wrap_hash.is_some(),
        Held::Uncounted => wrap_hash.is_none(),
        Held::Done => false,
    };
    ensure(left, Outcome::WrapNotRequested)?;
    let name = WrapName { record: *record, version: *number, recipient: *recipient };
    withdraw(view, member, &name)?;
    let hash = match wrap_hash {
        Some(hash) => hash.to_bytes(),
        None => wrapped_hash(view, &name, &version)?,
    };
    Ok(put_wrap(view, cx, member, name, hash)?)
}

/// Takes the request for a wrap that is made unasked off the list: a second wrap would take the
/// place of the one to which an earlier block commits.
fn withdraw<R: StateReader>(view: &mut View<'_, R>, member: &str, name: &WrapName) -> Result<(), StoreFault> {
    let asked = custody::added(view, &name.record, name.version, &name.recipient)?;
    let Some(asked) = asked.filter(|asked| asked.wrap_sha256.is_empty()) else { return Ok(()) };
    let place = keys::wrap_request(&WrapRequestName::new(member, asked.request));
    let request: Option<WrapRequestState> = view.message(Table::State, &place)?;
    let request = request.ok_or_else(|| corrupt("a wrap that is asked for has no request"))?;
    close(view, (member, asked.request), &request)
}

/// One request less is open.
fn close<R: StateReader>(
    view: &mut View<'_, R>,
    (member, number): (&str, u64),
    request: &WrapRequestState,
) -> Result<(), StoreFault> {
    view.remove(Table::State, keys::wrap_request(&WrapRequestName::new(member, number)));
    unindex(view, (member, number), request);
    let mut work = load_work(view, member)?;
    work.open = work.open.saturating_sub(1);
    view.put_message(Table::State, keys::custody_work(member), &work);
    Ok(())
}

/// The hash of the wrap that a version has.
fn wrapped_hash<R: StateReader>(
    view: &View<'_, R>,
    name: &WrapName,
    version: &RecordVersion,
) -> Result<Bytes, StoreFault> {
    let added = custody::added(view, &name.record, name.version, &name.recipient)?;
    let added = added.map(|added| added.wrap_sha256).filter(|hash| !hash.is_empty());
    let hash = added.or_else(|| custody::written_hash(version, &name.recipient));
    hash.ok_or_else(|| corrupt("a version that is wrapped has no wrap"))
}

/// Notes that a version is wrapped for a key, and counts it once if it is one of custody.
fn put_wrap<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    member: &str,
    name: WrapName,
    wrap_sha256: Bytes,
) -> Result<(), StoreFault> {
    let version: Option<RecordVersion> = view.message(Table::Versions, &keys::version(&name.record, name.version))?;
    let version = version.ok_or_else(|| corrupt("a wrap is of no version"))?;
    let counted = Holding::over(view, member, name.recipient)?.count(view, &name.record, &version)?;
    let state = WrapState { wrap_sha256, request: 0, height: cx.height.0, counted };
    view.put_message(Table::State, keys::wrap_state(&name), &state);
    Ok(())
}

/// The wrap that a request is for.
fn name_of(request: &WrapRequestState) -> Result<WrapName, StoreFault> {
    let record = RecordId::parse("record_id", &request.record_id);
    let recipient = KeyId::try_from(request.recipient_key_id.as_ref());
    match (record, recipient) {
        (Ok(record), Ok(recipient)) => Ok(WrapName { record, version: request.version, recipient }),
        (Err(_), _) | (_, Err(_)) => Err(corrupt("a wrap request names no wrap")),
    }
}

/// A list of work, as somebody may work on it.
struct List<'a> {
    member: &'a str,
    emergencies_only: bool,
}

impl List<'_> {
    /// Takes a request off the list.
    fn take<R: StateReader>(&self, view: &mut View<'_, R>, number: u64) -> Result<WrapRequestState, Refusal> {
        let place = keys::wrap_request(&WrapRequestName::new(self.member, number));
        let request: Option<WrapRequestState> = view.message(Table::State, &place)?;
        let request = request.ok_or(Refusal::Rejected(Outcome::WrapNotRequested))?;
        ensure(!self.emergencies_only || !request.emergency_id.is_empty(), Outcome::CustodianRefused)?;
        close(view, (self.member, number), &request)?;
        Ok(request)
    }
}

/// Whether what a wrap was asked for is permitted still: a consent may be revoked, an emergency
/// over, the reader revoked, or its key replaced, which may be because it was stolen. Judged as of
/// the block that the wrap comes in.
pub(crate) fn is_permitted<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    request: &WrapRequestState,
) -> Result<bool, StoreFault> {
    let corrupt = |e| corrupt(format!("wrap request: {e}"));
    let reader: SpiffeId =
        request.reader.parse().map_err(|_| crate::roster::corrupt("a wrap request names no reader"))?;
    let key = KeyId::try_from(request.recipient_key_id.as_ref()).map_err(|e| crate::roster::corrupt(e.to_string()))?;
    if request.owed {
        return is_owed(view, cx, request, &key);
    }
    let optional = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.try_into().ok()).flatten();
    let reading = Reading {
        reader: &reader,
        patient: PatientPseudonym::parse("patient", &request.patient).map_err(corrupt)?,
        kind: request.kind(),
        purpose: request.purpose(),
        project: optional(&request.project).map(ProjectTag),
        emergency: optional(&request.emergency_id).map(EmergencyId),
        time: cx.time,
    };
    let record = RecordId::parse("record_id", &request.record_id).map_err(corrupt)?;
    let (decided, _) = Decider::over(view, cx.policy, reading)?.decide_over(view, &record, request.version)?;
    Ok(decided.permits() && recipients::is_newest_key(view, &request.reader, &key)?)
}

/// The same of what was asked for in somebody's place.
fn is_owed<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    request: &WrapRequestState,
    key: &KeyId,
) -> Result<bool, StoreFault> {
    let id = RecordId::parse("record_id", &request.record_id).map_err(|e| corrupt(format!("wrap request: {e}")))?;
    let record: Option<RecordState> = view.message(Table::State, &keys::record(&id))?;
    let version: Option<RecordVersion> = view.message(Table::Versions, &keys::version(&id, request.version))?;
    let (record, version) = record.zip(version).ok_or_else(|| corrupt("a wrap is owed of no version"))?;
    Owed { record: &record, id: &id, version: &version, time: cx.time }.entitles(view, &request.reader, key)
}
