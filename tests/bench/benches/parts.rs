//! Parts of the way of a record, in CPU time of the thread, each with its floor beside it:
//!
//! * a batch of signatures; floor: hashing what they are over, which no batch spares, and beside it
//!   each verified alone;
//! * a certificate of three; floor: three signatures over bytes that are there already;
//! * reading a transaction as it travels; floor: hashing and copying it once.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use bytes::Bytes;
use consilium_bench::cpu::{self, CpuTime};
use consilium_bench::hospital::Hospital;
use consilium_proto::pb;
use consilium_proto::signing::{BatchVerifier, VerifyingKey};
use consilium_proto::transaction::Transaction;
use consilium_proto::vote::signing_bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use prost::Message;

/// As a node has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PATIENTS: u64 = 10_000;

/// A signature, with the key and the bytes that it is over.
type Signed = (VerifyingKey, Vec<u8>, [u8; 64]);

fn signatures(c: &mut Criterion<CpuTime>, hospital: &mut Hospital) {
    let mut group = c.benchmark_group("signatures");
    for count in [1, 8, 64, 128] {
        let signed: Vec<Signed> = (0..count).map(|_| signed(hospital)).collect();
        group.throughput(cpu::records(count));
        group.bench_function(BenchmarkId::new("batch", count), |b| {
            b.iter(|| {
                let mut batch = BatchVerifier::new();
                signed.iter().for_each(|(key, message, signature)| batch.push(key, message, signature));
                assert!(batch.verify().into_iter().all(|good| good));
            });
        });
        group.bench_function(BenchmarkId::new("alone", count), |b| {
            b.iter(|| signed.iter().for_each(|(key, message, signature)| key.verify(message, signature).unwrap()));
        });
        group.bench_function(BenchmarkId::new("floor", count), |b| {
            b.iter(|| {
                for (_, message, _) in &signed {
                    black_box(digest(&SHA512, black_box(message)));
                }
            });
        });
    }
}

fn signed(hospital: &mut Hospital) -> Signed {
    let checked = hospital.record_of_one_of(PATIENTS);
    let head = &checked.transaction.head;
    (checked.verified_under.unwrap(), head.signing_bytes(), checked.transaction.signature)
}

fn certificate(c: &mut Criterion<CpuTime>, hospital: &Hospital) {
    let (certified, set) = hospital.certified();
    let votes = certified.certificate.signatures().map(|(id, signature)| {
        let key = set.seat(id).unwrap().key.clone();
        let header = &certified.header;
        let hash = header.hash();
        let bytes = signing_bytes(&key, &header.ledger_id, header.height, &hash, &header.tree_root);
        (key, bytes, *signature)
    });
    let votes: Vec<Signed> = votes.collect();
    let mut group = c.benchmark_group("certificate");
    group.bench_function("verify", |b| b.iter(|| black_box(&certified).verify(&set).unwrap()));
    group.bench_function("floor", |b| {
        b.iter(|| votes.iter().for_each(|(key, bytes, signature)| key.verify(bytes, signature).unwrap()));
    });
}

fn codec(c: &mut Criterion<CpuTime>, hospital: &mut Hospital) {
    let ledger_id = hospital.ledger_id();
    let wire = hospital.record_of_one_of(PATIENTS).transaction.to_wire().encode_to_vec();
    let wire = Bytes::from(wire);
    let mut group = c.benchmark_group("transaction");
    group.bench_function("read", |b| {
        b.iter(|| {
            let signed = pb::SignedTransaction::decode(black_box(&wire).clone()).unwrap();
            Transaction::parse(&signed, ledger_id).unwrap()
        });
    });
    let parsed = Transaction::parse(&pb::SignedTransaction::decode(wire.clone()).unwrap(), ledger_id).unwrap();
    group.bench_function("write", |b| b.iter(|| black_box(&parsed).to_wire().encode_to_vec()));
    group.bench_function("floor", |b| b.iter(|| black_box((digest(&SHA256, black_box(&wire)), wire.to_vec()))));
}

fn parts(c: &mut Criterion<CpuTime>) {
    let folder = tempfile::tempdir().unwrap();
    let mut hospital = Hospital::open(folder.path(), 0);
    signatures(c, &mut hospital);
    certificate(c, &hospital);
    codec(c, &mut hospital);
}

criterion_group!(name = benches; config = Criterion::default().with_measurement(CpuTime); targets = parts);
criterion_main!(benches);
