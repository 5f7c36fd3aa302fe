//! An audited read, in CPU time of the thread that does the work: what every node does with the
//! request when its block comes, and what the node that was asked does to answer, with one record
//! and with fifty. Beside the answer stands its floor: encrypting the contents alone. Then a
//! patient's thousand records, listed with proof.
//!
//! `CONSILIUM_BENCH_RECORDS` says among how many others (100,000 unless said).

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use consilium_bench::cpu::{self, CpuTime, percentiles};
use consilium_bench::hospital::{Hospital, SHELVES};
use consilium_proto::ids::PatientPseudonym;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// As a node has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const OTHERS: usize = 100_000;
const LISTED: usize = 1_000;
const LISTINGS: usize = 2_000;
/// What TLS encrypts at once.
const TLS_RECORD: usize = 16 * 1024;

fn others() -> usize {
    std::env::var("CONSILIUM_BENCH_RECORDS").map_or(OTHERS, |text| text.parse().unwrap())
}

fn apply(c: &mut Criterion<CpuTime>, hospital: &mut Hospital) {
    let mut group = c.benchmark_group("apply");
    for records in [1, 50] {
        group.throughput(cpu::records(records));
        group.bench_function(BenchmarkId::from_parameter(records), |b| {
            b.iter_custom(|rounds| {
                let mut taken = Duration::ZERO;
                for round in 0..rounds {
                    let request = [hospital.request(round as usize % SHELVES, records)];
                    let started = cpu::used();
                    black_box(hospital.apply(&request));
                    taken += cpu::used() - started;
                }
                taken
            });
        });
    }
}

fn answer(c: &mut Criterion<CpuTime>, hospital: &mut Hospital) {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let mut group = c.benchmark_group("answer");
    for records in [1, 50] {
        let requests: Vec<_> = (0..SHELVES).map(|shelf| hospital.request(shelf, records)).collect();
        let (all, _) = hospital.apply(&requests);
        let released = hospital.released(&all[0]).records;
        let contents = released.iter().map(|record| record.payload.len() + record.wraps[0].wrap.len()).sum::<usize>();
        let proofs = released.iter().filter_map(|record| record.proof.as_ref()).map(prost::Message::encoded_len);
        let (whole, proofs) = (hospital.answer(&all[0]).len(), proofs.sum::<usize>());
        println!("answer of {records}: {whole} bytes, {contents} of them contents and keys, {proofs} proofs");
        group.throughput(cpu::records(records));
        let mut turn = all.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(records), |b| {
            b.iter(|| black_box(hospital.answer(turn.next().unwrap())));
        });
        let mut bytes = vec![0; contents];
        group.bench_function(BenchmarkId::new("floor", records), |b| {
            b.iter(|| encrypt(&key, black_box(&mut bytes)));
        });
    }
}

fn encrypt(key: &LessSafeKey, bytes: &mut [u8]) {
    for (number, part) in (0u64..).zip(bytes.chunks_mut(TLS_RECORD)) {
        let nonce = [[0; 4].as_slice(), &number.to_be_bytes()].concat();
        let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
        let _tag = black_box(key.seal_in_place_separate_tag(nonce, Aad::empty(), part).unwrap());
    }
}

fn list(hospital: &mut Hospital) {
    let patient = PatientPseudonym([0xee; 16]);
    hospital.write_records(patient, LISTED);
    let bytes = hospital.listed(patient).len();
    let work = || drop(black_box(hospital.listed(patient)));
    let [p50, p99, most] = percentiles(LISTINGS, [500, 990, 1000], work);
    println!("list of {LISTED} among {}: {bytes} bytes; p50 {p50:?}, p99 {p99:?}, most {most:?}", others());
}

fn reads(c: &mut Criterion<CpuTime>) {
    let folder = tempfile::tempdir().unwrap();
    let mut hospital = Hospital::open(folder.path(), others());
    answer(c, &mut hospital);
    apply(c, &mut hospital);
    list(&mut hospital);
}

criterion_group!(name = benches; config = Criterion::default().with_measurement(CpuTime); targets = reads);
criterion_main!(benches);
