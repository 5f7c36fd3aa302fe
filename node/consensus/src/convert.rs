//! Between our types and the library's. Nothing here decides anything.

use bytes::Bytes;
use raft::eraftpb::{self, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};
use raft_prost::Message as _;

use crate::entry::{EntryKind, LogEntry, TAG_CONF_CHANGE, TAG_EMPTY, TAG_NORMAL, entry_context, link, split_context};
use crate::hard_state::HardState;
use crate::ids::{LogHash, LogIndex, RaftId, Term};
use crate::membership::{Membership, MembershipChange};
use crate::snapshot::SnapshotMeta;

/// From an entry of the library, which has its hash and seal in the context; takes the data without a
/// copy.
pub(crate) fn entry_from_raft(entry: eraftpb::Entry) -> LogEntry {
    let data = Bytes::from(entry.data);
    let kind = match eraftpb::EntryType::from_i32(entry.entry_type) {
        Some(eraftpb::EntryType::EntryConfChange | eraftpb::EntryType::EntryConfChangeV2) => {
            EntryKind::ConfChange(data)
        }
        Some(eraftpb::EntryType::EntryNormal) | None if data.is_empty() => EntryKind::Empty,
        Some(eraftpb::EntryType::EntryNormal) | None => EntryKind::Normal(data),
    };
    let (hash, seal) = split_context(&entry.context).unwrap_or_default();
    LogEntry { term: Term(entry.term), index: LogIndex(entry.index), kind, hash, seal }
}

/// What an entry of the library commits to behind `before`; as [`LogEntry::link`].
pub(crate) fn link_raft_entry(before: &LogHash, entry: &eraftpb::Entry) -> LogHash {
    let tag = match eraftpb::EntryType::from_i32(entry.entry_type) {
        Some(eraftpb::EntryType::EntryConfChange | eraftpb::EntryType::EntryConfChangeV2) => TAG_CONF_CHANGE,
        Some(eraftpb::EntryType::EntryNormal) | None if entry.data.is_empty() => TAG_EMPTY,
        Some(eraftpb::EntryType::EntryNormal) | None => TAG_NORMAL,
    };
    link(before, (Term(entry.term), LogIndex(entry.index)), tag, &entry.data)
}

/// To an entry of the library, which owns its bytes: one copy.
pub(crate) fn entry_to_raft(entry: &LogEntry) -> eraftpb::Entry {
    let (entry_type, data) = match &entry.kind {
        EntryKind::Normal(data) => (eraftpb::EntryType::EntryNormal, data.to_vec()),
        EntryKind::ConfChange(data) => (eraftpb::EntryType::EntryConfChangeV2, data.to_vec()),
        EntryKind::Empty => (eraftpb::EntryType::EntryNormal, Vec::new()),
    };
    eraftpb::Entry {
        entry_type: entry_type as i32,
        term: entry.term.0,
        index: entry.index.0,
        data,
        context: entry_context(&entry.hash, entry.seal.as_ref()),
        ..eraftpb::Entry::default()
    }
}

pub(crate) fn hard_state_from_raft(state: &eraftpb::HardState) -> HardState {
    HardState { term: Term(state.term), vote: RaftId::new(state.vote), commit: LogIndex(state.commit) }
}

pub(crate) fn hard_state_to_raft(state: &HardState) -> eraftpb::HardState {
    eraftpb::HardState { term: state.term.0, vote: state.vote.map_or(0, RaftId::get), commit: state.commit.0 }
}

/// Zero ids are dropped and duplicates merged; callers that care compare counts.
pub(crate) fn membership_from_raft(state: &eraftpb::ConfState) -> Membership {
    let set = |ids: &[u64]| ids.iter().copied().filter_map(RaftId::new).collect();
    Membership {
        voters: set(&state.voters),
        learners: set(&state.learners),
        voters_outgoing: set(&state.voters_outgoing),
        learners_next: set(&state.learners_next),
        auto_leave: state.auto_leave,
    }
}

pub(crate) fn membership_to_raft(membership: &Membership) -> eraftpb::ConfState {
    let list = |ids: &std::collections::BTreeSet<RaftId>| ids.iter().map(|id| id.get()).collect();
    eraftpb::ConfState {
        voters: list(&membership.voters),
        learners: list(&membership.learners),
        voters_outgoing: list(&membership.voters_outgoing),
        learners_next: list(&membership.learners_next),
        auto_leave: membership.auto_leave,
    }
}

/// The hash of the position stands where the library would have the state.
pub(crate) fn snapshot_to_raft(meta: &SnapshotMeta) -> eraftpb::Snapshot {
    eraftpb::Snapshot {
        data: meta.hash.as_bytes().to_vec(),
        metadata: Some(eraftpb::SnapshotMetadata {
            conf_state: Some(membership_to_raft(&meta.membership)),
            index: meta.index.0,
            term: meta.term.0,
        }),
    }
}

pub(crate) fn snapshot_from_raft(snapshot: &eraftpb::Snapshot) -> SnapshotMeta {
    let metadata = snapshot.metadata.clone().unwrap_or_default();
    SnapshotMeta {
        index: LogIndex(metadata.index),
        term: Term(metadata.term),
        hash: LogHash::try_from(snapshot.data.as_slice()).unwrap_or_default(),
        membership: membership_from_raft(&metadata.conf_state.unwrap_or_default()),
    }
}

/// The steps of a membership entry; none in one that leaves a joint configuration.
///
/// # Errors
/// If it is none.
pub(crate) fn membership_steps(data: &[u8]) -> Result<Vec<MembershipChange>, String> {
    let change = decode_change(data)?;
    let step = |single: &ConfChangeSingle| {
        let id = RaftId::new(single.node_id).ok_or_else(|| "names nobody".to_owned())?;
        Ok(match ConfChangeType::from_i32(single.change_type) {
            Some(ConfChangeType::AddNode) => MembershipChange::AddVoter(id),
            Some(ConfChangeType::AddLearnerNode) => MembershipChange::AddLearner(id),
            Some(ConfChangeType::RemoveNode) => MembershipChange::Remove(id),
            None => return Err(format!("change type {} is not known", single.change_type)),
        })
    };
    change.changes.iter().map(step).collect()
}

/// Reads a membership entry. The library's own accessors panic on enum values that they do not
/// know, so those are refused here.
pub(crate) fn decode_change(data: &[u8]) -> Result<ConfChangeV2, String> {
    let change = ConfChangeV2::decode(data).map_err(|error| error.to_string())?;
    match ConfChangeTransition::from_i32(change.transition) {
        Some(ConfChangeTransition::Auto | ConfChangeTransition::Implicit) => {}
        // Nobody would leave an explicit joint configuration.
        Some(ConfChangeTransition::Explicit) | None => {
            return Err(format!("transition {} is not used", change.transition));
        }
    }
    let unknown = |single: &&ConfChangeSingle| ConfChangeType::from_i32(single.change_type).is_none();
    match change.changes.iter().find(unknown) {
        Some(single) => Err(format!("change type {} is not known", single.change_type)),
        None => Ok(change),
    }
}

#[cfg(test)]
mod tests;
