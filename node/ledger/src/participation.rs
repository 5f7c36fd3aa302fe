//! Who is there: the votes that blocks hold, counted per window of blocks and
//! per epoch. Counts only what it can verify against the chain, and looks at no
//! signature of a node that the window has seen already, so that the cost is a
//! few verifications per window and not per block.
//!
//! What a block holds is the leader's choice, so absence is believed only while
//! a quorum is seen to be present: a window or an epoch in which no quorum was
//! seen says nothing about anyone. A leader that conceals votes can thereby
//! unseat less than a third of the power in an epoch that it leads alone, and
//! never itself become the only validator.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::header::Header;
use consilium_proto::ids::{HeaderHash, Height, NodeId};
use consilium_proto::pb::{self, NodeParticipation, NodeStatus, ParticipationState};
use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};
use consilium_proto::validators::Validator;
use consilium_proto::vote::Vote;

use crate::in_force::{BlockEnd, EpochInForce};
use crate::keys;
use crate::roster::corrupt;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// Windows that an epoch must have had before anyone is jailed for missing them.
const WINDOWS_BEFORE_JAIL: u32 = 2;

/// The participation row while a block ends.
#[derive(Debug)]
pub(crate) struct Presence {
    stored: ParticipationState,
    window_start: Height,
    windows: u32,
    nodes: BTreeMap<u64, NodeParticipation>,
}

impl Presence {
    pub(crate) fn load<R: StateReader>(view: &View<'_, R>) -> Result<Self, StoreFault> {
        let stored: ParticipationState =
            view.message(Table::State, &keys::participation())?.ok_or_else(|| corrupt("participation is absent"))?;
        Ok(Self {
            window_start: Height(stored.window_start),
            windows: stored.windows,
            nodes: stored.nodes.iter().map(|n| (n.node, *n)).collect(),
            stored,
        })
    }

    /// Writes the row if it changed; whether it did.
    pub(crate) fn store<R: StateReader>(self, view: &mut View<'_, R>) -> bool {
        let Self { stored, window_start, windows, nodes } = self;
        let state = ParticipationState { window_start: window_start.0, windows, nodes: nodes.into_values().collect() };
        let changed = state != stored;
        if changed {
            view.put_message(Table::State, keys::participation(), &state);
        }
        changed
    }

    /// Counts the votes that a block holds.
    pub(crate) fn count<R: StateReader>(&mut self, view: &View<'_, R>, block: &BlockEnd<'_>) -> Result<(), StoreFault> {
        let mut chain = Chain { view, parent: block.parent, read: BTreeMap::new() };
        if let Some(certificate) = &block.observed.certificate {
            for (node, signature) in certificate.signatures() {
                let sighting =
                    Sighting { node, height: certificate.height, header: certificate.header_hash, signature };
                self.count_one(&mut chain, block, &sighting)?;
            }
        }
        for vote in &block.observed.votes {
            let Vote { validator, ledger_id: _, height, header_hash, tree_root: _, signature } = vote;
            let sighting = Sighting { node: *validator, height: *height, header: *header_hash, signature };
            self.count_one(&mut chain, block, &sighting)?;
        }
        Ok(())
    }

    fn count_one<R: StateReader>(
        &mut self,
        chain: &mut Chain<'_, R>,
        block: &BlockEnd<'_>,
        sighting: &Sighting<'_>,
    ) -> Result<(), StoreFault> {
        let known = self.nodes.get(&sighting.node.0);
        if known.is_some_and(|n| n.seen_in_window) || !self.is_recent(block, sighting.height) {
            return Ok(());
        }
        let Some(key) = vote_key(chain.view, sighting.node)? else { return Ok(()) };
        let Some((header, header_hash)) = chain.header(sighting.height)? else { return Ok(()) };
        let vote = Vote {
            validator: sighting.node,
            ledger_id: header.ledger_id,
            height: sighting.height,
            header_hash: *header_hash,
            tree_root: header.tree_root,
            signature: *sighting.signature,
        };
        if sighting.header == *header_hash && vote.verifies(&key) {
            let node = self.node(sighting.node);
            node.seen_in_window = true;
            node.seen_in_epoch = true;
        }
        Ok(())
    }

