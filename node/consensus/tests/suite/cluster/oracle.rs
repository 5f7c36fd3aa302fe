//! What must hold whatever happens, over the global view (I12, I14).

use std::collections::BTreeMap;

use consilium_consensus::{LogEntry, LogIndex, RaftId, StepError, Term};

#[derive(Default)]
pub(crate) struct Oracle {
    /// The one entry that was ever applied at an index.
    applied: BTreeMap<LogIndex, LogEntry>,
    /// The one leader of a term.
    pub(crate) leaders: BTreeMap<Term, RaftId>,
    /// Messages of honest nodes that were refused, by error text.
    pub(crate) refusals: BTreeMap<String, u32>,
}

impl Oracle {
    /// State machine safety, and no gap in what a node applies.
    pub(crate) fn applied(&mut self, node: RaftId, entry: &LogEntry, before: LogIndex) {
        assert_eq!(entry.index.0, before.0 + 1, "node {node} skips entries");
        let known = self.applied.entry(entry.index).or_insert_with(|| entry.clone());
        assert_eq!(known, entry, "node {node} applies another entry at {}", entry.index);
    }

    /// Election safety.
    pub(crate) fn elected(&mut self, term: Term, node: RaftId) {
        let leader = *self.leaders.entry(term).or_insert(node);
        assert_eq!(leader, node, "two leaders in term {term}");
    }

    /// The screen may be strict, but not towards honest nodes: what it refuses of theirs must
    /// be of no use to Raft either.
    pub(crate) fn stepped(&mut self, from: RaftId, to: RaftId, result: &Result<(), StepError>) {
        let Err(error) = result else { return };
        let text = match error {
            StepError::Rejected { reject, .. } => format!("{reject:?}"),
            other => format!("{other:?}"),
        };
        let kind = text.split([' ', '{']).next().unwrap_or_default().to_owned();
        *self.refusals.entry(kind.clone()).or_default() += 1;
        let harmless = [
            "StaleTerm",
            "SnapshotBusy",
            "Distrusted",
            "NotAMember",
            "NotLeading",
            "UnknownRead",
            "NotLeader",
            "NotReadyToLead",
            "Overtaken",
            "NoMandate",
            "NoVote",
            "Unrecalled",
        ];
        assert!(harmless.contains(&kind.as_str()), "honest {from} refused by {to}: {error}");
    }
}
