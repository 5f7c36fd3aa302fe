//! Proof of records, put together for whoever is allowed to see them: who that is, is not
//! decided here.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::error::fixed;
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{RecordId, TransactionId};
use consilium_proto::merkle::prove_inclusion;
use consilium_proto::pb::{self, RecordVersion};
use consilium_proto::record::{AuthorProof, RecordProof, content_hash};
use consilium_proto::state_tree::{KeyHash, StateProof};
use consilium_proto::transaction::{ActionTree, SignedHead};
use consilium_proto::wire_scan::{self, Value};
use prost::Message;

use crate::keys;
use crate::state_map;
use crate::table::Table;
use crate::tree::Tree;
use crate::view::{Location, StateReader, StoreFault};

/// Transactions that are kept. Records of one patient that were written together are asked for
/// together; each kept one holds on to its block.
const KEPT_MAX: usize = 16;

/// Proves versions of a record that are shown, oldest first, at least one, against the newest
/// header of a store. Of several records, a [`RecordProver`] does.
///
/// # Errors
/// If the store fails, or lacks what it must hold.
pub fn prove_record<R: StateReader>(
    reader: &R,
    tip: &Header,
    id: &RecordId,
    shown: &[RecordVersion],
) -> Result<RecordProof, StoreFault> {
    RecordProver::new(reader, tip).prove(id, shown)
}

/// Proves records against the newest header of a store, and looks once at what they have in
/// common: the upper nodes of both trees, and the transactions that wrote several of them.
pub struct RecordProver<'a, R> {
    reader: &'a R,
    tip: &'a Header,
    tree: Tree<'a, R>,
    state: state_map::Prover<'a, R>,
    written: BTreeMap<TransactionId, Written>,
}

impl<'a, R: StateReader> RecordProver<'a, R> {
    /// The store must not change as long as it is used, and `tip` be its newest header.
    #[must_use]
    pub fn new(reader: &'a R, tip: &'a Header) -> Self {
        Self { reader, tip, tree: Tree::new(reader), state: state_map::Prover::new(reader), written: BTreeMap::new() }
    }

    /// Proves versions of a record that are shown, oldest first, at least one.
    ///
    /// # Errors
    /// If the store fails, or lacks what it must hold.
    pub fn prove(&mut self, id: &RecordId, shown: &[RecordVersion]) -> Result<RecordProof, StoreFault> {
        let authors = shown.iter().map(|version| self.prove_author(version)).collect::<Result<_, _>>()?;
        Ok(RecordProof { authors, ..self.prove_contents(id, shown)? })
    }

    /// The same without authors: what the state commits to.
    ///
    /// # Errors
    /// As [`Self::prove`].
    pub fn prove_contents(&mut self, id: &RecordId, shown: &[RecordVersion]) -> Result<RecordProof, StoreFault> {
        let key = keys::record(id);
        let state = self.reader.get(Table::State, &key)?;
        let state = state.ok_or_else(|| corrupt(Table::State, "a record's row is absent"))?;
        let newest = pb::RecordState::decode(state.clone()).map_err(|e| corrupt(Table::State, e))?.version;
        let first = shown.first().map_or(newest, |version| version.version);
        let (mut contents, mut left) = (Vec::new(), shown.iter().peekable());
        for number in first..=newest {
            contents.push(match left.next_if(|version| version.version == number) {
                Some(version) => content_hash(version),
                None => content_hash(&stored_version(self.reader, id, number)?),
            });
        }
        Ok(RecordProof { state, state_proof: self.prove_state(&key)?, contents, authors: Vec::new() })
    }

    /// Proves what the state holds under a key, or that it holds nothing.
    ///
    /// # Errors
    /// If the store fails, or lacks what it must hold.
    pub fn prove_state(&mut self, key: &[u8]) -> Result<StateProof, StoreFault> {
        self.state.prove(&KeyHash::of(key)).map_err(|e| corrupt(Table::Trie, e))
    }

    /// Proves who wrote a version, by the transaction that it names.
    fn prove_author(&mut self, version: &RecordVersion) -> Result<AuthorProof, StoreFault> {
        let id = version.transaction_id[..].try_into().map(TransactionId::from_bytes);
        let id = id.map_err(|_| corrupt(Table::Transactions, ABSENT))?;
        if !self.written.contains_key(&id) {
            let written = Written::load(self.reader, (&self.tree, self.tip), &id)?;
            if self.written.len() == KEPT_MAX {
                self.written.clear();
            }
            self.written.insert(id, written);
        }
        let written = self.written.get_mut(&id).ok_or_else(|| corrupt(Table::Transactions, ABSENT))?;
        written.prove(version)
    }
}

const ABSENT: &str = "the transaction of a version is absent";
const LACKING: &str = "lacks the transaction of a leaf";

