//! A block of records, in CPU time of the thread that does the work: what every node does with it
//! once its signatures are checked, as each record has a payload of 1 KiB and two wraps. Beside it
//! stands its floor: hashing what was written and copying it once.
//!
//! `CONSILIUM_BENCH_RECORDS` says among how many others (20,000 unless said).

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use consilium_bench::cpu::{self, CpuTime};
use consilium_bench::hospital::{Hospital, PAYLOAD_BYTES, WRAP_BYTES};
use consilium_proto::hash::sha256;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// As a node has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const OTHERS: usize = 20_000;
/// As the load test of a network has them.
const PATIENTS: u64 = 10_000;

fn others() -> usize {
    std::env::var("CONSILIUM_BENCH_RECORDS").map_or(OTHERS, |text| text.parse().unwrap())
}

fn execute(c: &mut Criterion<CpuTime>) {
    let folder = tempfile::tempdir().unwrap();
    let mut hospital = Hospital::open(folder.path(), others());
    let mut group = c.benchmark_group("execute");
    for records in [1, 100] {
        group.throughput(cpu::records(records));
        group.bench_function(BenchmarkId::from_parameter(records), |b| {
            b.iter_custom(|rounds| {
                let mut taken = Duration::ZERO;
                for _ in 0..rounds {
                    let block: Vec<_> = (0..records).map(|_| hospital.record_of_one_of(PATIENTS)).collect();
                    let started = cpu::used();
                    hospital.take(black_box(&block));
                    taken += cpu::used() - started;
                }
                taken
            });
        });
        let written = vec![7_u8; PAYLOAD_BYTES + 2 * WRAP_BYTES];
        group.bench_function(BenchmarkId::new("floor", records), |b| {
            b.iter(|| {
                for _ in 0..records {
                    black_box((sha256(&[black_box(&written)]), written.clone()));
                }
            });
        });
    }
}

criterion_group!(name = benches; config = Criterion::default().with_measurement(CpuTime); targets = execute);
criterion_main!(benches);
