//! The incremental tree against `root_of_sorted`, which knows no nodes.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;

use consilium_proto::state_tree::{
    EMPTY, KeyHash, StateProof, StateProofError, Terminal, ValueHash, leaf_hash, root_of_sorted,
};
use proptest::prelude::*;

use super::*;

type Map = BTreeMap<KeyHash, ValueHash>;

fn expected_root(map: &Map) -> Hash {
    root_of_sorted(map.iter().map(|(key, value)| (*key, *value))).unwrap()
}

fn key(n: u32) -> KeyHash {
    KeyHash::of(&n.to_be_bytes())
}

fn value(n: u32) -> ValueHash {
    ValueHash::of(&n.to_le_bytes())
}

fn numbered(range: std::ops::Range<u32>) -> Changes {
    range.map(|n| (key(n), Some(value(n)))).collect()
}

/// Applies changes to the tree and to the model.
fn apply(trie: &mut MemoryTrie, map: &mut Map, changes: &Changes) -> TrieUpdate {
    let update = update(trie, changes).unwrap();
    trie.apply(update.clone());
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(*key, *value),
            None => map.remove(key),
        };
    }
    update
}

fn grown(count: u32) -> (MemoryTrie, Map) {
    let (mut trie, mut map) = (MemoryTrie::new(), Map::new());
    apply(&mut trie, &mut map, &numbered(0..count));
    (trie, map)
}

#[test]
fn golden_root() {
    // The value that the hashing rules give for these pairs; changing it
    // breaks every header.
    let (mut trie, mut map) = (MemoryTrie::new(), Map::new());
    let same_value: Changes = (0..1000).map(|n| (key(n), Some(ValueHash::of(b"value")))).collect();
    let update = apply(&mut trie, &mut map, &same_value);
    assert_eq!(update.root.to_string(), "726d048727ea84659635deb1d0463ea278aff5bfbf1acce7e3215adf2895c1b1");
}

#[test]
fn the_empty_tree_stores_nothing() {
    let mut trie = MemoryTrie::new();
    let nothing = update(&trie, &Changes::new()).unwrap();
    assert_eq!((nothing.root, nothing.writes.len()), (EMPTY, 0));
    assert_eq!(root(&trie), Ok(EMPTY));
    assert_eq!(lookup(&trie, &key(0)), Ok(None));
    assert_eq!(prove(&trie, &key(0)).unwrap().terminal(), &Terminal::Empty);

    let mut map = Map::new();
    apply(&mut trie, &mut map, &numbered(0..1));
    assert_eq!(root(&trie), Ok(leaf_hash(&key(0), &value(0))));
    let removal = apply(&mut trie, &mut map, &Changes::from([(key(0), None)]));
    assert_eq!(removal.writes, [(NodePath::ROOT, None)]);
    assert_eq!(trie, MemoryTrie::new());
}

#[test]
fn changes_that_change_nothing_write_nothing() {
    let (trie, map) = grown(500);
    let same = numbered(0..500);
    let absent: Changes = (500..900).map(|n| (key(n), None)).collect();
    for changes in [Changes::new(), same, absent] {
        let update = update(&trie, &changes).unwrap();
        assert_eq!(update.root, expected_root(&map));
        assert_eq!(update.writes, []);
    }
}

/// Counts reads by path.
struct Counting<'a> {
    trie: &'a MemoryTrie,
    reads: std::cell::RefCell<BTreeMap<NodePath, usize>>,
}

impl TrieStore for Counting<'_> {
    type Error = Infallible;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, Infallible> {
        *self.reads.borrow_mut().entry(*path).or_default() += 1;
        self.trie.node(path)
    }
}

#[test]
fn a_batch_reads_and_writes_each_node_once() {
    let (trie, _) = grown(5000);
    let counting = Counting { trie: &trie, reads: BTreeMap::new().into() };
    let changes: Changes = (0..1000).map(|n| (key(n * 7), Some(value(n + 1)))).collect();
    let update = update(&counting, &changes).unwrap();
    let reads = counting.reads.into_inner();
    assert!(reads.values().all(|count| *count == 1));
    assert_eq!(update.nodes_read, reads.len());
    let written: BTreeMap<_, _> = update.writes.iter().cloned().collect();
    assert_eq!(written.len(), update.writes.len());
}