/// A transaction that wrote versions.
struct Written {
    leaf_index: u64,
    inclusion_path: Vec<Hash>,
    signed: SignedHead,
    actions: ActionTree,
    /// Which action wrote what, as far as they were looked at.
    places: BTreeMap<Wrote, usize>,
    looked_at: usize,
}

/// Record and version; a retraction names no version of its own.
type Wrote = (Bytes, Option<u32>);

impl Written {
    fn load<R: StateReader>(
        reader: &R,
        (tree, tip): (&Tree<'_, R>, &Header),
        id: &TransactionId,
    ) -> Result<Self, StoreFault> {
        let row = reader.get(Table::Transactions, &keys::transaction(id))?;
        let row = row.ok_or_else(|| corrupt(Table::Transactions, ABSENT))?;
        let Location { height, leaf_index, .. } = Location::decode(&row)?;
        let block = reader.get(Table::Blocks, &keys::height(height))?;
        let block = block.ok_or_else(|| corrupt(Table::Blocks, "absent"))?;
        let transaction = transaction_of(&block, leaf_index);
        let transaction = transaction.ok_or_else(|| corrupt(Table::Blocks, LACKING))?;
        let body = transaction.body.as_ref().ok_or_else(|| corrupt(Table::Blocks, LACKING))?;
        let actions = ActionTree::of(body).map_err(|e| corrupt(Table::Blocks, e))?;
        let signature = fixed("signature", &transaction.signature).map_err(|e| corrupt(Table::Blocks, e))?;
        let signed = SignedHead { head: *actions.head(), signature };
        let path = prove_inclusion(tree, leaf_index, tip.tree_size);
        let path = path.map_err(|_| corrupt(Table::Tree, "lacks a node"))?;
        let inclusion_path = path.path().to_vec();
        Ok(Self { leaf_index, inclusion_path, signed, actions, places: BTreeMap::new(), looked_at: 0 })
    }

    fn prove(&mut self, version: &RecordVersion) -> Result<AuthorProof, StoreFault> {
        let number = (!version.retraction).then_some(version.version);
        let place = self.place((version.record_id.clone(), number));
        let place = place.ok_or_else(|| corrupt(Table::Blocks, LACKING))?;
        let mut action = self.actions.prove(place).map_err(|e| corrupt(Table::Blocks, e))?;
        // Not the whole block, as long as the answer is not sent.
        action.action = Bytes::copy_from_slice(&action.action);
        let Self { leaf_index, inclusion_path, signed, .. } = self;
        Ok(AuthorProof { leaf_index: *leaf_index, inclusion_path: inclusion_path.clone(), signed: *signed, action })
    }

    /// The first action that wrote a version.
    fn place(&mut self, wanted: Wrote) -> Option<usize> {
        while !self.places.contains_key(&wanted) && self.looked_at < self.actions.actions().len() {
            if let Some(wrote) = wrote(&self.actions.actions()[self.looked_at]) {
                self.places.entry(wrote).or_insert(self.looked_at);
            }
            self.looked_at += 1;
        }
        self.places.get(&wanted).copied()
    }
}

fn stored_version<R: StateReader>(reader: &R, id: &RecordId, number: u32) -> Result<RecordVersion, StoreFault> {
    let row = reader.get(Table::Versions, &keys::version(id, number))?;
    let row = row.ok_or_else(|| corrupt(Table::Versions, "a version is absent"))?;
    RecordVersion::decode(row).map_err(|e| corrupt(Table::Versions, e))
}

/// The transaction of a leaf in an encoded block, without decoding the others.
///
/// # Panics
/// Never; `None` also for what is no block.
#[must_use]
pub fn transaction_of(block: &Bytes, leaf_index: u64) -> Option<pb::SignedTransaction> {
    let (mut first_leaf, mut leaf) = (0, 0);
    for field in wire_scan::fields(block) {
        match field.ok()? {
            (2, Value::Varint(first)) => first_leaf = first,
            (3, Value::Bytes(executed)) => {
                if first_leaf.checked_add(leaf)? == leaf_index {
                    return pb::ExecutedTransaction::decode(block.slice_ref(executed)).ok()?.transaction;
                }
                leaf += 1;
            }
            _ => {}
        }
    }
    None
}

/// What an action wrote, if it did.
fn wrote(action: &Bytes) -> Option<Wrote> {
    use pb::action::Action;
    match pb::Action::decode(action.clone()).ok()?.action? {
        Action::WriteRecord(write) => Some((write.record_id, Some(write.version))),
        Action::RetractRecord(retract) => Some((retract.record_id, None)),
        _ => None,
    }
}

fn corrupt(table: Table, cause: impl ToString) -> StoreFault {
    StoreFault::Corrupt { table: table.name(), cause: cause.to_string() }
}
