//! The first state: members, nodes and parameters of the genesis document,
//! two leaves, and a header that every node computes alike.

use consilium_proto::genesis::{Genesis, Member, Node};
use consilium_proto::hash::Hash;
use consilium_proto::header::{Header, Leaf};
use consilium_proto::ids::{Epoch, HeaderHash, Height, NodeId};
use consilium_proto::merkle::Frontier;
use consilium_proto::pb;
use consilium_proto::validators::ValidatorSet;
use prost::Message;

use crate::block::{Executed, ExecutionError, Tip, update_state_tree};
use crate::event::{Event, Events};
use crate::keys;
use crate::participation::seen_before;
use crate::table::Table;
use crate::tree::Appender;
use crate::view::{Location, Row, StateReader, StoreFault};

/// Executes the genesis document on an empty store.
///
/// # Errors
/// If the store fails or is not empty enough to hold nothing of the state.
pub fn genesis_block<R: StateReader>(reader: &R, genesis: &Genesis) -> Result<Executed, ExecutionError> {
    let mut rows = state_rows(genesis)?;
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    let (state_root, trie_rows) = update_state_tree(reader, &rows)?;
    rows.extend(trie_rows);
    let mut tree = Appender::new(reader, Frontier::new());
    let mut leaves = Vec::new();
    for leaf in Leaf::genesis(genesis.ledger_id) {
        let leaf_index = tree.append(leaf.hash())?;
        let location = Location {
            height: Height::GENESIS,
            leaf_index,
            outcome: leaf.outcome as i32,
            signature_hash: leaf.signature_hash,
            log: None,
        };
        rows.push(Row {
            table: Table::Transactions,
            key: keys::transaction(&leaf.transaction_id),
            value: Some(location.encode()),
        });
        leaves.push((leaf_index, leaf));
    }
    let (frontier, tiles) = tree.finish();
    rows.extend(tiles);
    let header = header(genesis, &frontier, state_root)?;
    let block = pb::Block { header: Some((&header).into()), ..pb::Block::default() };
    rows.push(Row {
        table: Table::Blocks,
        key: keys::height(Height::GENESIS),
        value: Some(block.encode_to_vec().into()),
    });
    Ok(Executed { tip: Tip { header, frontier }, rows, leaves, events: events(genesis) })
}

/// Everything is new; the founding validators are in the document itself.
fn events(genesis: &Genesis) -> Events {
    let members = genesis.members.iter().map(|member| Event::MemberChanged(member_state(member)));
    let unseen = genesis.nodes().map(|(_, node)| node.raft_id).collect();
    members.chain([Event::NodesChanged, Event::ParametersChanged, Event::Unseen(unseen)]).collect()
}

fn header(genesis: &Genesis, frontier: &Frontier, state_root: Hash) -> Result<Header, ExecutionError> {
    let validators_hash = validators(genesis)?.hash();
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
        log_hash: Hash::from_bytes([0; 32]),
    })
}

fn state_rows(genesis: &Genesis) -> Result<Vec<Row>, ExecutionError> {
    let mut rows = vec![
        row(keys::parameters(), &pb::Parameters::from(&genesis.parameters)),
        row(keys::protocol(), &pb::ProtocolState { version: 1, ..pb::ProtocolState::default() }),
        row(keys::roster(), &roster(genesis)),
        row(keys::participation(), &participation(genesis)),
        row(keys::epoch(Epoch(0)), &first_epoch(genesis)?),
    ];
    for member in &genesis.members {
        rows.push(row(keys::member(member.id.as_str()), &member_state(member)));
        rows.push(row(keys::stake(member.id.as_str()), &stake_state(member)));
    }
    for (member, node) in genesis.nodes() {
        rows.push(row(keys::node(node.raft_id), &node_state(member, node)));
        rows.push(row(
            keys::vote_key(&Hash::of(&[node.vote_key.raw()])),
            &pb::VoteKeyState { raft_id: node.raft_id.0 },
        ));
    }
    Ok(rows)
}