#[test]
fn keys_that_share_all_but_the_last_bit() {
    let mut bytes = [0x77; 32];
    let low = KeyHash::from_bytes(bytes);
    bytes[31] ^= 1;
    let high = KeyHash::from_bytes(bytes);
    let (mut trie, mut map) = (MemoryTrie::new(), Map::new());
    let both = Changes::from([(low, Some(value(1))), (high, Some(value(2)))]);
    let update = apply(&mut trie, &mut map, &both);
    assert_eq!(update.root, expected_root(&map));
    assert_eq!(trie.nodes().len(), 64);
    for (key, value) in &map {
        let proof = prove(&trie, key).unwrap();
        assert_eq!(proof.siblings().len(), 256);
        assert_eq!(proof.verify(&update.root, key, Some(value)), Ok(()));
    }
    let removal = apply(&mut trie, &mut map, &Changes::from([(low, None)]));
    assert_eq!(removal.root, leaf_hash(&high, &value(2)));
    assert_eq!(trie.nodes().len(), 1);
}

#[test]
fn several_keys_are_proven_as_each_for_itself_in_fewer_looks() {
    let (trie, _) = grown(2000);
    let looks = |prove: &mut dyn FnMut(&Counting<'_>)| {
        let store = Counting { trie: &trie, reads: BTreeMap::new().into() };
        prove(&store);
        store.reads.into_inner().into_values().sum::<usize>()
    };
    // The last hundred are not there.
    let (asked, mut single) = (1900..2100, Vec::new());
    let one_by_one = looks(&mut |store| single = asked.clone().map(|n| prove(store, &key(n)).unwrap()).collect());
    let together = looks(&mut |store| {
        let mut prover = Prover::new(store);
        let proofs: Vec<_> = asked.clone().map(|n| prover.prove(&key(n)).unwrap()).collect();
        assert_eq!(proofs, single);
    });
    assert!(together * 2 < one_by_one, "{together} of {one_by_one}");
    let empty = MemoryTrie::new();
    let mut prover = Prover::new(&empty);
    let nothing = [0, 1].map(|n| prover.prove(&key(n)).unwrap());
    assert!(nothing.iter().all(|proof| proof.terminal() == &Terminal::Empty));
}

#[test]
fn the_audit_counts_and_shows_every_leaf() {
    let (trie, map) = grown(2000);
    let mut seen = Map::new();
    let report = check(&trie, |key, value| {
        assert_eq!(seen.insert(*key, *value), None);
    })
    .unwrap();
    assert_eq!(seen, map);
    assert_eq!(report, CheckReport { root: expected_root(&map), nodes: trie.nodes().len() as u64, leaves: 2000 });
}

