//! A stored node: sixteen slots, their bytes, and the hash over them.
//!
//! # Bytes, version 1
//! | bytes | content |
//! |---|---|
//! | 1 | version, 1 |
//! | 2 | bitmap of leaf slots, big-endian, bit i for slot i |
//! | 2 | bitmap of inner slots, big-endian, disjoint from the first |
//! | per used slot, ascending | a leaf: key hash (32), value hash (32); an inner node: its hash (32) |
//!
//! | per quarter, ascending, with two keys or more | hash of the subtree over its four slots (32) |
//!
//! The quarters' hashes follow from the slots. They are kept because a change
//! of one slot then costs 6 hashes instead of 15, for 128 bytes more in a full
//! node; reading believes them, and the audit ([`super::check`]) does not.
//!
//! A node has one encoding, and no node is stored that its parent should hold
//! as a leaf. Decoding must never accept a leaf that does not belong below the
//! node's path: it would be hashed into a place where no proof can lead.

use std::ops::Range;

use consilium_proto::hash::{HASH_LEN, Hash};
use consilium_proto::state_tree::{EMPTY, KeyHash, Subtree, ValueHash, leaf_hash};

use super::path::{NIBBLES, NodePath};

const VERSION: u8 = 1;
const HEADER_LEN: usize = 1 + 2 + 2;
const LEAF_LEN: usize = 2 * HASH_LEN;

/// Children of a stored node.
pub(super) const SLOTS: usize = 16;

/// Subtrees two binary levels below a node, of four slots each.
const QUARTERS: usize = 4;
const QUARTER_SLOTS: usize = SLOTS / QUARTERS;

/// Why the bytes of a node are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeDecodeError {
    /// Shorter than a header.
    #[error("the node ends too early")]
    Truncated,
    /// The first byte names a layout that this code does not know.
    #[error("unknown node version {0}")]
    Version(u8),
    /// A slot is said to be both a leaf and an inner node.
    #[error("slots {0:#06x} are of two kinds")]
    TwoKinds(u16),
    /// The length does not follow from the bitmaps.
    #[error("the node must be {expected} bytes, got {actual}")]
    Length {
        /// Bytes that the bitmaps promise.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// A leaf stands in a slot to which its key does not lead.
    #[error("leaf {0} does not belong into its slot")]
    MisplacedLeaf(KeyHash),
    /// An inner slot holds the hash of nothing.
    #[error("inner slot {0} is empty")]
    EmptyInner(usize),
    /// An inner slot below which there is no nibble left.
    #[error("inner slot {0} is too deep")]
    TooDeep(usize),
    /// A quarter with two keys or more has the hash of nothing.
    #[error("quarter {0} is empty")]
    EmptyQuarter(usize),
    /// The hash of a quarter is not that of its slots.
    #[error("quarter {0} is not the hash of its slots")]
    QuarterMismatch(usize),
    /// A node that should not be stored: its parent holds nothing, or the leaf.
    #[error("the node has fewer than two keys")]
    TooFewKeys,
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Empty,
    Leaf(KeyHash, ValueHash),
    /// Hash of a node that is stored at the slot's path.
    Inner(Hash),
}

impl Slot {
    pub(super) fn subtree(&self) -> Subtree {
        match self {
            Self::Empty => Subtree::Empty,
            Self::Leaf(key, value) => Subtree::Leaf(leaf_hash(key, value)),
            Self::Inner(hash) => Subtree::Inner(*hash),
        }
    }
}

/// A node in memory.
#[derive(Debug, Clone)]
pub(super) struct Node {
    slots: [Slot; SLOTS],
    /// Subtrees over four slots each, where known.
    quarters: [Option<Subtree>; QUARTERS],
}

impl Node {
    pub(super) const EMPTY: Self = Self { slots: [Slot::Empty; SLOTS], quarters: [Some(Subtree::Empty); QUARTERS] };

    pub(super) fn slots(&self) -> &[Slot; SLOTS] {
        &self.slots
    }

    pub(super) fn set(&mut self, index: usize, slot: Slot) {
        self.slots[index] = slot;
        self.quarters[index / QUARTER_SLOTS] = None;
    }

