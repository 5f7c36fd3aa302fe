//! The transactions of a block that is final: their leaves lead from the tree of the header
//! before to the block's own. What the older tree ends with comes from a consistency proof, so
//! that this works from any height on; nothing of it is a node's word.

use bytes::Bytes;
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::hash::Hash;
use consilium_proto::header::{Header, Leaf};
use consilium_proto::ids::{LedgerId, TransactionId};
use consilium_proto::merkle::{ConsistencyProof, Frontier, verify_extension};
use consilium_proto::{pb, transaction};

use crate::client::Client;
use crate::error::ClientError;
use crate::submit::outcome_from;
use crate::transport::ledger_service;

/// The ledger's tree at the block that a watch has handed out last, if it is known.
#[derive(Default)]
pub(super) struct Tree(Option<Frontier>);

impl Tree {
    /// Before the first block.
    pub(super) fn genesis(ledger: LedgerId) -> Self {
        let mut tree = Frontier::default();
        for leaf in Leaf::genesis(ledger) {
            tree.append(leaf.hash()).expect("two leaves fit into a tree");
        }
        Self(Some(tree))
    }

    /// Takes a block that follows `parent`, which is final, too. Nothing has changed after an
    /// error.
    pub(super) async fn take(
        &mut self,
        client: &Client,
        parent: Option<&Header>,
        (header, block): (&Header, &pb::Block),
    ) -> Result<(), ClientError> {
        let before = match (&self.0, parent) {
            (Some(tree), _) => Some(tree.clone()),
            (None, Some(parent)) => client.tree_before(parent, header).await?,
            (None, None) => None,
        };
        let Some(mut tree) = before else {
            let is_same =
                |parent: &Header| (parent.tree_size, parent.tree_root) == (header.tree_size, header.tree_root);
            let is_empty = block.transactions.is_empty() && parent.is_some_and(is_same);
            return if is_empty { Ok(()) } else { Err(other_transactions(header)) };
        };
        extend(&mut tree, header, block)?;
        if (tree.size(), tree.root()) != (header.tree_size, header.tree_root) {
            return Err(other_transactions(header));
        }
        self.0 = Some(tree);
        Ok(())
    }
}

impl Client {
    /// The tree of a header, to which the next one's leaves can be appended; nothing if that one
    /// has none.
    async fn tree_before(&self, parent: &Header, header: &Header) -> Result<Option<Frontier>, ClientError> {
        if parent.tree_size == header.tree_size {
            return Ok(None);
        }
        let request = pb::GetConsistencyProofRequest { old_size: parent.tree_size, new_size: header.tree_size };
        let ask = |channel, request| async move { ledger_service(channel).get_consistency_proof(request).await };
        let answered = self.ask("GetConsistencyProof", request, ask).await?;
        let tree = path(&answered.answer).and_then(|path| {
            let proof = ConsistencyProof::new(parent.tree_size, header.tree_size, path);
            let tree = proof.and_then(|proof| verify_extension(&proof, &parent.tree_root, &header.tree_root));
            tree.map_err(|e| ClientError::contradiction(format!("height {}: {e}", header.height)))
        });
        self.judged(&answered, tree).map(Some)
    }
}

fn path(answer: &pb::GetConsistencyProofResponse) -> Result<Vec<Hash>, ClientError> {
    let hash = |bytes: &Bytes| Ok(Hash::from_bytes(fixed("path", bytes)?));
    answer.path.iter().map(hash).collect()
}

fn other_transactions(header: &Header) -> ClientError {
    ClientError::contradiction(format!("the transactions at height {} are not those of its header", header.height))
}

/// Appends a block's transactions.
fn extend(tree: &mut Frontier, header: &Header, block: &pb::Block) -> Result<(), ClientError> {
    for executed in &block.transactions {
        let (transaction_id, signature_hash) = leaf_of(executed)?;
        let outcome = outcome_from(executed.outcome)?;
        let leaf = Leaf { transaction_id, height: header.height, outcome, signature_hash };
        tree.append(leaf.hash()).map_err(|_| other_transactions(header))?;
    }
    Ok(())
}

/// What a leaf holds of a transaction, which is there itself or withheld from this caller.
fn leaf_of(executed: &pb::ExecutedTransaction) -> Result<(TransactionId, Hash), ClientError> {
    match (&executed.transaction, &executed.withheld) {
        (Some(tx), None) => {
            // Nothing commits to these here.
            if !tx.attachments.is_empty() {
                return Err(ClientError::contradiction("the node sends attachments that nobody asked for"));
            }
            let signature = fixed("block.transactions.transaction.signature", &tx.signature)?;
            Ok((transaction::transaction_id(tx)?, transaction::signature_hash(&signature)))
        }
        (None, Some(withheld)) => {
            let id = fixed("block.transactions.withheld.transaction_id", &withheld.transaction_id)?;
            let signature = fixed("block.transactions.withheld.signature_sha256", &withheld.signature_sha256)?;
            Ok((TransactionId::from_bytes(id), Hash::from_bytes(signature)))
        }
        (Some(_), Some(_)) => {
            Err(ClientError::contradiction("the node sends a transaction and says that it is withheld"))
        }
        (None, None) => Err(FieldError::missing("block.transactions.transaction").into()),
    }
}

#[cfg(test)]
mod tests;