fn row(key: Vec<u8>, value: &impl Message) -> Row {
    Row { table: Table::State, key, value: Some(value.encode_to_vec().into()) }
}

fn member_state(member: &Member) -> pb::MemberState {
    pb::MemberState {
        id: member.id.as_str().to_owned(),
        display_name: member.display_name.clone(),
        ca_bundle: member.ca_bundle.clone(),
        status: pb::MemberStatus::Active as i32,
        stake: member.stake,
        crls: Vec::new(),
        withdrawn: Vec::new(),
    }
}

fn node_state(member: &Member, node: &Node) -> pb::NodeState {
    pb::NodeState {
        raft_id: node.raft_id.0,
        member: member.id.as_str().to_owned(),
        name: node.name.to_string(),
        peer_address: node.peer_address.clone(),
        client_address: node.client_address.clone(),
        vote_key: node.vote_key.raw().to_vec().into(),
        status: pb::NodeStatus::Active as i32,
        replaces: 0,
    }
}

/// A founding member's stake is on its own nodes evenly; what does not divide
/// is on the first.
fn delegations(member: &Member) -> impl Iterator<Item = (NodeId, u64)> + '_ {
    let count = member.nodes.len().max(1) as u64;
    let (share, rest) = (member.stake / count, member.stake % count);
    member.nodes.iter().enumerate().map(move |(i, node)| (node.raft_id, share + if i == 0 { rest } else { 0 }))
}

fn stake_state(member: &Member) -> pb::StakeState {
    let delegation = |(node, amount): (NodeId, u64)| pb::Delegation { node: node.0, amount };
    let delegations = delegations(member).filter(|(_, amount)| *amount > 0).map(delegation).collect();
    pb::StakeState { delegations, ..pb::StakeState::default() }
}

/// The founding validators are not elected: all founding nodes are seated.
fn first_epoch(genesis: &Genesis) -> Result<pb::EpochState, ExecutionError> {
    let set = validators(genesis)?;
    let candidate = |member: &Member, (node, stake): (NodeId, u64)| pb::CandidateState {
        node: node.0,
        member: member.id.as_str().to_owned(),
        stake,
        self_delegation: stake,
        power: set.seat(node).map_or(0, |seat| seat.power.0),
        reason: pb::NotSeatedReason::Unspecified as i32,
        stake_needed: 0,
    };
    let of_member = |member| delegations(member).map(move |delegation| candidate(member, delegation));
    Ok(pb::EpochState {
        epoch: 0,
        first_height: Height::GENESIS.next().0,
        start_ms: genesis.time.0,
        validators: Some((&set).into()),
        candidates: genesis.members.iter().flat_map(of_member).collect(),
        kept_previous: false,
    })
}

/// Founding nodes count as seen before, so that none loses its seat because
/// the first epoch was too short to see it.
fn participation(genesis: &Genesis) -> pb::ParticipationState {
    pb::ParticipationState {
        window_start: Height::GENESIS.next().0,
        windows: 0,
        nodes: genesis.nodes().map(|(_, node)| seen_before(node.raft_id)).collect(),
    }
}

fn roster(genesis: &Genesis) -> pb::RosterState {
    let nodes: Vec<u64> = genesis.nodes().map(|(_, node)| node.raft_id.0).collect();
    pb::RosterState {
        members: genesis.members.iter().map(|m| m.id.as_str().to_owned()).collect(),
        last_raft_id: nodes.last().copied().unwrap_or(0),
        nodes,
        ..pb::RosterState::default()
    }
}

fn validators(genesis: &Genesis) -> Result<ValidatorSet, ExecutionError> {
    let invalid = |e: consilium_proto::error::FieldError| {
        ExecutionError::Store(StoreFault::Corrupt { table: "genesis", cause: e.to_string() })
    };
    genesis.validators().map_err(invalid)
}
