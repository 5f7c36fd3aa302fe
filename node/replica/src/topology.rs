//! The nodes of the ledger, who certifies, and the parameters in force: read from
//! the newest executed state, replaced as a whole after every block that changes
//! them. A node that is just joining has no such state yet and goes by its
//! [`Introduction`] until it has.

use std::collections::{BTreeMap, BTreeSet};

use consilium_consensus::{Membership, MembershipChange, RaftId};
use consilium_ledger::{Events, StateReader, Table, keys};
use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, Height, NodeId, TimeMs};
use consilium_proto::names::SpiffeId;
use consilium_proto::parameters::Parameters;
use consilium_proto::pb::{
    self, EpochState, JailReason, MemberState, MemberStatus, NodeState, RosterState, ValidatorStandingState,
};
use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};
use consilium_proto::validators::ValidatorSet;
use prost::Message;

use crate::ports::{Ledger, PortFault};

/// Epochs for which a node that was seated and has left may speak, though nobody
/// needs it: it hears of its going.
const DEPARTED_EPOCHS: u64 = 4;

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInfo {
    /// Raft id.
    pub id: NodeId,
    /// Its name, with its member.
    pub spiffe_id: SpiffeId,
    /// Whether the member has its rights.
    pub member_active: bool,
    /// host:port for peers.
    pub peer_address: String,
    /// host:port for clients.
    pub client_address: String,
    /// Verifies its votes.
    pub vote_key: VerifyingKey,
    /// Why it is jailed, if it is.
    pub jailed: JailReason,
}

impl NodeInfo {
    /// From a node's row.
    ///
    /// # Errors
    /// If its vote key is none.
    pub fn new(node: &NodeState, member_active: bool) -> Result<Self, PortFault> {
        let vote_key = <[u8; 65]>::try_from(node.vote_key.as_ref())
            .ok()
            .and_then(|point| VerifyingKey::from_raw(SignatureAlgorithm::Es256, &point).ok())
            .ok_or_else(|| PortFault::corrupt("node", "vote key"))?;
        Ok(Self {
            id: NodeId(node.raft_id),
            spiffe_id: SpiffeId::try_from(node).map_err(|e| PortFault::corrupt("node", e))?,
            member_active,
            peer_address: node.peer_address.clone(),
            client_address: node.client_address.clone(),
            vote_key,
            jailed: JailReason::Unspecified,
        })
    }
}

/// What a node that joins is told of the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Introduction {
    /// Nodes of the ledger, the joining one among them.
    pub nodes: Vec<NodeInfo>,
    /// As of this height; of no use from there on.
    pub height: Height,
}

/// The election period of the next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochInfo {
    /// Its number.
    pub epoch: Epoch,
    /// Its first height.
    pub first_height: Height,
    /// Block time of its start.
    pub start: TimeMs,
}

/// All nodes, the set that certifies the next block, and the parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    nodes: BTreeMap<NodeId, NodeInfo>,
    departing: BTreeMap<NodeId, NodeInfo>,
    /// The nodes of the ledger, without those of an introduction.
    roster: BTreeSet<NodeId>,
    /// The newest raft id: they ascend, and none is given twice.
    newest: NodeId,
    validators: ValidatorSet,
    /// The set of the epoch before; in the first one, the same.
    validators_before: ValidatorSet,
    epoch: EpochInfo,
    parameters: Parameters,
}

