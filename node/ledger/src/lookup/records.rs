//! Proof of records, put together for whoever is allowed to see them: who that is, is not
//! decided here.

use bytes::Bytes;
use consilium_proto::header::Header;
use consilium_proto::ids::{RecordId, TransactionId};
use consilium_proto::merkle::{NodeReader, prove_inclusion};
use consilium_proto::pb::{self, RecordVersion};
use consilium_proto::record::{AuthorProof, RecordProof, content_hash};
use consilium_proto::state_tree::KeyHash;
use consilium_proto::transaction::{ActionProof, signed_head};
use consilium_proto::wire_scan::{self, Value};
use prost::Message;

use crate::keys;
use crate::state_map;
use crate::table::Table;
use crate::view::{Location, StateReader, StoreFault};

/// Proves versions of a record that are shown, oldest first, at least one, against the newest
/// header of a store.
///
/// # Errors
/// If the store fails, or lacks what it must hold.
pub fn prove_record<R: StateReader + NodeReader>(
    reader: &R,
    tip: &Header,
    id: &RecordId,
    shown: &[RecordVersion],
) -> Result<RecordProof, StoreFault> {
    let key = keys::record(id);
    let state = reader.get(Table::State, &key)?.ok_or_else(|| corrupt(Table::State, "a record's row is absent"))?;
    let newest = pb::RecordState::decode(state.clone()).map_err(|e| corrupt(Table::State, e))?.version;
    let first = shown.first().map_or(newest, |version| version.version);
    let (mut contents, mut left) = (Vec::new(), shown.iter().peekable());
    for number in first..=newest {
        contents.push(match left.next_if(|version| version.version == number) {
            Some(version) => content_hash(version),
            None => content_hash(&stored_version(reader, id, number)?),
        });
    }
    let authors = shown.iter().map(|version| prove_author(reader, tip, version)).collect::<Result<_, _>>()?;
    let state_proof = state_map::prove(reader, &KeyHash::of(&key)).map_err(|e| corrupt(Table::Trie, e))?;
    Ok(RecordProof { state, state_proof, contents, authors })
}

fn stored_version<R: StateReader>(reader: &R, id: &RecordId, number: u32) -> Result<RecordVersion, StoreFault> {
    let row = reader.get(Table::Versions, &keys::version(id, number))?;
    let row = row.ok_or_else(|| corrupt(Table::Versions, "a version is absent"))?;
    RecordVersion::decode(row).map_err(|e| corrupt(Table::Versions, e))
}

/// Proves who wrote a version, by the transaction that it names.
fn prove_author<R: StateReader + NodeReader>(
    reader: &R,
    tip: &Header,
    version: &RecordVersion,
) -> Result<AuthorProof, StoreFault> {
    let absent = || corrupt(Table::Transactions, "the transaction of a version is absent");
    let id: [u8; 32] = version.transaction_id[..].try_into().map_err(|_| absent())?;
    let row = reader.get(Table::Transactions, &keys::transaction(&TransactionId::from_bytes(id)))?;
    let Location { height, leaf_index, .. } = Location::decode(&row.ok_or_else(absent)?)?;
    let block = reader.get(Table::Blocks, &keys::height(height))?.ok_or_else(|| corrupt(Table::Blocks, "absent"))?;
    let lacking = || corrupt(Table::Blocks, "lacks the transaction of a leaf");
    let transaction = transaction_of(&block, leaf_index).ok_or_else(lacking)?;
    let signed = signed_head(&transaction).map_err(|e| corrupt(Table::Blocks, e))?;
    let body = transaction.body.ok_or_else(lacking)?;
    let number = body.actions.iter().position(|action| makes(action, version)).ok_or_else(lacking)?;
    let action = ActionProof::of(&body, number).map_err(|e| corrupt(Table::Blocks, e))?;
    let path = prove_inclusion(reader, leaf_index, tip.tree_size).map_err(|_| corrupt(Table::Tree, "lacks a node"))?;
    Ok(AuthorProof { leaf_index, inclusion_path: path.path().to_vec(), signed, action })
}

/// The transaction of a leaf in an encoded block, without decoding the others.
///
/// # Panics
/// Never; `None` also for what is no block.
#[must_use]
pub fn transaction_of(block: &[u8], leaf_index: u64) -> Option<pb::SignedTransaction> {
    let (mut first_leaf, mut leaf) = (0, 0);
    for field in wire_scan::fields(block) {
        match field.ok()? {
            (2, Value::Varint(first)) => first_leaf = first,
            (3, Value::Bytes(executed)) => {
                if first_leaf.checked_add(leaf)? == leaf_index {
                    return pb::ExecutedTransaction::decode(executed).ok()?.transaction;
                }
                leaf += 1;
            }
            _ => {}
        }
    }
    None
}

/// Whether an action writes this version.
fn makes(action: &Bytes, version: &RecordVersion) -> bool {
    use pb::action::Action;
    match pb::Action::decode(action.clone()).ok().and_then(|action| action.action) {
        Some(Action::WriteRecord(write)) => {
            !version.retraction && write.record_id == version.record_id && write.version == version.version
        }
        Some(Action::RetractRecord(retract)) => version.retraction && retract.record_id == version.record_id,
        _ => false,
    }
}

fn corrupt(table: Table, cause: impl ToString) -> StoreFault {
    StoreFault::Corrupt { table: table.name(), cause: cause.to_string() }
}
