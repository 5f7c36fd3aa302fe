//! Writing a record version. The ledger keeps who, when, which kind, sizes and
//! commitments; the payload and the wraps, which are attachments, go to erasable
//! tables.

use bytes::Bytes;
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::limits::LISTS_OF_OTHER_KINDS_MAX;
use consilium_proto::pb::{
    Confidentiality, KeyWrapRef, Outcome, RecordListEntry, RecordListName, RecordListsState, RecordState,
    RecordVersion, RetractionReason,
};
use consilium_proto::record::version_hash;
use consilium_proto::resource_types::resource_type;
use consilium_proto::state::ListName;
use consilium_proto::transaction::{WrapRef, WriteRecord};
use prost::Message;

use super::{Author, Context, changes, custody, recipients, salts};
use crate::custody::Kept;
use crate::keys;
use crate::log;
use crate::missing::tag_rows;
use crate::roster::corrupt;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    write: &WriteRecord,
    sequence: u64,
) -> Result<(), Refusal> {
    author.ensure_writer()?;
    let before: Option<RecordState> = view.message(Table::State, &keys::record(&write.record_id))?;
    let kept = before.as_ref().map(|_| Kept::over(view)).transpose()?.unwrap_or_default();
    let member = among(&kept, author, before.as_ref()).to_owned();
    custody::take_in(view, cx, author, (&member, write))?;
    recipients::ensure_permitted(view, cx, author, (kept.custodians(&member), write))?;
    salts::ensure_known(view, [author.member(), &member], write)?;
    let before = check_succession(before, &member, write)?;
    let before = before.map(|record| level_of(view, write, &record).map(|level| (record, level))).transpose()?;
    let version = describe(cx, author, write, before.as_ref().map(|(record, _)| record));
    let sequence = before.as_ref().map_or(sequence, |(record, _)| record.sequence);
    let record = RecordState {
        member,
        patient: Bytes::copy_from_slice(&write.patient.0),
        kind: write.kind.clone(),
        version: write.version,
        retracted: false,
        retraction_reason: RetractionReason::Unspecified.into(),
        retraction_confirmed_by: String::new(),
        version_sha256: Bytes::copy_from_slice(&version_hash(&version)),
        sequence,
        disagreements: before.as_ref().map(|(record, _)| record.disagreements.clone()).unwrap_or_default(),
    };
    view.put_message(Table::State, keys::record(&write.record_id), &record);
    view.put_message(Table::Versions, keys::version(&write.record_id, write.version), &version);
    if before.is_some() {
        changes::note_change(view, &write.record_id, &version);
    }
    let changed = before.as_ref().is_none_or(|(_, level)| *level != write.confidentiality);
    if changed {
        enlist(view, &record.member, &version, sequence)?;
    }
    Ok(put_index(view, &record.member, write, sequence)?)
}

/// The member among whose records a version is: the author's own; or one that has left, if the
/// author's keeps its records and it is a version of one of them.
fn among<'a>(kept: &Kept, author: &'a Author, before: Option<&'a RecordState>) -> &'a str {
    let before = before.map(|record| record.member.as_str()).filter(|member| kept.keeps(author.member(), member));
    before.unwrap_or(author.member())
}

/// Lists a record with those of its patient that are of one kind and confidentiality, so that it
/// can be proven which there are, and which were retracted, without a word of the others. Kinds of
/// a writer's own have room for so many: it may be anybody, and the patient anybody's.
pub(super) fn enlist<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    version: &RecordVersion,
    sequence: u64,
) -> Result<(), Refusal> {
    let patient = PatientPseudonym::parse("patient", &version.patient).map_err(|e| corrupt(format!("version: {e}")))?;
    let name = ListName::new(patient, version.confidentiality(), &version.kind);
    let list = keys::record_list(&name);
    let entry = RecordListEntry {
        record_id: version.record_id.clone(),
        version: version.version,
        sequence,
        time_ms: version.time_ms,
    };
    if log::append(view, &list, entry.encode_to_vec().into())? == 0 {
        let place = keys::record_lists(&patient);
        let mut lists: RecordListsState = view.message(Table::State, &place)?.unwrap_or_default();
        let others = lists.lists.iter().filter(|list| resource_type(&list.kind).is_none()).count();
        let has_room = resource_type(&version.kind).is_some() || others < LISTS_OF_OTHER_KINDS_MAX;
        ensure(has_room, Outcome::TooManyOfPatient)?;
        let confidentiality = u32::from(name.confidentiality);
        lists.lists.push(RecordListName { kind: version.kind.clone(), confidentiality });
        view.put_message(Table::State, place, &lists);
    }
    // For queries: whose records of which lists there are, and which.
    view.put(Table::Index, keys::index_writer(&name, member), Bytes::copy_from_slice(version.kind.as_bytes()));
    let entry = keys::index_entry(keys::index_listed(&name, member), sequence);
    view.put(Table::Index, entry, version.record_id.clone());
    Ok(())
}