impl Topology {
    /// Reads it from the state after `tip`.
    ///
    /// # Errors
    /// If the disk fails or a row is damaged.
    pub fn load(ledger: &impl Ledger, tip: &Header, introduction: Option<&Introduction>) -> Result<Self, PortFault> {
        let roster: RosterState = required(ledger, &keys::roster(), "roster")?;
        let mut nodes = BTreeMap::new();
        for id in &roster.nodes {
            let info = load_node(ledger, NodeId(*id))?;
            nodes.insert(info.id, info);
        }
        if let Some(introduction) = introduction.filter(|i| i.height > tip.height) {
            nodes.extend(introduction.nodes.iter().map(|node| (node.id, node.clone())));
        }
        let newest = NodeId(roster.last_raft_id);
        let roster = roster.nodes.into_iter().map(NodeId).collect();
        let row = epoch_above(ledger, tip)?;
        let departing = departing(ledger, tip.height, Epoch(row.epoch), &nodes)?;
        let parameters: pb::Parameters = required(ledger, &keys::parameters(), "parameters")?;
        let parameters = Parameters::try_from(&parameters).map_err(|e| PortFault::corrupt("parameters", e))?;
        let validators = validators_of(&row)?;
        let validators_before = match row.epoch.checked_sub(1) {
            Some(before) => validators_of(&required(ledger, &keys::epoch(Epoch(before)), "epoch")?)?,
            None => validators.clone(),
        };
        Ok(Self {
            nodes,
            departing,
            roster,
            newest,
            validators,
            validators_before,
            epoch: EpochInfo::of(&row),
            parameters,
        })
    }

    /// All nodes, ascending by raft id.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values()
    }

    /// A node by raft id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeInfo> {
        self.nodes.get(&id)
    }

    /// A node that takes part, or one that has left and may still be needed.
    #[must_use]
    pub fn peer(&self, id: NodeId) -> Option<&NodeInfo> {
        self.node(id).or_else(|| self.departing.get(&id))
    }

    /// Whether one of these bears a name.
    #[must_use]
    pub fn has_peer_named(&self, spiffe_id: &SpiffeId) -> bool {
        self.nodes.values().chain(self.departing.values()).any(|node| node.spiffe_id == *spiffe_id)
    }

    /// Raft ids of all of these, ascending.
    #[must_use]
    pub fn peer_ids(&self) -> BTreeSet<RaftId> {
        self.nodes.keys().chain(self.departing.keys()).filter_map(|id| RaftId::new(id.0)).collect()
    }

    /// All of these but one.
    pub fn others(&self, me: NodeId) -> impl Iterator<Item = NodeId> {
        self.nodes.keys().chain(self.departing.keys()).copied().filter(move |id| *id != me)
    }

    /// The set that certifies the next block.
    #[must_use]
    pub fn validators(&self) -> &ValidatorSet {
        &self.validators
    }

    /// The period of the next block.
    #[must_use]
    pub fn epoch(&self) -> EpochInfo {
        self.epoch
    }

    /// Block time after which the epoch ends.
    #[must_use]
    pub fn epoch_ends(&self) -> TimeMs {
        TimeMs(self.epoch.start.0.saturating_add(self.parameters.epoch_ms))
    }

    /// The parameters in force.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Raft ids of the nodes that take part, ascending.
    #[must_use]
    pub fn raft_ids(&self) -> BTreeSet<RaftId> {
        self.nodes.keys().filter_map(|id| RaftId::new(id.0)).collect()
    }

    /// Raft ids of the validators of the next block, ascending.
    #[must_use]
    pub fn elected(&self) -> BTreeSet<RaftId> {
        raft_ids(&self.validators)
    }

    /// Whether the ledger asks for a step of a membership change, by this epoch's election
    /// or the one before: an entry may have been on its way when the epoch ended. The same
    /// on every node that has executed as much.
    ///
    /// # Errors
    /// Why not.
    pub fn asks_for(&self, step: MembershipChange, in_force: &Membership) -> Result<(), &'static str> {
        let (elected, elected_before) = (self.elected(), raft_ids(&self.validators_before));
        match step {
            MembershipChange::AddVoter(id) if !elected.contains(&id) && !elected_before.contains(&id) => {
                Err("gives a vote to a node that is not elected")
            }
            // One that has left by now may have been there when the entry was written.
            MembershipChange::AddLearner(id) if id.get() > self.newest.0 => {
                Err("adds a node that is not of the ledger")
            }
            MembershipChange::AddLearner(id)
                if in_force.is_voter(id) && elected.contains(&id) && elected_before.contains(&id) =>
            {
                Err("takes the vote of a node that is elected")
            }
            MembershipChange::Remove(id) if self.roster.contains(&NodeId(id.get())) => {
                Err("removes a node of the ledger")
            }
            MembershipChange::AddVoter(_) | MembershipChange::AddLearner(_) | MembershipChange::Remove(_) => Ok(()),
        }
    }

    /// Vote keys of all nodes.
    #[must_use]
    pub fn vote_keys(&self) -> BTreeMap<NodeId, VerifyingKey> {
        self.nodes.values().map(|node| (node.id, node.vote_key.clone())).collect()
    }
}

