//! `consilium bench`: a load test that measures what a caller waits for.
//!
//! Closed loop: each client has one transaction outstanding and sends the next
//! one when the answer is there. Payload ciphertexts and key wraps come from a
//! small pool made before the timing; nonce, record id and signature of each
//! transaction are its own and made in the timed loop. Only transactions that
//! took effect count. Nothing is retried: a refused one is an error of its
//! reason, and its client goes on with a new one after a short wait.

mod lists;
mod load;
mod reads;
mod stats;
mod writes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use consilium_client::Client;
use consilium_proto::pb;
use serde::Serialize;

use super::{CliError, Context};
use crate::config_file;
use load::{BenchPlan, run as run_plan};
use reads::{Library, Stock};
use stats::{Row, table};
use writes::submitted_bytes;

/// Not counted, at the start of each run.
const WARM_UP: Duration = Duration::from_secs(2);
/// Connections unless asked otherwise.
const CONNECTIONS_DEFAULT: usize = 8;
/// Records that are read in turn.
const RECORDS: usize = 256;
/// Patients to whom they belong, at least.
const SHELVES_MIN: usize = 16;
/// A read for which the custodian has to do something takes two rounds of certificates at least.
const FIRST_READ_MIN: Duration = Duration::from_millis(20);

/// Measure throughput and latency of record submission
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Concurrent clients, each with one transaction outstanding
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) clients: u32,
    /// Numbers of clients to run one after the other, for example 1,16,64,256
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "clients")]
    pub(crate) sweep: Vec<u32>,
    /// Seconds measured per run, after 2 s of warm-up
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// Bytes of plaintext per record
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=700_000))]
    pub(crate) payload: u32,
    /// Connections, spread over the endpoints [default: clients, at most 8]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) connections: Option<u32>,
    /// What each client waits for
    #[arg(long, value_enum, default_value_t = Wait::Certified)]
    pub(crate) wait: Wait,
    /// Read records of this identity, proven and decrypted, instead of writing any
    #[arg(long, conflicts_with_all = ["wait", "kem"])]
    pub(crate) read: bool,
    /// Records of one patient in each read
    #[arg(long, requires = "read", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) records: u32,
    /// Config file of another service of this member, which writes the records. With --read each is
    /// read once, and the custodian has to wrap its key first
    #[arg(long, value_name = "CONFIG")]
    pub(crate) written_by: Option<PathBuf>,
    /// List so many records of one patient again and again, with proof that nothing is missing; by
    /// an auditor, after the service of --written-by has written them
    #[arg(long, requires = "written_by", conflicts_with_all = ["read", "wait", "kem"], value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) list: Option<u32>,
    /// Records in each transaction; a transaction is what is counted
    #[arg(long, conflicts_with_all = ["read", "list"], default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) per_transaction: u32,
    /// Config files of services that sign the transactions in turn, instead of this identity
    #[arg(long = "author", conflicts_with_all = ["read", "list"], value_name = "CONFIG")]
    pub(crate) authors: Vec<PathBuf>,
    /// Add to each record a key wrap for its author's encryption key
    #[arg(long)]
    pub(crate) kem: bool,
    /// Have the receipt of each record returned, and verify it
    #[arg(long, conflicts_with_all = ["read", "list"])]
    pub(crate) receipts: bool,
    /// Submit by a call for each record, and not over one stream for each connection
    #[arg(long, conflicts_with_all = ["read", "list"])]
    pub(crate) unary: bool,
    /// Server processes on this machine whose CPU time is shown, comma-separated
    #[arg(long, value_delimiter = ',', value_name = "PID")]
    pub(crate) pids: Vec<u32>,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wait {
    /// Ordered and executed by one node.
    Ordered,
    /// In a certified block.
    Certified,
}

#[derive(Serialize)]
struct BenchView {
    note: String,
    /// Of one record, as it is submitted; null where none is.
    submitted_bytes: Option<usize>,
    rows: Vec<Row>,
}

/// Runs `consilium bench`.
pub(crate) async fn run(args: BenchArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let runs = if args.sweep.is_empty() { vec![args.clients] } else { args.sweep.clone() };
    if args.written_by.is_some() && !args.read && args.list.is_none() {
        return Err(CliError::usage("--written-by is for --read and --list"));
    }
    let mut authors = Vec::with_capacity(args.authors.len());
    for path in &args.authors {
        authors.push(Client::connect(config_file::load(path, None)?).await?);
    }
    let library = if args.read { Some(Arc::new(library(&args, ctx, &runs).await?)) } else { None };
    let listed = match args.list {
        Some(records) => Some(lists::write(writer(&args, ctx).await?, records as usize).await?),
        None => None,
    };
    let mut rows = Vec::with_capacity(runs.len());
    for clients in runs {
        let mut plan = plan(&args, clients as usize);
        if let Some(library) = &library {
            (plan.connections, plan.library) = (library.connections(), Some(Arc::clone(library)));
        }
        plan.listed = listed;
        plan.authors.clone_from(&authors);
        let bar = ctx.progress(100, "load");
        let row = run_plan(&client, &plan, |done| bar.set_position((done * 100.0) as u64)).await?;
        bar.finish_and_clear();
        rows.push(row);
    }
    let submitted_bytes = match (&library, args.list) {
        (None, None) => Some(submitted_bytes(&client, &plan(&args, 1))?),
        (Some(_), _) | (None, Some(_)) => None,
    };
    let note = match (&library, args.list) {
        (Some(library), _) => note_of_reads(&args, library.answer_bytes().await?),
        (None, Some(records)) => format!(
            "lists of a patient's {records} records, proven to be whole and checked; {} s each after {} s of warm-up",
            args.seconds,
            WARM_UP.as_secs(),
        ),
        (None, None) => note(&args),
    };
    let view = BenchView { note, submitted_bytes, rows };
    ctx.print(&view, |v| format!("{}\n{}", v.note, table(&v.rows)))?;
    if view.rows.iter().all(|row| row.transactions == 0) {
        return Err(CliError::failed("no transaction took effect").hint("see the reasons in the last column"));
    }
    Ok(())
}

