//! One decision by the access policy: by the default text, by the largest one that the limits
//! let through, and of the floor alone, in CPU time. Beside the medians of criterion, percentiles
//! are printed, since every node decides within a block; also of what was asked before, which is kept.

#![allow(missing_docs)]

use std::hint::black_box;

use consilium_bench::cpu::{CpuTime, percentiles};
use consilium_policy::{DEFAULT_POLICY, Policies};
use consilium_proto::access::{Facts, RecordFacts};
use consilium_proto::consent::Said;
use consilium_proto::ids::RecordId;
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{AccessKind, Confidentiality, PurposeOfUse};
use criterion::{Criterion, criterion_group, criterion_main};

/// As a node has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SAMPLES: usize = 200_000;

fn reader(text: &str) -> SpiffeId {
    text.parse().expect("a SPIFFE id")
}

/// A clinician of another hospital, who reads by a consent.
fn facts(reader: &SpiffeId) -> Facts<'_> {
    Facts {
        reader,
        overdue_reviews: 0,
        kind: AccessKind::Read,
        purpose: PurposeOfUse::Coc,
        record: RecordFacts {
            id: RecordId([7; 16]),
            kind: "Observation",
            confidentiality: Confidentiality::Normal,
            custodian: "st-mary.example",
            author: "spiffe://st-mary.example/service/ehr",
            tags: &[],
            restricted: false,
        },
        accepted_as: None,
        under_care: true,
        consent: Said::Permits { by_name: false },
        emergency: false,
        emergency_forbidden: false,
    }
}

/// As much text as there may be, all of it evaluated.
fn largest() -> String {
    let policy = |n: usize| {
        let terms = vec!["context.emergency"; 27].join("||");
        format!("@id(\"p{n}\")permit(principal,action,resource)when{{{terms}}};\n")
    };
    (0..58).map(policy).collect()
}

fn decisions(c: &mut Criterion<CpuTime>) {
    let reader = reader("spiffe://lakeside.example/clinician/c-4711");
    let facts = facts(&reader);
    let (default, largest) = (DEFAULT_POLICY.to_owned(), largest());
    let one = "@id(\"all\") permit (principal, action, resource);".to_owned();
    assert!(largest.len() > 30_000, "{}", largest.len());
    for (name, text) in [("default", &default), ("largest", &largest), ("one", &one)] {
        let policies = Policies::compile(text).expect("a policy");
        c.bench_function(&format!("decide/{name}"), |b| b.iter(|| black_box(policies.decide(black_box(&facts)))));
        let decide = || {
            let _ = black_box(policies.decide(black_box(&facts)));
        };
        let [p50, p90, p99, p999] = percentiles(SAMPLES, [500, 900, 990, 999], decide);
        println!("{name}: p50 {p50:?}, p90 {p90:?}, p99 {p99:?}, p99.9 {p999:?}");
        let again = || {
            let _ = black_box(policies.decide_again(black_box(&facts)));
        };
        let [p50, p90, p99, p999] = percentiles(SAMPLES, [500, 900, 990, 999], again);
        println!("{name}, asked before: p50 {p50:?}, p90 {p90:?}, p99 {p99:?}, p99.9 {p999:?}");
        c.bench_function(&format!("compile/{name}"), |b| b.iter(|| black_box(Policies::compile(black_box(text)))));
    }
    c.bench_function("floor", |b| b.iter(|| black_box(black_box(&facts).floor())));
}

criterion_group!(name = benches; config = Criterion::default().with_measurement(CpuTime); targets = decisions);
criterion_main!(benches);
