//! Actions about stake and validators, parsed. What they do is for the rules.

use crate::error::{FieldError, in_range};
use crate::ids::{NodeId, TimeMs};
use crate::limits::{MAINTENANCE_MAX_MS, VOTING_POWER_MAX};
use crate::pb;
use crate::vote::Equivocation;

/// An action about stake or a validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StakeAction {
    /// Puts free stake on a node at the end of the epoch.
    Delegate {
        /// The node.
        node: NodeId,
        /// Above 0.
        amount: u64,
    },
    /// Moves stake from one node to another at the end of the epoch.
    Redelegate {
        /// Loses it.
        from: NodeId,
        /// Gets it.
        to: NodeId,
        /// Above 0.
        amount: u64,
    },
    /// Takes stake off a node at the end of the epoch.
    Undelegate {
        /// The node.
        node: NodeId,
        /// Above 0.
        amount: u64,
    },
    /// Asks for the end of a jailing for missed votes.
    Release(NodeId),
    /// Announces an absence.
    Maintenance {
        /// The node.
        node: NodeId,
        /// Start.
        from: TimeMs,
        /// End, after the start.
        until: TimeMs,
    },
    /// Proves double signing; the signatures are not verified yet.
    Evidence(Box<Equivocation>),
}

impl StakeAction {
    pub(super) fn delegate(m: &pb::Delegate) -> Result<Self, FieldError> {
        Ok(Self::Delegate { node: node("node", m.node)?, amount: amount(m.amount)? })
    }

    pub(super) fn redelegate(m: &pb::Redelegate) -> Result<Self, FieldError> {
        if m.from == m.to {
            return Err(FieldError::malformed("to", "must be another node than `from`"));
        }
        Ok(Self::Redelegate { from: node("from", m.from)?, to: node("to", m.to)?, amount: amount(m.amount)? })
    }

    pub(super) fn undelegate(m: &pb::Undelegate) -> Result<Self, FieldError> {
        Ok(Self::Undelegate { node: node("node", m.node)?, amount: amount(m.amount)? })
    }

    pub(super) fn release(m: &pb::ReleaseValidator) -> Result<Self, FieldError> {
        node("node", m.node).map(Self::Release)
    }

    pub(super) fn maintenance(m: &pb::AnnounceMaintenance) -> Result<Self, FieldError> {
        in_range("until_ms", m.until_ms, m.from_ms.saturating_add(1), m.from_ms.saturating_add(MAINTENANCE_MAX_MS))?;
        Ok(Self::Maintenance { node: node("node", m.node)?, from: TimeMs(m.from_ms), until: TimeMs(m.until_ms) })
    }

    pub(super) fn evidence(m: &pb::SubmitEvidence) -> Result<Self, FieldError> {
        let evidence = m.evidence.as_ref().ok_or_else(|| FieldError::missing("evidence"))?;
        let evidence = Equivocation::try_from(evidence).map_err(|e| e.within("evidence"))?;
        Ok(Self::Evidence(Box::new(evidence)))
    }
}

/// A raft id that names a node.
pub(super) fn node(field: &str, id: u64) -> Result<NodeId, FieldError> {
    in_range(field, id, 1, u64::MAX).map(NodeId)
}

fn amount(amount: u64) -> Result<u64, FieldError> {
    in_range("amount", amount, 1, VOTING_POWER_MAX)
}
