//! Executes one block: each transaction in order, then the ledger's tree, the
//! authenticated state's tree, and the header.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::hash::Hash;
use consilium_proto::header::{Header, Leaf};
use consilium_proto::ids::{Height, NodeId, TimeMs};
use consilium_proto::limits::VALIDITY_AHEAD_MAX_MS;
use consilium_proto::merkle::Frontier;
use consilium_proto::observed::Observed;
use consilium_proto::pb::{self, Outcome, SignerState};
use consilium_proto::signing::VerifyingKey;
use consilium_proto::state_tree::{KeyHash, ValueHash};
use consilium_proto::transaction::{Transaction, signature_hash};
use consilium_proto::validators::ValidatorSet;
use prost::Message;

use crate::actions::{self, Context, Signer};
use crate::epoch;
use crate::event::{Event, Events};
use crate::governance;
use crate::in_force::{BlockEnd, EpochInForce};
use crate::keys;
use crate::rules::{IdentityRules, LedgerRules, Refusal, ensure};
use crate::state_map;
use crate::table::Table;
use crate::tree::Appender;
use crate::view::{Location, Row, StateReader, StoreFault, View};

/// The newest version of the rules that this build knows.
pub const PROTOCOL_VERSION: u32 = 1;

/// Where the ledger stands: the newest header and the tree's right edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tip {
    /// The newest header.
    pub header: Header,
    /// The ledger's tree.
    pub frontier: Frontier,
}

/// A transaction, and the key under which its signature was found good, if
/// someone has looked already. The rules compare that key with the author's,
/// and verify themselves where it is absent or another.
#[derive(Debug, Clone)]
pub struct CheckedTransaction {
    /// The transaction.
    pub transaction: Transaction,
    /// Verified under this key.
    pub verified_under: Option<VerifyingKey>,
}

/// A block to execute.
#[derive(Debug)]
pub struct BlockInput<'a> {
    /// As proposed; the parent's time is used if it is later.
    pub time: TimeMs,
    /// The leader that proposed it.
    pub proposer: NodeId,
    /// In ledger order. Those already on the ledger are passed over.
    pub transactions: &'a [CheckedTransaction],
    /// What the leader had seen of the validators.
    pub observed: &'a Observed,
    /// What the Raft log commits to up to this block.
    pub log_hash: Hash,
}

/// What a block comes to.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The new tip.
    pub tip: Tip,
    /// All changes, to be written in one batch.
    pub rows: Vec<Row>,
    /// Leaves with their indexes, in ledger order.
    pub leaves: Vec<(u64, Leaf)>,
    /// What others must know of.
    pub events: Events,
}

/// Why a block could not be executed. Not an outcome: the node stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecutionError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The state's tree failed.
    #[error("state tree: {0}")]
    StateTree(String),
    /// The ledger's tree is full.
    #[error("the ledger's tree is full")]
    TreeFull,
    /// Members activated rules that this build does not have. It stops before
    /// the first block under them, and goes on there once it is upgraded.
    #[error("block {height} needs protocol version {version}, this build knows {PROTOCOL_VERSION}: upgrade this node")]
    UnknownProtocol {
        /// The version in force.
        version: u32,
        /// The block that cannot be executed.
        height: Height,
    },
}

/// Executes a block on top of `tip`.
///
/// # Errors
/// Only faults of the store; a transaction that the rules refuse is an outcome.
pub fn execute<R: StateReader>(
    reader: &R,
    rules: &dyn LedgerRules,
    tip: &Tip,
    block: &BlockInput<'_>,
) -> Result<Executed, ExecutionError> {
    let mut run = Run::new(reader, rules, tip, block)?;
    for checked in block.transactions {
        run.transaction(checked)?;
    }
    run.finish(block)
}

struct Run<'a, R> {
    reader: &'a R,
    rules: &'a dyn LedgerRules,
    parent: &'a Header,
    time: TimeMs,
    epoch: EpochInForce,
    view: View<'a, R>,
    tree: Appender<'a, R>,
    first_leaf: u64,
    leaves: Vec<(u64, Leaf)>,
    transactions: Vec<pb::ExecutedTransaction>,
    passed_over: Vec<Event>,
}

