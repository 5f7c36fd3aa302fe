//! A ledger that grows: what writing a record costs one node as there are more and more of them, in CPU time
//! of all threads, RocksDB's too, and in bytes written to the disk, files and their compactions
//! included; how large the ledger is then, and how long it takes to open. Records have a payload of
//! 1 KiB and their custodian's wrap, and are executed and stored, not ordered: without signatures, network and Raft log.
//! What it takes to make them is taken off.
//!
//! `CONSILIUM_BENCH_RECORDS` says up to how many (200,000 unless said), `CONSILIUM_BENCH_DIR` on which
//! disk.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use consilium_bench::cpu;
use consilium_bench::hospital::Hospital;
use rustix::time::{ClockId, clock_gettime};

/// As a node has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const RECORDS: u64 = 200_000;
/// Lines that are printed.
const LINES: u64 = 20;
/// As with 256 callers.
const BLOCK: u64 = 100;
const PATIENTS: u64 = 10_000;

fn cpu_of_all() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// Bytes that this process has written to disks.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}

fn bytes_in(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap().filter_map(|file| file.unwrap().metadata().ok());
    files.map(|file| file.len()).sum()
}

fn main() {
    // What criterion's benchmarks are asked by `cargo test`.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let records: u64 = std::env::var("CONSILIUM_BENCH_RECORDS").map_or(RECORDS, |text| text.parse().unwrap());
    let folder = match std::env::var_os("CONSILIUM_BENCH_DIR") {
        Some(disk) => tempfile::tempdir_in(disk).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let mut hospital = Hospital::open(folder.path(), 0);
    hospital.wrap_for_custodian();
    println!("   records  us/record  of it the replica  written B/record  ledger B/record");
    let each = (records / LINES).max(BLOCK);
    for line in 1..=records / each {
        let (before, wrote) = (cpu_of_all(), written());
        let (mut making, mut taking) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..each / BLOCK {
            let started = cpu::used();
            let block: Vec<_> = (0..BLOCK).map(|_| hospital.record_of_one_of(PATIENTS)).collect();
            let made = cpu::used();
            hospital.take(&block);
            (making, taking) = (making + (made - started), taking + (cpu::used() - made));
        }
        let us = |time: Duration| time.as_secs_f64() * 1e6 / each as f64;
        let all = us(cpu_of_all() - before - making);
        let (wrote, ledger) = ((written() - wrote) / each, bytes_in(folder.path()) / (line * each));
        println!("{:>10} {all:>10.1} {:>18.1} {wrote:>17} {ledger:>16}", line * each, us(taking));
    }
    drop(hospital);
    let opening = Instant::now();
    let opened = consilium_node::storage::ledger_store::LedgerStore::open(folder.path(), 256 << 20).unwrap();
    println!("opened in {:.2} s", opening.elapsed().as_secs_f64());
    drop(opened);
}
