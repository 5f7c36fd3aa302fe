//! What goes before other transactions, in every queue between the node that takes it and the
//! block. This is the only place that says which transactions these are; who may use the lane
//! how much, the queues say, which know who has signed.

use super::{Action, ConsentAction, EmergencyAction, GovernanceAction, PatientAction, StakeAction, Transaction};
use crate::consent::Grant;
use crate::pb::{ConsentBase, ConsentEffect, PurposeOfUse};

/// Why a transaction goes before others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// A member protects itself against somebody else, a leader among them: by revoking what
    /// was stolen, by proposing and voting (so a member is suspended), and by proof of double
    /// signing. Only an administrator's.
    Protection,
    /// What was permitted is taken back: it holds from its block, and until then others read.
    Withdrawal,
    /// A patient is in danger: an emergency is declared, or records are asked for in one.
    Emergency,
    /// The key that an emergency waits for: without it what was released cannot be opened.
    Key,
}

impl Transaction {
    /// Why it goes before others, if it does nothing but what goes before for one reason. A
    /// leader must not leave it out.
    #[must_use]
    pub fn urgency(&self) -> Option<Urgency> {
        let mut all = self.actions.iter().map(Action::urgency);
        let first = all.next()??;
        all.all(|other| other == Some(first)).then_some(first)
    }
}

impl Action {
    fn urgency(&self) -> Option<Urgency> {
        match self {
            Self::PublishRevocations(_)
            | Self::Governance(
                GovernanceAction::Propose(_) | GovernanceAction::Ballot { .. } | GovernanceAction::Cancel(_),
            ) => Some(Urgency::Protection),
            Self::Stake(action) => action.urgency(),
            Self::Patient(action) => action.urgency(),
            Self::Consent(action) => action.urgency(),
            Self::Emergency(action) => action.urgency(),
            Self::AddWraps(add) => add.emergency.then_some(Urgency::Key),
            Self::RequestAccess(request) => (request.purpose == PurposeOfUse::Btg).then_some(Urgency::Emergency),
            Self::Enroll(_)
            | Self::AssignUnit(_)
            | Self::SetCustodyKey(_)
            | Self::Custody(_)
            | Self::WriteRecord(_)
            | Self::RetractRecord(_)
            | Self::ConfirmRetraction(_)
            | Self::Petition(_)
            | Self::Disclosure(_)
            | Self::Node(_) => None,
        }
    }
}

impl StakeAction {
    fn urgency(&self) -> Option<Urgency> {
        match self {
            Self::Evidence(_) => Some(Urgency::Protection),
            Self::Delegate { .. }
            | Self::Redelegate { .. }
            | Self::Undelegate { .. }
            | Self::Release(_)
            | Self::Maintenance { .. } => None,
        }
    }
}

impl PatientAction {
    fn urgency(&self) -> Option<Urgency> {
        match self {
            Self::Accept(accept) => accept.withdrawn.then_some(Urgency::Withdrawal),
            Self::Register(_)
            | Self::AddLookups(_)
            | Self::Link { .. }
            | Self::Unlink(_)
            | Self::AttestCare(_)
            | Self::AttestDeath(_)
            | Self::PutSalt(_) => None,
        }
    }
}

impl ConsentAction {
    /// A consent that only denies takes back what others permit, or what an earlier version did.
    fn urgency(&self) -> Option<Urgency> {
        match self {
            Self::Revoke(_) => Some(Urgency::Withdrawal),
            Self::Put(put) => only_denies(&put.grant).then_some(Urgency::Withdrawal),
        }
    }
}

fn only_denies(grant: &Grant) -> bool {
    matches!(grant.base, ConsentBase::Deny | ConsentBase::BreakGlassOnly)
        && grant.rules.iter().all(|rule| rule.effect == ConsentEffect::Deny)
}

impl EmergencyAction {
    fn urgency(&self) -> Option<Urgency> {
        match self {
            Self::Declare(_) => Some(Urgency::Emergency),
            Self::Review { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
