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
use crate::watch::{Contents, Watch};

/// Requests of a member's people in some blocks, with what was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffAccesses {
    /// In the order of the ledger.
    pub decisions: Vec<ProvenDecision>,
    /// All of them up to this block.
    pub up_to: Height,
}

/// Reads blocks for what a member's people have asked for; see [`Client::staff_log`].
#[derive(Debug)]
pub struct StaffLog {
    client: Client,
    member: MemberId,
    watch: Watch,
    up_to: Height,
}

impl Client {
    /// Every request for access, and every confirmed disclosure, by somebody of a member in the
    /// blocks after a height, up to the newest certified one, and what was decided of it. It reads
    /// every block: keep the height, and go on there.
    ///
    /// # Errors
    /// As [`Self::certified_head`] and [`StaffLog::next`].
    pub async fn accesses_by(&self, member: &MemberId, after: Height) -> Result<StaffAccesses, ClientError> {
        let mut log = self.staff_log(member, after).await?;
        let mut all = Vec::new();
        while let Some((_, mut decisions)) = log.next().await? {
            all.append(&mut decisions);
        }
        Ok(StaffAccesses { decisions: all, up_to: log.up_to })
    }

    /// The same block by block, for who has more to read than fits into memory.
    ///
    /// # Errors
    /// As [`Self::certified_head`].
    pub async fn staff_log(&self, member: &MemberId, after: Height) -> Result<StaffLog, ClientError> {
        let up_to = self.certified_head().await?.header.height;
        let (client, watch) = (self.clone(), self.watch(after, false));
        Ok(StaffLog { client, member: member.clone(), watch, up_to })
    }
}

impl StaffLog {
    /// Where it ends: the newest block that was certified when it began.
    #[must_use]
    pub fn up_to(&self) -> Height {
        self.up_to
    }

    /// The next block with what was decided in it; `None`: that was the last one.
    ///
    /// # Errors
    /// As [`crate::watch::Watch::next`] and [`Client::decision`];
    /// [`ClientError::Usage`] if this identity is not shown what blocks tell of patients.
    pub async fn next(&mut self) -> Result<Option<(Height, Vec<ProvenDecision>)>, ClientError> {
        if self.watch.cursor() >= self.up_to {
            return Ok(None);
        }
        let block = self.watch.next().await?;
        let mut decisions = Vec::new();
        if let Contents::Proven(transactions) = block.contents {
            for executed in &transactions {
                if let Some(request) = self.request(executed, block.header.height).await? {
                    decisions.push(self.client.decision(request.id).await?);
                }
            }
        }
        Ok(Some((block.header.height, decisions)))
    }

    /// A transaction, if it was executed, is by somebody of the member, and stands in a log.
    async fn request(
        &self,
        executed: &pb::ExecutedTransaction,
        height: Height,
    ) -> Result<Option<Transaction>, ClientError> {
        let Some(transaction) = &executed.transaction else {
            let why = "blocks do not show this identity what tells of patients: it takes an auditor";
            return Err(ClientError::Usage(why.into()));
        };
        if executed.outcome() != Outcome::Applied {
            return Ok(None);
        }
        let transaction = Transaction::parse_bare(transaction, self.client.genesis().ledger_id)?;
        if !transaction.actions.iter().any(is_logged) {
            return Ok(None);
        }
        let author = self.client.signer(&transaction.head.author, height).await?;
        Ok((author.id.member() == &self.member).then_some(transaction))
    }
}

/// Whether an action stands in a log of access.
fn is_logged(action: &Action) -> bool {
    matches!(action, Action::RequestAccess(_) | Action::Disclosure(DisclosureAction::Confirm(_)))
}