fn plan(args: &BenchArgs, clients: usize) -> BenchPlan {
    BenchPlan {
        clients,
        connections: args.connections.map_or(CONNECTIONS_DEFAULT.min(clients), |c| c as usize),
        warm_up: WARM_UP,
        measure: Duration::from_secs(args.seconds),
        payload_bytes: args.payload as usize,
        per_transaction: args.per_transaction as usize,
        authors: Vec::new(),
        wrap: args.kem,
        wait: match args.wait {
            Wait::Ordered => pb::WaitFor::Ordered,
            Wait::Certified => pb::WaitFor::Certified,
        },
        unary: args.unary,
        receipts: args.receipts,
        library: None,
        listed: None,
        pids: args.pids.clone(),
    }
}

/// What is read, over as many connections as asked for.
async fn library(args: &BenchArgs, ctx: &Context, runs: &[u32]) -> Result<Library, CliError> {
    let connections = args.connections.map_or(1, |connections| connections as usize);
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(ctx.client().await?);
    }
    let writer = writer(args, ctx).await?;
    let (records, once) = (args.records as usize, args.written_by.is_some());
    let shelves = match once {
        true => runs.iter().map(|clients| *clients as usize).sum::<usize>() * reads_at_most(args),
        false => RECORDS.div_ceil(records).max(SHELVES_MIN),
    };
    let stock = Stock { shelves, records, payload_bytes: args.payload as usize, once };
    Ok(Library::write(writer, clients, stock).await?)
}

async fn writer(args: &BenchArgs, ctx: &Context) -> Result<Client, CliError> {
    match &args.written_by {
        Some(path) => Ok(Client::connect(config_file::load(path, None)?).await?),
        None => ctx.client().await,
    }
}

/// Of one client in a run, if each takes no less than [`FIRST_READ_MIN`].
fn reads_at_most(args: &BenchArgs) -> usize {
    let run = WARM_UP + Duration::from_secs(args.seconds);
    usize::try_from(run.as_millis() / FIRST_READ_MIN.as_millis()).unwrap_or(usize::MAX)
}

fn note_of_reads(args: &BenchArgs, (answer, proving): (usize, usize)) -> String {
    let first =
        if args.written_by.is_some() { ", each for the first time: the custodian wraps its key first" } else { "" };
    format!(
        "reads of {} record(s) of {} bytes, each proven against a certified header and decrypted{first}; an answer has \
         {answer} bytes, of which {proving} prove it; {} s each after {} s of warm-up",
        args.records,
        args.payload,
        args.seconds,
        WARM_UP.as_secs(),
    )
}

fn note(args: &BenchArgs) -> String {
    let (answer, wraps) = match (args.wait, args.kem) {
        (Wait::Certified, true) => ("certified", "one key wrap"),
        (Wait::Certified, false) => ("certified", "no key wraps"),
        (Wait::Ordered, true) => ("ORDERED (not certified)", "one key wrap"),
        (Wait::Ordered, false) => ("ORDERED (not certified)", "no key wraps"),
    };
    let how = match (args.unary, args.receipts) {
        (true, false) => "a call for each record",
        (true, true) => "a call for each record, its receipt returned and verified",
        (false, false) => "one stream for each connection",
        (false, true) => "one stream for each connection, receipts returned and verified",
    };
    let each = match args.per_transaction {
        1 => String::new(),
        records => format!("{records} in each transaction, "),
    };
    let authors = match args.authors.len() {
        0 => String::new(),
        authors => format!("signed by {authors} authors in turn, "),
    };
    format!(
        "records of {} bytes with {wraps}, {each}{authors}{how}; only {answer} answers of applied transactions count; {} s each after \
         {} s of warm-up\npayload ciphertexts and key wraps come from a pool made before the timing; nonce, record id and \
         signature are each transaction's own, made in the timed loop",
        args.payload,
        args.seconds,
        WARM_UP.as_secs(),
    )
}

#[cfg(test)]
mod tests;