    /// A vote tells of this window if it is not older than one window, and of
    /// this epoch if it is at least over the block that ended the last one:
    /// nobody votes higher before that one is certified.
    fn is_recent(&self, block: &BlockEnd<'_>, voted: Height) -> bool {
        let window = block.epoch.parameters.miss_window_blocks;
        voted.0.saturating_add(window) >= self.window_start.0
            && voted.0.saturating_add(1) >= block.epoch.state.first_height
    }

    fn node(&mut self, id: NodeId) -> &mut NodeParticipation {
        self.nodes.entry(id.0).or_insert(NodeParticipation { node: id.0, ..NodeParticipation::default() })
    }

    /// Ends the window if it is full: seated validators that were not seen, and
    /// had not announced that, have missed it.
    pub(crate) fn end_window<R: StateReader>(
        &mut self,
        view: &View<'_, R>,
        block: &BlockEnd<'_>,
    ) -> Result<(), StoreFault> {
        let blocks = (block.height.0 + 1).saturating_sub(self.window_start.0);
        if blocks < block.epoch.parameters.miss_window_blocks {
            return Ok(());
        }
        if self.is_quorum(block.epoch, |n| n.seen_in_window)? {
            self.windows += 1;
            for id in block.epoch.seats().iter().map(|seat| NodeId(seat.validator)) {
                let seen = self.node(id).seen_in_window;
                if !seen && !self.was_announced(view, block, id)? {
                    self.node(id).missed_windows += 1;
                }
            }
        }
        self.nodes.values_mut().for_each(|n| n.seen_in_window = false);
        self.window_start = block.height.next();
        Ok(())
    }

    /// Whether the seats for which `seen` holds are a quorum of their set.
    fn is_quorum(&self, epoch: &EpochInForce, seen: impl Fn(&NodeParticipation) -> bool) -> Result<bool, StoreFault> {
        let seen = |seat: &&Validator| self.nodes.get(&seat.id.0).is_some_and(&seen);
        let set = epoch.set()?;
        Ok(set.is_quorum(set.seats().iter().filter(seen).map(|seat| u128::from(seat.power.0)).sum()))
    }

    /// Whether enough of the validators were seen in the epoch for the absence
    /// of others to be believed.
    pub(crate) fn tells_of_absence(&self, epoch: &EpochInForce) -> Result<bool, StoreFault> {
        self.is_quorum(epoch, |n| n.seen_in_epoch)
    }

    /// Whether an announced absence touches the window that ends with `block`.
    fn was_announced<R: StateReader>(
        &self,
        view: &View<'_, R>,
        block: &BlockEnd<'_>,
        node: NodeId,
    ) -> Result<bool, StoreFault> {
        let standing = view.standing(node)?;
        if standing.maintenance_until_ms == 0 || standing.maintenance_from_ms > block.time.0 {
            return Ok(false);
        }
        let mut chain = Chain { view, parent: block.parent, read: BTreeMap::new() };
        let before_window = Height(self.window_start.0.saturating_sub(1));
        let (header, _) = chain.header(before_window)?.ok_or_else(|| corrupt("a window starts above the chain"))?;
        Ok(standing.maintenance_until_ms >= header.time.0)
    }

    /// Whether a node missed more than `percent` of the epoch's windows.
    pub(crate) fn missed_too_much(&self, node: NodeId, percent: u32) -> bool {
        let missed = self.nodes.get(&node.0).map_or(0, |n| n.missed_windows);
        self.windows >= WINDOWS_BEFORE_JAIL && u64::from(missed) * 100 > u64::from(self.windows) * u64::from(percent)
    }