fn load_node<R: StateReader>(reader: &R, id: NodeId) -> Result<NodeInfo, PortFault> {
    let node: NodeState = required(reader, &keys::node(id), "node")?;
    let member: MemberState = required(reader, &keys::member(&node.member), "member")?;
    let standing: Option<ValidatorStandingState> = message(reader, &keys::standing(id))?;
    let jailed = standing.map_or(JailReason::Unspecified, |s| s.jailed());
    Ok(NodeInfo { jailed, ..NodeInfo::new(&node, member.status == MemberStatus::Active as i32)? })
}

/// A row of the authenticated state.
///
/// # Errors
/// If the disk fails or the row is damaged.
pub(crate) fn message<M: Message + Default>(reader: &impl StateReader, key: &[u8]) -> Result<Option<M>, PortFault> {
    let Some(bytes) = reader.get(Table::State, key)? else { return Ok(None) };
    M::decode(bytes).map(Some).map_err(|e| PortFault::corrupt("state", e))
}

fn required<M: Message + Default>(reader: &impl StateReader, key: &[u8], what: &'static str) -> Result<M, PortFault> {
    message(reader, key)?.ok_or_else(|| PortFault::corrupt(what, "absent"))
}

/// The epoch of the height above a header: the next one, if the header ended its
/// own. The state may be of a later height, so the next row alone says nothing.
fn epoch_above<R: StateReader>(reader: &R, header: &Header) -> Result<EpochState, PortFault> {
    let next: Option<EpochState> = message(reader, &keys::epoch(header.epoch.next()))?;
    match next.filter(|row| row.first_height == header.height.next().0) {
        Some(row) => Ok(row),
        None => required(reader, &keys::epoch(header.epoch), "epoch"),
    }
}

/// The set that certifies the height above a header.
///
/// # Errors
/// If the disk fails or a row is damaged.
pub fn validators_above<R: StateReader>(reader: &R, header: &Header) -> Result<ValidatorSet, PortFault> {
    validators_of(&epoch_above(reader, header)?)
}

/// The epoch of the height above one that is stored.
///
/// # Errors
/// If the disk fails or a row is damaged.
pub(crate) fn epoch_after(ledger: &impl Ledger, height: Height) -> Result<Epoch, PortFault> {
    let header = ledger.header(height)?.ok_or_else(|| PortFault::corrupt("block", "absent"))?;
    Ok(Epoch(epoch_above(ledger, &header)?.epoch))
}

/// The set of an epoch that was executed, if it was.
///
/// # Errors
/// If the disk fails or a row is damaged.
pub(crate) fn set_of_epoch<R: StateReader>(reader: &R, epoch: Epoch) -> Result<Option<ValidatorSet>, PortFault> {
    let row: Option<EpochState> = message(reader, &keys::epoch(epoch))?;
    row.map(|row| validators_of(&row)).transpose()
}

/// The height above which the set of an epoch that was executed certifies.
///
/// # Errors
/// If the disk fails or a row is absent or damaged.
pub(crate) fn begins_above<R: StateReader>(reader: &R, epoch: Epoch) -> Result<Height, PortFault> {
    let row: EpochState = required(reader, &keys::epoch(epoch), "epoch")?;
    Ok(Height(row.first_height.saturating_sub(1)))
}