    /// The node as its parent should hold it if that is not as a node: nothing,
    /// or a single leaf. `None` for two keys or more.
    pub(super) fn collapsed(&self) -> Option<Slot> {
        collapsed(&self.slots)
    }

    /// Computes the quarters that are not known, so that the hash and the bytes
    /// do not compute them twice.
    pub(super) fn seal(&mut self) {
        self.quarters = self.quarters().map(Some);
    }

    /// The node's subtree.
    pub(super) fn subtree(&self) -> Subtree {
        join_four(&self.quarters())
    }

    pub(super) fn quarters(&self) -> [Subtree; QUARTERS] {
        core::array::from_fn(|index| self.subtree_over(index * QUARTER_SLOTS, 2))
    }

    /// How many keys there are below some slots: none, one, or two for more.
    pub(super) fn key_count(&self, slots: Range<usize>) -> usize {
        let keys = self.slots[slots].iter().map(|slot| match slot {
            Slot::Empty => 0,
            Slot::Leaf(..) => 1,
            Slot::Inner(_) => 2,
        });
        keys.sum::<usize>().min(2)
    }

    /// The subtree over the 2^`level` slots from `first` on, `level` being 0 to 3.
    pub(super) fn subtree_over(&self, first: usize, level: usize) -> Subtree {
        match level {
            0 => self.slots[first].subtree(),
            2 => {
                let index = first / QUARTER_SLOTS;
                self.quarters[index].unwrap_or_else(|| join_four(&self.quarter_slots(index)))
            }
            _ => {
                let half = 1 << (level - 1);
                Subtree::join(self.subtree_over(first, level - 1), self.subtree_over(first + half, level - 1))
            }
        }
    }

    /// The subtrees of the four slots of a quarter.
    fn quarter_slots(&self, quarter: usize) -> [Subtree; QUARTER_SLOTS] {
        core::array::from_fn(|index| self.slots[quarter * QUARTER_SLOTS + index].subtree())
    }

    /// Compares the known quarters with their slots, and forgets none.
    pub(super) fn check_quarters(&self) -> Result<(), NodeDecodeError> {
        for (index, known) in self.quarters.iter().enumerate() {
            if known.is_some_and(|known| known != join_four(&self.quarter_slots(index))) {
                return Err(NodeDecodeError::QuarterMismatch(index));
            }
        }
        Ok(())
    }

    /// The bytes described in the module's documentation.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (mut leaves, mut inners) = (0u16, 0u16);
        for (index, slot) in self.slots.iter().enumerate() {
            match slot {
                Slot::Empty => (),
                Slot::Leaf(..) => leaves |= 1 << index,
                Slot::Inner(_) => inners |= 1 << index,
            }
        }
        let mut bytes = Vec::with_capacity(encoded_len(leaves, inners));
        bytes.push(VERSION);
        bytes.extend_from_slice(&leaves.to_be_bytes());
        bytes.extend_from_slice(&inners.to_be_bytes());
        for slot in &self.slots {
            match slot {
                Slot::Empty => (),
                Slot::Leaf(key, value) => {
                    bytes.extend_from_slice(key.as_bytes());
                    bytes.extend_from_slice(value.as_bytes());
                }
                Slot::Inner(hash) => bytes.extend_from_slice(hash.as_bytes()),
            }
        }
        for quarter in self.quarters() {
            match quarter {
                Subtree::Empty | Subtree::Leaf(_) => (),
                Subtree::Inner(hash) => bytes.extend_from_slice(hash.as_bytes()),
            }
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote for `path`, and nothing else.
    pub(super) fn decode(path: &NodePath, bytes: &[u8]) -> Result<Self, NodeDecodeError> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(NodeDecodeError::Truncated)?;
        let [version, leaves_high, leaves_low, inners_high, inners_low] = *header;
        if version != VERSION {
            return Err(NodeDecodeError::Version(version));
        }
        let leaves = u16::from_be_bytes([leaves_high, leaves_low]);
        let inners = u16::from_be_bytes([inners_high, inners_low]);
        if leaves & inners != 0 {
            return Err(NodeDecodeError::TwoKinds(leaves & inners));
        }
        let expected = encoded_len(leaves, inners);
        if bytes.len() != expected {
            return Err(NodeDecodeError::Length { expected, actual: bytes.len() });
        }
        let mut rest = SlotBytes(rest);
        let mut node = Self::EMPTY;
        for (index, slot) in node.slots.iter_mut().enumerate() {
            if leaves >> index & 1 == 1 {
                *slot = decode_leaf(path, index, &mut rest)?;
            } else if inners >> index & 1 == 1 {
                *slot = decode_inner(path, index, &mut rest)?;
            }
        }
        for index in 0..QUARTERS {
            node.quarters[index] = match quarter_is_inner(leaves, inners, index) {
                true => Some(decode_quarter(index, &mut rest)?),
                false => None,
            };
        }
        node.check_key_count(path)?;
        Ok(node)
    }