/// The confidentiality of the version before.
fn level_of<R: StateReader>(
    view: &View<'_, R>,
    write: &WriteRecord,
    record: &RecordState,
) -> Result<Confidentiality, StoreFault> {
    let version: Option<RecordVersion> =
        view.message(Table::Versions, &keys::version(&write.record_id, record.version))?;
    let missing = StoreFault::Corrupt { table: Table::Versions.name(), cause: "current version is absent".into() };
    Ok(version.ok_or(missing)?.confidentiality())
}

/// Version 1 needs a free id; version n + 1 needs version n of the same
/// member, patient and kind, not retracted.
fn check_succession(
    before: Option<RecordState>,
    member: &str,
    write: &WriteRecord,
) -> Result<Option<RecordState>, Refusal> {
    match before {
        None => {
            ensure(write.version == 1, Outcome::RecordNotFound)?;
            Ok(None)
        }
        Some(record) => {
            ensure(write.version != 1, Outcome::RecordExists)?;
            let same = record.member == member && record.patient == write.patient.0[..] && record.kind == write.kind;
            ensure(same, Outcome::RecordMismatch)?;
            ensure(!record.retracted, Outcome::RecordRetracted)?;
            ensure(record.version.checked_add(1) == Some(write.version), Outcome::VersionConflict)?;
            Ok(Some(record))
        }
    }
}

fn describe(cx: &Context<'_>, author: &Author, write: &WriteRecord, before: Option<&RecordState>) -> RecordVersion {
    let wrap =
        |w: &WrapRef| KeyWrapRef { recipient_key_id: w.recipient.to_bytes(), wrap_sha256: w.wrap_hash.to_bytes() };
    RecordVersion {
        record_id: Bytes::copy_from_slice(&write.record_id.0),
        version: write.version,
        patient: Bytes::copy_from_slice(&write.patient.0),
        kind: write.kind.clone(),
        author: author.id.to_string(),
        confidentiality: write.confidentiality as i32,
        payload_sha256: write.payload_hash.to_bytes(),
        payload_size: write.payload_size,
        descriptor_sha256: write.descriptor_hash.map(|hash| hash.to_bytes()).unwrap_or_default(),
        wraps: write.wraps.iter().map(wrap).collect(),
        transaction_id: cx.transaction.id.to_bytes(),
        height: cx.height.0,
        time_ms: cx.time.0,
        retraction: false,
        retraction_reason: RetractionReason::Unspecified.into(),
        policy_tags: write.policy_tags.iter().map(|tag| Bytes::copy_from_slice(&tag.0)).collect(),
        previous_sha256: before.map(|b| b.version_sha256.clone()).unwrap_or_default(),
    }
}

/// A member's entry is written once; tags may be added by
/// later versions, and a reader filters by the newest version. A node that lacks the
/// descriptor, which may be erased, has the same state and only finds less.
fn put_index<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    write: &WriteRecord,
    sequence: u64,
) -> Result<(), StoreFault> {
    if write.version == 1 {
        let id = Bytes::copy_from_slice(&write.record_id.0);
        view.put(Table::Index, keys::index_entry(keys::index_member(member), sequence), id);
    }
    if write.descriptor_hash.is_some() {
        let descriptor = view.get(Table::Descriptors, &keys::descriptor(&write.record_id, write.version))?;
        let rows = tag_rows(&descriptor.unwrap_or_default(), &write.record_id, (member, sequence));
        rows.into_iter().for_each(|row| view.put_row(row));
    }
    Ok(())
}