impl<'a, R: StateReader> Run<'a, R> {
    fn new(
        reader: &'a R,
        rules: &'a dyn LedgerRules,
        tip: &'a Tip,
        block: &BlockInput<'_>,
    ) -> Result<Self, ExecutionError> {
        let mut view = View::new(reader);
        let height = tip.header.height.next();
        let version = governance::advance_protocol(&mut view, height)?;
        if version > PROTOCOL_VERSION {
            return Err(ExecutionError::UnknownProtocol { version, height });
        }
        view.commit();
        Ok(Self {
            reader,
            rules,
            parent: &tip.header,
            // Invariant I19: never before the parent's time.
            time: block.time.max(tip.header.time),
            epoch: EpochInForce::load(&view, &tip.header)?,
            view,
            tree: Appender::new(reader, tip.frontier.clone()),
            first_leaf: tip.frontier.size(),
            leaves: Vec::with_capacity(block.transactions.len()),
            transactions: Vec::with_capacity(block.transactions.len()),
            passed_over: Vec::new(),
        })
    }

    fn transaction(&mut self, checked: &CheckedTransaction) -> Result<(), ExecutionError> {
        let transaction = &checked.transaction;
        if self.view.is_known(&transaction.id)? {
            return Ok(());
        }
        // No leaf: once the certified time has passed a validity without the
        // transaction, it can never appear on the ledger in any form (G10).
        if transaction.head.valid_until < self.time {
            self.passed_over.push(Event::Expired(transaction.id));
            return Ok(());
        }
        // No leaf either: whoever does not have the author's key uses up nothing of the author's.
        let Some(signer) = self.authenticate(checked)? else {
            self.passed_over.push(Event::Unsigned(transaction.id));
            return Ok(());
        };
        let outcome = self.outcome(transaction, &signer)?;
        let signature_hash = signature_hash(&transaction.signature);
        let height = self.parent.height.next();
        let leaf = Leaf { transaction_id: transaction.id, height, outcome, signature_hash };
        let index = self.tree.append(leaf.hash())?;
        let log = self.view.take_logged();
        let location = Location { height, leaf_index: index, outcome: outcome as i32, signature_hash, log };
        self.view.put(Table::Transactions, keys::transaction(&transaction.id), location.encode());
        self.view.commit();
        self.leaves.push((index, leaf));
        self.transactions.push(pb::ExecutedTransaction {
            withheld: None,
            transaction: Some(transaction.to_wire_without_attachments()),
            outcome: outcome as i32,
        });
        Ok(())
    }

    fn outcome(&mut self, transaction: &Transaction, signer: &Signer) -> Result<Outcome, ExecutionError> {
        match self.try_actions(transaction, signer) {
            Ok(()) => {
                self.view.commit();
                Ok(Outcome::Applied)
            }
            Err(Refusal::Rejected(outcome)) => {
                self.view.roll_back();
                Ok(outcome)
            }
            Err(Refusal::Fault(fault)) => Err(fault.into()),
        }
    }

    fn try_actions(&mut self, transaction: &Transaction, signer: &Signer) -> Result<(), Refusal> {
        let latest = self.time.0.saturating_add(VALIDITY_AHEAD_MAX_MS);
        ensure(transaction.head.valid_until.0 <= latest, Outcome::ValidityTooLong)?;
        let cx = Context {
            ledger_id: self.parent.ledger_id,
            epoch: &self.epoch,
            transaction,
            leaf_index: self.tree.size(),
            height: self.parent.height.next(),
            time: self.time,
            identities: self.rules,
            policy: self.rules,
        };
        actions::run(&mut self.view, &cx, signer)
    }