#[test]
fn the_audit_finds_any_flipped_byte() {
    let (good, _) = grown(40);
    for (path, bytes) in good.nodes() {
        for at in 0..bytes.len() {
            let mut flipped = good.clone();
            let mut bytes = bytes.to_vec();
            bytes[at] ^= 1;
            flipped.put(*path, Some(bytes));
            match check(&flipped, |_, _| ()) {
                Err(TrieError::Damaged { path: named, .. } | TrieError::HashMismatch { path: named, .. }) => {
                    assert_eq!(named, *path);
                }
                // Only the header knows the right root.
                Ok(report) => assert!(*path == NodePath::ROOT && Ok(report.root) != root(&good)),
                other => panic!("{path}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_audit_names_the_bad_node() {
    let (good, _) = grown(2000);
    let paths: Vec<NodePath> = good.nodes().map(|(path, _)| *path).collect();
    for path in &paths[1..] {
        let mut missing = good.clone();
        missing.put(*path, None);
        assert_eq!(check(&missing, |_, _| ()), Err(TrieError::Missing(*path)));

        let mut flipped = good.clone();
        let mut bytes = good.node(path).unwrap().unwrap().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        flipped.put(*path, Some(bytes));
        match check(&flipped, |_, _| ()) {
            // A leaf's bytes, or a quarter's that the node's hash came from.
            Err(TrieError::HashMismatch { path: named, .. }) => assert_eq!(named, *path),
            other => panic!("{path}: {other:?}"),
        }
    }
}

/// Fails after a number of reads.
struct Failing<'a> {
    trie: &'a MemoryTrie,
    left: Cell<usize>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk is gone")]
struct DiskGone;

impl TrieStore for Failing<'_> {
    type Error = DiskGone;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, DiskGone> {
        self.left.set(self.left.get().checked_sub(1).ok_or(DiskGone)?);
        let Ok(node) = self.trie.node(path);
        Ok(node)
    }
}

#[test]
fn a_failure_of_the_store_is_passed_on() {
    let (trie, _) = grown(300);
    let changes = numbered(0..20);
    let needed = update(&trie, &changes).unwrap().nodes_read;
    for left in 0..needed {
        let store = Failing { trie: &trie, left: left.into() };
        assert_eq!(update(&store, &changes), Err(TrieError::Store(DiskGone)));
    }
    let store = Failing { trie: &trie, left: needed.into() };
    assert!(update(&store, &changes).is_ok());
}

#[test]
fn a_damaged_node_is_a_fault_and_no_panic() {
    let (mut trie, _) = grown(300);
    let path = NodePath::ROOT.child(5);
    trie.put(path, Some(vec![9]));
    let expected = TrieError::Damaged { path, reason: NodeDecodeError::Truncated };
    let damaged = (0..).map(key).find(|key| path.is_prefix_of(key)).unwrap();
    let changes = Changes::from([(damaged, Some(value(7)))]);
    assert_eq!(update(&trie, &changes), Err(expected.clone()));
    assert_eq!(prove(&trie, &damaged), Err(expected.clone()));
    assert_eq!(lookup(&trie, &damaged), Err(expected.clone()));
    assert_eq!(check(&trie, |_, _| ()), Err(expected));
}

/// A few hundred keys, many of which share long prefixes.
fn any_key() -> impl Strategy<Value = KeyHash> {
    prop_oneof![
        (0u32..200).prop_map(key),
        (0usize..32, any::<u8>()).prop_map(|(at, byte)| {
            let mut bytes = [0x11; 32];
            bytes[at] = byte;
            KeyHash::from_bytes(bytes)
        }),
    ]
}

fn any_changes() -> impl Strategy<Value = Changes> {
    let value = prop_oneof![
        2 => (0u32..4).prop_map(|n| Some(value(n))),
        1 => Just(None),
    ];
    prop::collection::btree_map(any_key(), value, 0..60)
}

proptest! {
    #[test]
    fn any_history_gives_the_root_and_the_store_of_the_map(batches in prop::collection::vec(any_changes(), 0..12)) {
        let (mut trie, mut map) = (MemoryTrie::new(), Map::new());
        for changes in &batches {
            let update = apply(&mut trie, &mut map, changes);
            prop_assert_eq!(update.root, expected_root(&map));
            prop_assert_eq!(root(&trie), Ok(update.root));
        }
        let at_once: Changes = map.iter().map(|(k, v)| (*k, Some(*v))).collect();
        let (mut fresh, mut fresh_map) = (MemoryTrie::new(), Map::new());
        apply(&mut fresh, &mut fresh_map, &at_once);
        prop_assert_eq!(&fresh, &trie, "stores differ by history");
        prop_assert_eq!(check(&trie, |_, _| ()).unwrap().leaves, map.len() as u64);
    }

    #[test]
    fn splitting_a_batch_changes_nothing(before in any_changes(), changes in any_changes(), order in any::<u64>()) {
        let (mut trie, mut map) = (MemoryTrie::new(), Map::new());
        apply(&mut trie, &mut map, &before);
        let (mut single, mut single_map) = (trie.clone(), map.clone());
        apply(&mut trie, &mut map, &changes);

        let mut one_by_one: Vec<_> = changes.into_iter().collect();
        one_by_one.sort_by_key(|(key, _)| {
            let bytes = key.as_bytes();
            u64::from_be_bytes([bytes[0], bytes[9], bytes[31], bytes[7], bytes[30], bytes[20], bytes[2], bytes[1]])
                .wrapping_mul(order | 1)
        });
        for change in one_by_one {
            apply(&mut single, &mut single_map, &Changes::from([change]));
        }
        prop_assert_eq!(single, trie);
    }

}

proptest! {
    // Each case asks for every key of its map with every claim.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn proofs_verify_for_their_claim_and_no_other(changes in any_changes(), asked in any_key(), other in any_key()) {
        let (mut trie, mut map) = (MemoryTrie::new(), Map::new());
        let root = apply(&mut trie, &mut map, &changes).root;
        for asked in map.keys().chain([&asked]) {
            let proof = StateProof::decode(&prove(&trie, asked).unwrap().encode()).unwrap();
            let truth = map.get(asked);
            prop_assert_eq!(lookup(&trie, asked), Ok(truth.copied()));
            prop_assert_eq!(proof.verify(&root, asked, truth), Ok(()));

            let wrong = value(99);
            prop_assert!(proof.verify(&root, asked, Some(&wrong)).is_err());
            if truth.is_some() {
                prop_assert_eq!(proof.verify(&root, asked, None), Err(StateProofError::ShowsPresence));
            }
            // Another key may share an absence proof, but never a lie.
            let claims = [None, Some(value(0)), Some(value(1)), Some(value(2)), Some(value(3))];
            for claim in claims.iter().filter(|claim| claim.as_ref() != map.get(&other)) {
                prop_assert!(proof.verify(&root, &other, claim.as_ref()).is_err());
            }
            for at in 0..proof.siblings().len() {
                let mut siblings = proof.siblings().to_vec();
                siblings[at] = leaf_hash(asked, &wrong);
                let forged = StateProof::new(*proof.terminal(), siblings).unwrap();
                prop_assert!(forged.verify(&root, asked, truth).is_err());
            }
        }
    }
}
