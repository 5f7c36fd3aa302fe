//! The authenticated state map at a million keys: time per block of 1, 100 and
//! 1,000 changed keys, over nodes in memory, and bytes written per key.
//!
//! `update` is the tree's own work, reading included; `update_and_store` adds
//! the storing of the written nodes, which a ledger leaves to its database. The
//! making of the changes must never be measured with either.

#![allow(missing_docs)]
// A hash table costs the least, and its order shows nowhere: what is measured
// should be the tree and not its store.
#![allow(clippy::disallowed_types)]

use std::collections::HashMap;
use std::convert::Infallible;

use bytes::Bytes;
use consilium_ledger::state_map::{Changes, NodePath, TrieStore, TrieUpdate, prove, update};
use consilium_proto::state_tree::{KeyHash, ValueHash};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const KEYS: u64 = 1_000_000;
const BLOCK_SIZES: [u64; 3] = [1, 100, 1000];

/// Odd and without small factors in common with [`KEYS`]: steps through all
/// keys, each far from the one before.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Default)]
struct Store(HashMap<NodePath, Bytes>);

impl Store {
    fn apply(&mut self, update: TrieUpdate) {
        for (path, node) in update.writes {
            match node {
                Some(bytes) => self.0.insert(path, Bytes::from(bytes)),
                None => self.0.remove(&path),
            };
        }
    }
}

impl TrieStore for Store {
    type Error = Infallible;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, Infallible> {
        Ok(self.0.get(path).cloned())
    }
}

fn key(n: u64) -> KeyHash {
    KeyHash::of(&n.to_be_bytes())
}

fn run(store: &Store, changes: &Changes) -> TrieUpdate {
    update(store, changes).expect("memory does not fail")
}

fn grown() -> Store {
    let mut store = Store::default();
    let changes: Changes = (0..KEYS).map(|n| (key(n), Some(ValueHash::of(&n.to_le_bytes())))).collect();
    let update = run(&store, &changes);
    store.apply(update);
    store
}

/// The changes of one block: keys far apart, values that were never there.
fn block(size: u64, serial: u64) -> Changes {
    (0..size)
        .map(|n| {
            let n = (serial * size + n).wrapping_mul(STRIDE) % KEYS;
            let value = format!("{n} in block {serial} of {size}");
            (key(n), Some(ValueHash::of(value.as_bytes())))
        })
        .collect()
}

fn report(store: &Store) {
    let stored: usize = store.0.values().map(Bytes::len).sum();
    eprintln!("stored: {} nodes, {} bytes per key", store.0.len(), stored as u64 / KEYS);
    for size in BLOCK_SIZES {
        let TrieUpdate { writes, nodes_read, .. } = run(store, &block(size, 7));
        let node_bytes = |node: &Option<Vec<u8>>| node.as_ref().map_or(0, Vec::len);
        let bytes: usize = writes.iter().map(|(path, node)| path.to_bytes().len() + node_bytes(node)).sum();
        let per_key = |n: usize| n as f64 / size as f64;
        eprintln!(
            "block of {size}: {:.2} nodes read, {:.2} written, {:.0} bytes written per key",
            per_key(nodes_read),
            per_key(writes.len()),
            per_key(bytes),
        );
    }
}

fn state_map(criterion: &mut Criterion) {
    let mut store = grown();
    report(&store);
    let mut group = criterion.benchmark_group("state_map");
    let mut serial = 0;
    let mut next = |size| {
        serial += 1;
        block(size, serial)
    };
    for size in BLOCK_SIZES {
        group.throughput(Throughput::Elements(size));
        group.bench_function(format!("update/{size}"), |bencher| {
            bencher.iter_batched(|| next(size), |changes| run(&store, &changes), BatchSize::PerIteration);
        });
        group.bench_function(format!("update_and_store/{size}"), |bencher| {
            let changes_then_store = |changes: Changes| {
                let update = run(&store, &changes);
                store.apply(update);
            };
            bencher.iter_batched(|| next(size), changes_then_store, BatchSize::PerIteration);
        });
    }
    group.throughput(Throughput::Elements(1));
    let mut keys = (0u64..).map(|n| key(n.wrapping_mul(STRIDE) % (2 * KEYS)));
    group.bench_function("prove", |bencher| {
        let next = || keys.next().expect("endless");
        bencher.iter_batched(next, |key| prove(&store, &key).expect("memory does not fail"), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = state_map
}
criterion_main!(benches);