    /// Who signed, if it is the author that the transaction names.
    fn authenticate(&self, checked: &CheckedTransaction) -> Result<Option<Signer>, StoreFault> {
        let transaction = &checked.transaction;
        if let Some(signed) = is_signed_enrollment(self.rules, transaction) {
            return Ok(signed.then_some(Signer::Certificate));
        }
        let place = keys::signer(&transaction.head.author);
        let Some(signer) = self.view.message::<SignerState>(Table::State, &place)? else { return Ok(None) };
        let verified = checked.verified_under.as_ref().is_some_and(|key| key.to_bytes() == signer.signing_key);
        if !verified {
            let corrupt = |_| StoreFault::Corrupt { table: Table::State.name(), cause: "signing key".into() };
            let key = VerifyingKey::from_bytes(&signer.signing_key).map_err(corrupt)?;
            if transaction.signed().verify(&key).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(Signer::Enrolled(signer)))
    }

    fn finish(mut self, block: &BlockInput<'_>) -> Result<Executed, ExecutionError> {
        self.end_block(block.observed)?;
        let Self { reader, parent, time, epoch, view, tree, first_leaf, leaves, transactions, .. } = self;
        let (mut rows, mut events) = view.into_parts();
        events.extend(self.passed_over);
        let (frontier, tiles) = tree.finish();
        rows.extend(tiles);
        let (state_root, trie_rows) = update_state_tree(reader, &rows)?;
        let state_root = if trie_rows.is_empty() { parent.state_root } else { state_root };
        rows.extend(trie_rows);
        let header = Header {
            ledger_id: parent.ledger_id,
            height: parent.height.next(),
            previous_hash: parent.hash(),
            time,
            epoch: epoch.number,
            tree_size: frontier.size(),
            tree_root: frontier.root(),
            state_root,
            validators_hash: parent.next_validators_hash,
            next_validators_hash: events.next_set().map_or(parent.next_validators_hash, ValidatorSet::hash),
            proposer: block.proposer,
            log_hash: block.log_hash,
        };
        let mut stored = pb::Block { header: Some((&header).into()), first_leaf, transactions, ..pb::Block::default() };
        block.observed.write_to_block(&mut stored);
        rows.push(Row {
            table: Table::Blocks,
            key: keys::height(header.height),
            value: Some(stored.encode_to_vec().into()),
        });
        Ok(Executed { tip: Tip { header, frontier }, rows, leaves, events })
    }

    fn end_block(&mut self, observed: &Observed) -> Result<(), StoreFault> {
        let height = self.parent.height.next();
        let end = BlockEnd { epoch: &self.epoch, parent: self.parent, height, time: self.time, observed };
        epoch::end_block(&mut self.view, &end)
    }
}

/// Whether an enrolment is signed with the key of its certificate; `None` if this is none. One
/// whose certificate has no such key is refused for that, whoever signed it.
#[must_use]
pub fn is_signed_enrollment(identities: &dyn IdentityRules, transaction: &Transaction) -> Option<bool> {
    let leaf = transaction.enrollment()?.chain.first();
    let key = leaf.and_then(|leaf| identities.certificate_key(leaf));
    Some(key.is_none_or(|key| transaction.signed().verify(&key).is_ok()))
}

/// Folds the changed state rows into the authenticated tree.
pub(crate) fn update_state_tree<R: StateReader>(
    reader: &R,
    rows: &[Row],
) -> Result<(consilium_proto::hash::Hash, Vec<Row>), ExecutionError> {
    let changes: BTreeMap<KeyHash, Option<ValueHash>> = rows
        .iter()
        .filter(|row| row.table == Table::State)
        .map(|row| (KeyHash::of(&row.key), row.value.as_deref().map(ValueHash::of)))
        .collect();
    let update = state_map::update(reader, &changes).map_err(|e| ExecutionError::StateTree(e.to_string()))?;
    let trie_rows = update
        .writes
        .into_iter()
        .map(|(path, node)| Row { table: Table::Trie, key: path.to_bytes(), value: node.map(Bytes::from) })
        .collect();
    Ok((update.root, trie_rows))
}
