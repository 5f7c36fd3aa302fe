//! What hospitals would otherwise take for a plain replicated log, beside this: etcd and PostgreSQL
//! are started on this machine, three servers each with mutual TLS and every write flushed, and get
//! the same load as three nodes of Consilium, in turn, several rounds of each. Of everything the
//! median is shown. Loads are closed loops: each client has one write outstanding.
//!
//! CPU time, context switches and bytes are those of all servers, from /proc; what was synced is
//! counted by `perf`, where it may. The generators share the machine with the servers and take some
//! of it: this one's for etcd, `pgbench` for PostgreSQL, and `consilium bench` for Consilium, which
//! signs each record as well.

#![forbid(unsafe_code)]

mod certificates;
mod consilium;
mod etcd;
mod measure;
mod postgres;
mod programs;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};

use table::{Cell, table};

/// Compare with etcd and PostgreSQL on this machine.
#[derive(Debug, Parser)]
struct Args {
    /// Numbers of clients, comma-separated
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256], value_parser = clap::value_parser!(u32).range(1..=1_024))]
    clients: Vec<u32>,
    /// Seconds measured of each system, number of clients and round
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(3..=3_600))]
    seconds: u64,
    /// Rounds; medians are of these
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Which systems, comma-separated [default: those that are installed]
    #[arg(long, value_delimiter = ',', value_enum)]
    systems: Vec<System>,
    /// Bytes of plaintext of a record of Consilium
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=262_144))]
    payload: u32,
    /// Bytes of a value of the others [default: of such a record as it is submitted, with its custodian's
    /// wrap and its author's signature]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    value_size: Option<u32>,
    /// Where data are kept, on the disk that is to be measured; where the user `postgres` may go, too
    /// [default: a temporary folder]
    #[arg(long, env = "BENCH_DIR")]
    dir: Option<PathBuf>,
    /// The folder of consilium-demo [default: that of this program]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// What is measured, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum System {
    Consilium,
    Etcd,
    Postgres,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Postgres => "PostgreSQL",
            Self::Consilium => "Consilium",
        }
    }

    /// Whether it can be measured here, or what is missing.
    fn missing(self, programs: &std::path::Path) -> Option<String> {
        match self {
            Self::Etcd => programs::find("etcd").err(),
            Self::Postgres => postgres::Installed::find().err(),
            Self::Consilium => consilium::Programs::find(programs).err(),
        }
        .map(|e| format!("{e:#}"))
    }
}

/// A load on one system.
#[derive(Debug, Clone, Copy)]
struct Load {
    clients: u32,
    /// Measured, behind [`measure::WARM_UP`].
    seconds: Duration,
    /// Bytes of each value.
    bytes: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // What was started ends with it.
    tokio::select! {
        compared = compare(Args::parse()) => compared,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).and_then(|()| anyhow::bail!("interrupted")),
    }
}

async fn compare(args: Args) -> anyhow::Result<()> {
    let programs = match args.programs.clone() {
        Some(folder) => folder,
        None => std::env::current_exe()?.parent().context("this program is in no folder")?.to_owned(),
    };
    let systems = systems(&args, &programs)?;
    let folder = match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            tempfile::tempdir_in(dir)?
        }
        None => tempfile::tempdir()?,
    };
    println!(
        "{}; records of {} bytes, with their custodian's wrap; {} s each, medians of {} rounds; data in {}",
        programs::machine()?,
        args.payload,
        args.seconds,
        args.rounds,
        folder.path().display()
    );
    let mut cells: Vec<Cell> = Vec::new();
    // Equal bytes: what is not known until a record was made.
    let mut value_bytes = args.value_size;
    for round in 1..=args.rounds {
        for system in &systems {
            for clients in &args.clients {
                let bytes =
                    if *system == System::Consilium { args.payload } else { value_bytes.unwrap_or(args.payload) };
                let load = Load { clients: *clients, seconds: Duration::from_secs(args.seconds), bytes };
                eprintln!("round {round} of {}: {} with {clients} clients", args.rounds, system.name());
                let place = folder.path().join(format!("{}-{round}-{clients}", system.name()));
                std::fs::create_dir(&place)?;
                let figures = match system {
                    System::Consilium => consilium::measure(&place, &programs, load).await.map(|(figures, bytes)| {
                        value_bytes.get_or_insert(bytes);
                        figures
                    }),
                    System::Etcd => etcd::measure(&place, load).await,
                    System::Postgres => postgres::measure(&place, load).await,
                };
                let figures = figures.with_context(|| format!("{} with {clients} clients", system.name()))?;
                cells.push(Cell { system: *system, clients: *clients, figures });
                std::fs::remove_dir_all(&place)?;
            }
        }
    }
    println!("values of {} bytes\n{}", value_bytes.unwrap_or(args.payload), table(&cells));
    Ok(())
}

/// What is asked for, or what there is.
fn systems(args: &Args, programs: &std::path::Path) -> anyhow::Result<Vec<System>> {
    let mut found = Vec::new();
    let all = if args.systems.is_empty() { System::value_variants() } else { &args.systems };
    for system in all {
        match system.missing(programs) {
            None => found.push(*system),
            Some(why) if args.systems.is_empty() && *system != System::Consilium => {
                eprintln!("{} is left out: {why}", system.name());
            }
            Some(why) => anyhow::bail!("{} cannot be measured: {why}", system.name()),
        }
    }
    Ok(found)
}