    pub(crate) fn seen_in_epoch(&self, node: NodeId) -> bool {
        self.nodes.get(&node.0).is_some_and(|n| n.seen_in_epoch)
    }

    pub(crate) fn seen_in_previous_epoch(&self, node: NodeId) -> bool {
        self.nodes.get(&node.0).is_some_and(|n| n.seen_in_previous_epoch)
    }

    /// Begins an epoch: what was seen in this one is what was seen before.
    pub(crate) fn start_epoch(&mut self, roster: &[u64], first_height: Height) {
        let seen = |n: &NodeParticipation| n.seen_in_epoch && roster.binary_search(&n.node).is_ok();
        let nodes = self.nodes.values().filter(|n| seen(n)).map(|n| (n.node, seen_before(NodeId(n.node))));
        self.nodes = nodes.collect();
        self.windows = 0;
        self.window_start = first_height;
    }
}

/// The row of a node that was seen in the epoch before and not yet in this one.
pub(crate) fn seen_before(node: NodeId) -> NodeParticipation {
    NodeParticipation { node: node.0, seen_in_previous_epoch: true, ..NodeParticipation::default() }
}

/// The nodes whose votes a leader should report, because the current window has
/// not seen them yet.
///
/// # Errors
/// If the store fails.
pub fn unseen_nodes<R: StateReader>(reader: &R) -> Result<BTreeSet<NodeId>, StoreFault> {
    unseen(&View::new(reader))
}

pub(crate) fn unseen<R: StateReader>(view: &View<'_, R>) -> Result<BTreeSet<NodeId>, StoreFault> {
    let presence = Presence::load(view)?;
    let seen = |id: &u64| presence.nodes.get(id).is_some_and(|n| n.seen_in_window);
    Ok(view.roster()?.nodes.into_iter().filter(|id| !seen(id)).map(NodeId).collect())
}

/// A signature in a block that shows a node to be there.
struct Sighting<'a> {
    node: NodeId,
    height: Height,
    header: HeaderHash,
    signature: &'a [u8; 64],
}

fn vote_key<R: StateReader>(view: &View<'_, R>, id: NodeId) -> Result<Option<VerifyingKey>, StoreFault> {
    let node = view.node(id)?.filter(|n| n.status != NodeStatus::Retired as i32);
    let malformed = |_| corrupt(format!("the vote key of node {id} is malformed"));
    node.map(|n| VerifyingKey::from_raw(SignatureAlgorithm::Es256, &n.vote_key).map_err(malformed)).transpose()
}

/// The first field of a stored block, decoded without the transactions.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredHeader {
    #[prost(message, optional, tag = "1")]
    header: Option<pb::Header>,
}

/// Headers below the block that ends. Every node has them: each has executed
/// every block.
struct Chain<'a, R> {
    view: &'a View<'a, R>,
    parent: &'a Header,
    read: BTreeMap<Height, (Header, HeaderHash)>,
}

impl<R: StateReader> Chain<'_, R> {
    fn header(&mut self, height: Height) -> Result<Option<&(Header, HeaderHash)>, StoreFault> {
        if height > self.parent.height {
            return Ok(None);
        }
        if !self.read.contains_key(&height) {
            let header = if height == self.parent.height { self.parent.clone() } else { self.stored(height)? };
            let hash = header.hash();
            self.read.insert(height, (header, hash));
        }
        Ok(self.read.get(&height))
    }

    fn stored(&self, height: Height) -> Result<Header, StoreFault> {
        let corrupt = |cause: String| StoreFault::Corrupt { table: Table::Blocks.name(), cause };
        let block: Option<StoredHeader> = self.view.message(Table::Blocks, &keys::height(height))?;
        let header = block.and_then(|b| b.header).ok_or_else(|| corrupt(format!("block {height} is absent")))?;
        Header::try_from(&header).map_err(|e| corrupt(e.to_string()))
    }
}
