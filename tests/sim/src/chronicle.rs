//! What the blocks of a ledger say, read anew: which transactions took effect, in order, by whom
//! and when, and what is attached to them. What the rules made of them is not looked at here.

use consilium_ledger::keys;
use consilium_proto::ids::{Height, LedgerId, TimeMs};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::proposal_topic::Topic;
use consilium_proto::pb::{self, Outcome, ProposalState, ProposalStatus, SignerState};
use consilium_proto::state::StateRow;
use consilium_proto::transaction::{Action, Commitment, GovernanceAction, Transaction};
use prost::Message;

use crate::disk::LedgerStore;

/// A transaction that took effect; enrolments are left out.
#[derive(Debug)]
pub struct Effect {
    /// Its block.
    pub height: Height,
    /// Of its block.
    pub time: TimeMs,
    /// Who signed it.
    pub author: SpiffeId,
    /// Without contents.
    pub transaction: Transaction,
    /// What members have decided by it of one of them.
    pub decided: Option<Standing>,
}

/// How a member stands from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes part in nothing.
    Suspended(String),
    /// It takes part again.
    Reinstated(String),
    /// It is gone; and who keeps its records, if it has any in custody.
    Left {
        /// The member.
        member: String,
        /// Named by the proposal.
        successor: Option<String>,
    },
}

/// All of a ledger.
///
/// # Errors
/// If a block cannot be read.
pub fn effects(ledger: &LedgerStore, id: LedgerId) -> Result<Vec<Effect>, String> {
    let top = ledger.tip().map_or(0, |(_, tip)| tip.header.height.0);
    let mut effects = Vec::new();
    for height in (1..=top).map(Height) {
        let block = ledger.block(height).ok_or_else(|| format!("block {height} is absent"))?;
        let time = TimeMs(block.header.as_ref().map_or(0, |header| header.time_ms));
        for transaction in applied(&block, id) {
            let transaction = transaction?;
            let signer: Option<SignerState> = ledger.message(&keys::signer(&transaction.head.author));
            let Some(signer) = signer else { continue };
            let author = signer.spiffe_id.parse().map_err(|_| format!("the signer of block {height} has no name"))?;
            effects.push(Effect { height, time, author, transaction, decided: None });
        }
    }
    decide(ledger, &mut effects);
    Ok(effects)
}

/// A proposal that was executed takes effect with the last ballot that counted.
fn decide(ledger: &LedgerStore, effects: &mut [Effect]) {
    for row in ledger.scan(&[StateRow::Proposal as u8]) {
        let Ok(proposal) = ProposalState::decode(row.clone()) else { continue };
        let standing = standing(&proposal).filter(|_| proposal.status() == ProposalStatus::Executed);
        let is_ballot = |action: &Action| matches!(action, Action::Governance(GovernanceAction::Ballot { proposal: of, .. }) if *of == proposal.number);
        let ballot = effects.iter_mut().rev().find(|effect| effect.transaction.actions.iter().any(is_ballot));
        if let (Some(standing), Some(ballot)) = (standing, ballot) {
            ballot.decided = Some(standing);
        }
    }
}

fn standing(proposal: &ProposalState) -> Option<Standing> {
    match proposal.topic.as_ref()?.topic.as_ref()? {
        Topic::SuspendMember(topic) => Some(Standing::Suspended(topic.member.clone())),
        Topic::ReinstateMember(topic) => Some(Standing::Reinstated(topic.member.clone())),
        Topic::RemoveMember(topic) => {
            let successor = Some(topic.successor.clone()).filter(|successor| !successor.is_empty());
            Some(Standing::Left { member: topic.member.clone(), successor })
        }
        _ => None,
    }
}

fn applied(block: &pb::Block, id: LedgerId) -> impl Iterator<Item = Result<Transaction, String>> + '_ {
    let executed = block.transactions.iter().filter(|executed| executed.outcome == Outcome::Applied as i32);
    let transactions = executed.filter_map(|executed| executed.transaction.as_ref());
    transactions.map(move |transaction| Transaction::parse_bare(transaction, id).map_err(|e| e.to_string()))
}

/// What the transactions attach that took effect, up to a height: grows with the ledger.
#[derive(Default)]
pub struct Commitments {
    read: Height,
    /// In order of the ledger.
    pub all: Vec<Commitment>,
}

impl Commitments {
    /// Reads on in the certified blocks of a ledger.
    pub fn read(&mut self, ledger: &LedgerStore, id: LedgerId) {
        let certified = ledger.newest_certified().map_or(Height::GENESIS, |newest| newest.header.height);
        while self.read < certified {
            self.read = self.read.next();
            let block = ledger.block(self.read).unwrap_or_default();
            let attachments = applied(&block, id).flatten().flat_map(|transaction| transaction.attachments);
            self.all.extend(attachments.map(|attachment| attachment.commitment));
        }
    }
}