/// The set that follows a header, if the header ends its epoch.
///
/// # Errors
/// If the disk fails or a row is damaged.
pub fn next_set_of<R: StateReader>(reader: &R, header: &Header) -> Result<Option<ValidatorSet>, PortFault> {
    let next: Option<EpochState> = message(reader, &keys::epoch(header.epoch.next()))?;
    next.filter(|row| row.first_height == header.height.next().0).map(|row| validators_of(&row)).transpose()
}

/// Last heights of the epochs from one on that have ended, ascending, at most
/// `max`.
///
/// # Errors
/// If the disk fails or a row is damaged.
pub(crate) fn boundaries<R: StateReader>(reader: &R, from: Epoch, max: usize) -> Result<Vec<Height>, PortFault> {
    let mut heights = Vec::new();
    let mut next = from.next();
    while heights.len() < max
        && let Some(row) = message::<EpochState>(reader, &keys::epoch(next))?
    {
        heights.push(Height(row.first_height.saturating_sub(1)));
        next = next.next();
    }
    Ok(heights)
}

impl EpochInfo {
    fn of(row: &EpochState) -> Self {
        Self { epoch: Epoch(row.epoch), first_height: Height(row.first_height), start: TimeMs(row.start_ms) }
    }
}

fn validators_of(row: &EpochState) -> Result<ValidatorSet, PortFault> {
    let set = row.validators.as_ref().ok_or_else(|| PortFault::corrupt("epoch", "no validators"))?;
    ValidatorSet::try_from(set).map_err(|e| PortFault::corrupt("epoch", e))
}

pub(crate) fn raft_ids(set: &ValidatorSet) -> BTreeSet<RaftId> {
    set.seats().iter().filter_map(|seat| RaftId::new(seat.id.0)).collect()
}

/// Nodes that are retired and still needed. Their seats certify up to the end of
/// their epoch, however many epochs have been executed since: clocks that are off
/// keep votes back. Raft counts them until it is told otherwise, which waits for that
/// certificate. Their member may be cut off; that is for the handshake to judge.
///
/// They leave with the next topology, not with the certificate: late, never early.
fn departing(
    ledger: &impl Ledger,
    tip: Height,
    current: Epoch,
    nodes: &BTreeMap<NodeId, NodeInfo>,
) -> Result<BTreeMap<NodeId, NodeInfo>, PortFault> {
    let uncertified = first_uncertified(ledger, tip)?;
    let first = uncertified.0.min(current.0.saturating_sub(DEPARTED_EPOCHS));
    let mut needed: BTreeSet<NodeId> = counted(&ledger.membership_at(tip)?).map(|id| NodeId(id.get())).collect();
    for epoch in first..current.0 {
        let row: EpochState = required(ledger, &keys::epoch(Epoch(epoch)), "epoch")?;
        needed.extend(row.validators.iter().flat_map(|set| &set.seats).map(|seat| NodeId(seat.validator)));
    }
    let mut departing = BTreeMap::new();
    for id in needed.into_iter().filter(|id| !nodes.contains_key(id)) {
        // Raft may know a node that this ledger is still to hear of.
        let Some(node) = message::<NodeState>(ledger, &keys::node(id))? else { continue };
        departing.insert(id, NodeInfo::new(&node, true)?);
    }
    Ok(departing)
}

/// The epoch of the first height above the newest certificate.
fn first_uncertified(ledger: &impl Ledger, tip: Height) -> Result<Epoch, PortFault> {
    let certified = ledger.certificate_up_to(tip)?.map_or(Height::GENESIS, |certificate| certificate.height);
    epoch_after(ledger, certified)
}

/// Those of whom Raft needs a majority, or two.
fn counted(membership: &Membership) -> impl Iterator<Item = RaftId> + '_ {
    membership.voters.iter().chain(&membership.voters_outgoing).copied()
}

/// Whether a block with these events made another topology.
#[must_use]
pub fn concerns_topology(events: &Events) -> bool {
    events.changed_nodes() || events.changed_members().next().is_some()
}
