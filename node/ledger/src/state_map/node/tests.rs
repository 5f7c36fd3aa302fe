#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn key(first: u8) -> KeyHash {
    let mut bytes = [0xee; 32];
    bytes[0] = first;
    KeyHash::from_bytes(bytes)
}

const VALUE: ValueHash = ValueHash::from_bytes([0xdd; 32]);
const INNER: Hash = Hash::from_bytes([0xcc; 32]);

fn sample() -> Node {
    let mut node = Node::EMPTY;
    node.set(0x1, Slot::Leaf(key(0x12), VALUE));
    node.set(0xf, Slot::Inner(INNER));
    node
}

/// The binary tree over all sixteen slots, without quarters.
fn naive_subtree(slots: &[Slot]) -> Subtree {
    match slots {
        [slot] => slot.subtree(),
        _ => {
            let (left, right) = slots.split_at(slots.len() / 2);
            Subtree::join(naive_subtree(left), naive_subtree(right))
        }
    }
}

#[test]
fn golden_bytes() {
    // Changing this breaks stored trees.
    let quarter = Subtree::join(Subtree::Empty, Subtree::join(Subtree::Empty, Subtree::Inner(INNER)));
    let expected =
        [&[1, 0x00, 0x02, 0x80, 0x00][..], key(0x12).as_bytes(), &[0xdd; 32], &[0xcc; 32], quarter.hash().as_bytes()]
            .concat();
    assert_eq!(sample().encode(), expected);
    let decoded = Node::decode(&NodePath::ROOT, &expected).unwrap();
    assert_eq!(decoded.slots, sample().slots);
    assert_eq!(decoded.encode(), expected);
}

#[test]
fn quarters_stay_in_step_with_slots() {
    let mut node = Node::EMPTY;
    for index in [3, 2, 9, 15, 0, 1, 8] {
        node.set(index, if index == 9 { Slot::Inner(INNER) } else { leaf(index) });
        assert_eq!(node.subtree(), naive_subtree(node.slots()));
        node.seal();
        assert_eq!(node.check_quarters(), Ok(()));
        let decoded = Node::decode(&NodePath::ROOT, &node.encode()).unwrap();
        assert_eq!(decoded.subtree(), naive_subtree(node.slots()));
    }
    for index in [9, 8, 2, 3, 0, 15, 1] {
        node.set(index, Slot::Empty);
        assert_eq!(node.subtree(), naive_subtree(node.slots()));
        node.seal();
    }
    assert_eq!(node.collapsed(), Some(Slot::Empty));
}

fn leaf(index: usize) -> Slot {
    Slot::Leaf(key(u8::try_from(index).unwrap() << 4), VALUE)
}

#[test]
fn a_wrong_quarter_is_found_by_the_audit() {
    let mut bytes = sample().encode();
    *bytes.last_mut().unwrap() ^= 1;
    let node = Node::decode(&NodePath::ROOT, &bytes).unwrap();
    assert_eq!(node.check_quarters(), Err(NodeDecodeError::QuarterMismatch(3)));
}

fn refusal(path: &NodePath, bytes: &[u8]) -> Option<NodeDecodeError> {
    Node::decode(path, bytes).err()
}

#[test]
fn damaged_bytes_are_refused() {
    use NodeDecodeError as Error;
    let good = sample().encode();
    let edited = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let deep = (0..63).fold(NodePath::ROOT, |path, _| path.child(0xe));
    let zero_inner = [&good[..69], &[0; 32], &good[101..]].concat();
    let zero_quarter = [&good[..101], &[0; 32]].concat();
    let inner_only = [&[1, 0, 0, 0, 1][..], &[0xcc; 64]].concat();
    let no_slots = vec![1, 0, 0, 0, 0];
    let length = |expected, actual| Error::Length { expected, actual };
    let root = NodePath::ROOT;
    let cases = [
        (root, good[..4].to_vec(), Error::Truncated),
        (root, edited(0, 2), Error::Version(2)),
        (root, edited(1, 0x80), Error::TwoKinds(0x8000)),
        (root, edited(2, 0x06), length(229, 133)),
        (root, good[..132].to_vec(), length(133, 132)),
        (root, edited(2, 0x04), Error::MisplacedLeaf(key(0x12))),
        (root, edited(5, 0x22), Error::MisplacedLeaf(key(0x22))),
        (root.child(0xa), good.clone(), Error::MisplacedLeaf(key(0x12))),
        (root, zero_inner, Error::EmptyInner(15)),
        (root, zero_quarter, Error::EmptyQuarter(3)),
        (deep, inner_only, Error::TooDeep(0)),
        (root, no_slots.clone(), Error::TooFewKeys),
        (root.child(1), no_slots, Error::TooFewKeys),
    ];
    for (path, bytes, error) in cases {
        assert_eq!(refusal(&path, &bytes), Some(error));
    }
}

#[test]
fn only_the_root_is_stored_for_a_single_leaf() {
    let mut node = Node::EMPTY;
    node.set(1, Slot::Leaf(key(0x12), VALUE));
    assert_eq!(refusal(&NodePath::ROOT, &node.encode()), None);
    let mut node = Node::EMPTY;
    node.set(2, Slot::Leaf(key(0x12), VALUE));
    let refused = Some(NodeDecodeError::TooFewKeys);
    assert_eq!(refusal(&NodePath::ROOT.child(1), &node.encode()), refused);
}

proptest! {
    #[test]
    fn decoding_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        fill in any::<u8>(),
        depth in 0usize..=64,
    ) {
        let path = (0..depth).fold(NodePath::ROOT, |path, _| path.child(0xe));
        let mut damaged = sample().encode();
        let index = at.index(damaged.len());
        damaged[index] = fill;
        for bytes in [noise, damaged] {
            for path in [NodePath::ROOT, path] {
                if let Ok(node) = Node::decode(&path, &bytes) {
                    prop_assert_eq!(node.encode(), &bytes[..]);
                }
            }
        }
    }
}