    /// The root may hold a single leaf: it has no parent to hold it.
    fn check_key_count(&self, path: &NodePath) -> Result<(), NodeDecodeError> {
        match self.collapsed() {
            Some(Slot::Leaf(..)) if *path == NodePath::ROOT => Ok(()),
            Some(_) => Err(NodeDecodeError::TooFewKeys),
            None => Ok(()),
        }
    }
}

fn encoded_len(leaves: u16, inners: u16) -> usize {
    let quarters = (0..QUARTERS).filter(|index| quarter_is_inner(leaves, inners, *index));
    HEADER_LEN
        + leaves.count_ones() as usize * LEAF_LEN
        + inners.count_ones() as usize * HASH_LEN
        + quarters.count() * HASH_LEN
}

/// Whether a quarter has two keys or more: an inner slot, or two leaves.
const fn quarter_is_inner(leaves: u16, inners: u16, quarter: usize) -> bool {
    let mask = 0xf << (quarter * QUARTER_SLOTS);
    inners & mask != 0 || (leaves & mask).count_ones() > 1
}

/// What a parent should hold for a subtree over `slots` that is no node: see
/// [`Node::collapsed`].
fn collapsed(slots: &[Slot]) -> Option<Slot> {
    let mut used = slots.iter().filter(|slot| **slot != Slot::Empty);
    match (used.next(), used.next()) {
        (None, _) => Some(Slot::Empty),
        (Some(Slot::Leaf(key, value)), None) => Some(Slot::Leaf(*key, *value)),
        (Some(Slot::Inner(_) | Slot::Empty), None) | (Some(_), Some(_)) => None,
    }
}

/// Two binary levels at once.
fn join_four([a, b, c, d]: &[Subtree; 4]) -> Subtree {
    Subtree::join(Subtree::join(*a, *b), Subtree::join(*c, *d))
}

fn decode_quarter(index: usize, rest: &mut SlotBytes<'_>) -> Result<Subtree, NodeDecodeError> {
    let hash = Hash::from_bytes(rest.take()?);
    if hash == EMPTY {
        return Err(NodeDecodeError::EmptyQuarter(index));
    }
    Ok(Subtree::Inner(hash))
}

fn decode_leaf(path: &NodePath, index: usize, rest: &mut SlotBytes<'_>) -> Result<Slot, NodeDecodeError> {
    let key = KeyHash::from_bytes(rest.take()?);
    let value = ValueHash::from_bytes(rest.take()?);
    if !path.is_prefix_of(&key) || path.depth() >= NIBBLES || path.nibble_of(&key) != index {
        return Err(NodeDecodeError::MisplacedLeaf(key));
    }
    Ok(Slot::Leaf(key, value))
}

fn decode_inner(path: &NodePath, index: usize, rest: &mut SlotBytes<'_>) -> Result<Slot, NodeDecodeError> {
    let hash = Hash::from_bytes(rest.take()?);
    // Two different keys differ in the last nibble at the latest.
    if path.depth() + 1 >= NIBBLES {
        return Err(NodeDecodeError::TooDeep(index));
    }
    if hash == EMPTY {
        return Err(NodeDecodeError::EmptyInner(index));
    }
    Ok(Slot::Inner(hash))
}

/// The slots' bytes that are still to be read.
struct SlotBytes<'a>(&'a [u8]);

impl SlotBytes<'_> {
    fn take(&mut self) -> Result<[u8; HASH_LEN], NodeDecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(NodeDecodeError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests;
