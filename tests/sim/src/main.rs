//! The simulator as a program: many seeds, or one with its log.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clap::{Parser, ValueEnum};
use consilium_kit::Rng;
use consilium_sim::bugs::Bug;
use consilium_sim::run::{Outcome, STOPPED_BY_SPLIT, STOPPED_BY_TRAITOR, STOPPED_WITHOUT_QUORUM, run_seed, run_swarm};
use consilium_sim::stats::Stats;
use consilium_sim::swarm::{Fault, Swarm};

/// Runs replicas under virtual time, network and disk.
#[derive(Parser)]
#[command(name = "consilium-sim", version)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Runs this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Prints the log of every run.
    #[arg(long)]
    trace: bool,
    /// Threads; each runs one seed at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Puts a known bug back, to see it found.
    #[arg(long)]
    bug: Option<Bug>,
    /// Asks for these kinds of faults beside those that the seed draws.
    #[arg(long)]
    fault: Vec<Fault>,
    /// Goes on after a violation.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic of the code under test is reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let (from, count) = arguments.seed.map_or((arguments.from, arguments.seeds), |seed| (seed, 1));
    let (total, done, failures) = run_all(&arguments, from, count);
    summary(&total, done, from);
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Counts of all runs, how many were run, and how many of them failed.
fn run_all(arguments: &Arguments, from: u64, count: u64) -> (Stats, u64, u64) {
    let (next, done, failures) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (total, stop) = (Mutex::new(Stats::default()), AtomicBool::new(false));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || stop.load(Ordering::Relaxed) {
                return;
            }
            let outcome = run_one(arguments, from + number);
            if outcome.violation.is_some() {
                failures.fetch_add(1, Ordering::Relaxed);
                stop.store(!arguments.keep_going, Ordering::Relaxed);
            }
            report(&outcome, arguments);
            total.lock().expect("no thread panics while it holds this").merge(&outcome.stats);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, count);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(work);
        }
    });
    let total = total.into_inner().expect("no thread panicked");
    (total, done.into_inner(), failures.into_inner())
}

fn run_one(arguments: &Arguments, seed: u64) -> Outcome {
    if arguments.fault.is_empty() {
        return run_seed(seed, arguments.bug, arguments.trace);
    }
    let swarm = Swarm::focused(&mut Rng::new(seed), &arguments.fault);
    run_swarm(seed, swarm, arguments.bug, arguments.trace)
}

fn report(outcome: &Outcome, arguments: &Arguments) {
    let Outcome { seed, violation, trace_hash, ended_ms, .. } = outcome;
    if let Some(violation) = violation {
        println!("seed {seed}: VIOLATION of {} at {ended_ms} ms: {}", violation.invariant, violation.what);
        let bug = arguments.bug.and_then(|bug| bug.to_possible_value());
        let bug = bug.map(|bug| format!(" BUG={}", bug.get_name())).unwrap_or_default();
        let names = arguments.fault.iter().filter_map(ValueEnum::to_possible_value);
        let faults: Vec<String> = names.map(|fault| fault.get_name().to_owned()).collect();
        let faults = if faults.is_empty() { String::new() } else { format!(" FAULTS=\"{}\"", faults.join(" ")) };
        println!("    replay: make sim SEED={seed}{bug}{faults}");
    }
    for stopped in [STOPPED_BY_SPLIT, STOPPED_BY_TRAITOR, STOPPED_WITHOUT_QUORUM] {
        if outcome.stats.get(stopped) > 0 {
            println!("seed {seed}: {stopped}");
        }
    }
    if violation.is_none() && arguments.seed.is_some() {
        println!("seed {seed}: good, {ended_ms} ms of virtual time, trace {trace_hash:016x}");
    }
}

fn progress(done: u64, count: u64) {
    if std::io::stderr().is_terminal() && (done.is_multiple_of(20) || done == count) {
        eprint!("\r{done} of {count} seeds");
        if done == count {
            eprintln!();
        }
    }
}

fn summary(total: &Stats, done: u64, from: u64) {
    println!("{done} seeds from {from}, {} events", total.steps);
    println!("faults that happened:");
    total.faults.iter().for_each(|(fault, count)| println!("  {count:>10} {fault:?}"));
    println!("events:");
    total.events.iter().for_each(|(name, count)| println!("  {count:>10} {name}"));
    if !total.missed.is_empty() {
        println!("seeds that asked for a fault which never happened:");
        total.missed.iter().for_each(|(fault, count)| println!("  {count:>10} {fault:?}"));
    }
}
