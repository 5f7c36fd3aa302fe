//! What a member's own people have asked for, over all patients: from the blocks of the ledger,
//! each held against its certified header, so that no request can be left out. For auditors, to
//! whom blocks show what tells of patients.

use consilium_proto::ids::Height;
use consilium_proto::names::MemberId;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::transaction::{Action, DisclosureAction, Transaction};

use super::ProvenDecision;
use crate::client::Client;
use crate::error::ClientError;
use crate::watch::Contents;

/// Requests of a member's people in some blocks, with what was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffAccesses {
    /// In the order of the ledger.
    pub decisions: Vec<ProvenDecision>,
    /// All of them up to this block.
    pub up_to: Height,
}

impl Client {
    /// Every request for access, and every confirmed disclosure, by somebody of a member in the
    /// blocks after a height, up to the newest certified one, and what was decided of it. It reads every block: keep the height, and
    /// go on there.
    ///
    /// # Errors
    /// As [`crate::watch::Watch::next`] and [`Client::decision`];
    /// [`ClientError::Usage`] if this identity is not shown what blocks tell of patients.
    pub async fn accesses_by(&self, member: &MemberId, after: Height) -> Result<StaffAccesses, ClientError> {
        let up_to = self.certified_head().await?.header.height;
        let mut decisions = Vec::new();
        let mut watch = self.watch(after, false);
        while watch.cursor() < up_to {
            let Contents::Proven(transactions) = watch.next().await?.contents else { continue };
            for executed in &transactions {
                if let Some(request) = self.request_by(member, executed).await? {
                    decisions.push(self.decision(request.id).await?);
                }
            }
        }
        Ok(StaffAccesses { decisions, up_to })
    }

    /// A transaction, if it was executed, is by somebody of a member, and stands in a log.
    async fn request_by(
        &self,
        member: &MemberId,
        executed: &pb::ExecutedTransaction,
    ) -> Result<Option<Transaction>, ClientError> {
        let Some(transaction) = &executed.transaction else {
            let why = "blocks do not show this identity what tells of patients: it takes an auditor";
            return Err(ClientError::Usage(why.into()));
        };
        if executed.outcome() != Outcome::Applied {
            return Ok(None);
        }
        let transaction = Transaction::parse_bare(transaction, self.genesis().ledger_id)?;
        if !transaction.actions.iter().any(is_logged) {
            return Ok(None);
        }
        let author = self.signer(&transaction.head.author).await?;
        Ok((author.id.member() == member).then_some(transaction))
    }
}

/// Whether an action stands in a log of access.
fn is_logged(action: &Action) -> bool {
    matches!(action, Action::RequestAccess(_) | Action::Disclosure(DisclosureAction::Confirm(_)))
}
