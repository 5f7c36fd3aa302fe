//! The first state: members, nodes and parameters of the genesis document,
//! two leaves, and a header that every node computes alike.

use consilium_proto::genesis::{Genesis, Member};
use consilium_proto::hash::Hash;
use consilium_proto::header::{Header, Leaf};
use consilium_proto::ids::{Epoch, HeaderHash, Height, NodeId};
use consilium_proto::merkle::Frontier;
use consilium_proto::pb;
use prost::Message;

use crate::block::{Executed, ExecutionError, Tip, append_leaf, update_state_tree};
use crate::keys;
use crate::view::{Location, Row, StateReader, StoreFault, Table};

/// Executes the genesis document on an empty store.
///
/// # Errors
/// If the store fails or is not empty enough to hold nothing of the state.
pub fn genesis_block<R: StateReader>(reader: &R, genesis: &Genesis) -> Result<Executed, ExecutionError> {
    let mut rows = state_rows(genesis);
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    let (state_root, trie_rows) = update_state_tree(reader, &rows)?;
    rows.extend(trie_rows);
    let mut frontier = Frontier::new();
    let mut leaves = Vec::new();
    for leaf in Leaf::genesis(genesis.ledger_id) {
        let leaf_index = frontier.size();
        append_leaf(&mut frontier, &leaf, &mut rows)?;
        let location = Location { height: Height::GENESIS, leaf_index, outcome: leaf.outcome as i32 };
        rows.push(Row {
            table: Table::Transactions,
            key: keys::transaction(&leaf.transaction_id),
            value: Some(location.encode()),
        });
        leaves.push((leaf_index, leaf));
    }
    let header = header(genesis, &frontier, state_root)?;
    let block = pb::Block { header: Some((&header).into()), ..pb::Block::default() };
    rows.push(Row {
        table: Table::Blocks,
        key: keys::height(Height::GENESIS),
        value: Some(block.encode_to_vec().into()),
    });
    let changed_members = genesis.members.iter().map(|m| m.id.as_str().to_owned()).collect();
    Ok(Executed { tip: Tip { header, frontier }, rows, leaves, changed_members, expired: Vec::new() })
}

fn header(genesis: &Genesis, frontier: &Frontier, state_root: Hash) -> Result<Header, ExecutionError> {
    let invalid = |e: consilium_proto::error::FieldError| {
        ExecutionError::Store(StoreFault::Corrupt { table: "genesis", cause: e.to_string() })
    };
    let validators_hash = genesis.validators().map_err(invalid)?.hash();
    Ok(Header {
        ledger_id: genesis.ledger_id,
        height: Height::GENESIS,
        previous_hash: HeaderHash::from_bytes([0; 32]),
        time: genesis.time,
        epoch: Epoch(0),
        tree_size: frontier.size(),
        tree_root: frontier.root(),
        state_root,
        validators_hash,
        next_validators_hash: validators_hash,
        proposer: NodeId(0),
    })
}

fn state_rows(genesis: &Genesis) -> Vec<Row> {
    let row = |key: Vec<u8>, value: Vec<u8>| Row { table: Table::State, key, value: Some(value.into()) };
    let mut rows: Vec<Row> =
        genesis.members.iter().map(|m| row(keys::member(m.id.as_str()), member_state(m).encode_to_vec())).collect();
    rows.extend(genesis.nodes().map(|(member, node)| {
        let state = pb::NodeState {
            raft_id: node.raft_id.0,
            member: member.id.as_str().to_owned(),
            name: node.name.clone(),
            peer_address: node.peer_address.clone(),
            client_address: node.client_address.clone(),
            vote_key: node.vote_key.raw().to_vec().into(),
        };
        row(keys::node(node.raft_id), state.encode_to_vec())
    }));
    rows
}

fn member_state(member: &Member) -> pb::MemberState {
    pb::MemberState {
        id: member.id.as_str().to_owned(),
        display_name: member.display_name.clone(),
        ca_bundle: member.ca_bundle.clone(),
        status: pb::MemberStatus::Active as i32,
        stake: member.stake,
        crls: Vec::new(),
    }
}
