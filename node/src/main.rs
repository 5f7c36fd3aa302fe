//! `consilium-node`: the daemon.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use consilium_node::config::{Config, Overrides, variables_passed_over};
use consilium_node::contained::BLOCKING_THREADS_MAX;
use consilium_node::fault::Fault;
use consilium_node::runtime::node::{Ended, run};
use consilium_node::runtime::{end_process_on_panic, repair};
use consilium_node::setup::{Begun, initialize, prepare};
use consilium_node::{descriptors, dump, telemetry};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{SignalKind, signal};

/// RocksDB and the network path allocate much and from many threads; under
/// load this allocator costs less and gives memory back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A node of a Consilium network.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up an empty data directory, once.
    Init(ConfigArgs),
    /// Run the node until SIGTERM or SIGINT.
    Run(ConfigArgs),
    /// Check configuration, genesis and identity, and change nothing.
    Check(ConfigArgs),
    /// Write the ledger of a stopped node to standard output, as an archive.
    Dump {
        /// The data directory.
        #[arg(long)]
        data_dir: PathBuf,
        /// The genesis document.
        #[arg(long)]
        genesis: PathBuf,
    },
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration file.
    #[arg(long, env = "CONSILIUM_NODE_CONFIG")]
    config: PathBuf,
    /// Instead of `data_dir` in the file; relative to the present folder.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

impl ConfigArgs {
    fn load(self) -> Result<Config, Fault> {
        let here = std::env::current_dir().map_err(|e| Fault::System(format!("the present folder: {e}")))?;
        let overrides = Overrides::given_in(&here, self.data_dir);
        Config::load(&self.config, overrides).map_err(|e| Fault::Setup(e.to_string()))
    }
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => {
            telemetry::last_words(None);
            ExitCode::SUCCESS
        }
        Err(fault) => {
            telemetry::last_words(Some(&format!("error: {fault}")));
            ExitCode::from(fault.exit_code())
        }
    }
}

fn execute(command: Command) -> Result<(), Fault> {
    match command {
        Command::Init(args) => {
            let prepared = prepare(args.load()?)?;
            let begun = initialize(&prepared).map_err(|fault| fault.with_room(&prepared.config.data_dir));
            match begun? {
                Begun::Empty => {}
                Begun::BrokenOff => println!("what an `init` that was broken off had left there was removed"),
            }
            println!("{} is set up for {}", prepared.config.data_dir.display(), prepared.spiffe_id);
            Ok(())
        }
        Command::Check(args) => {
            let config = args.load()?;
            descriptors::reserve(&config)?;
            let prepared = prepare(config)?;
            if let Some(warning) = prepared.warning() {
                eprintln!("warning: {warning}");
            }
            println!("{} (raft id {}) of ledger {}", prepared.spiffe_id, prepared.me, prepared.genesis.ledger_id);
            Ok(())
        }
        Command::Dump { data_dir, genesis } => {
            // All files of the ledger are opened, so that any damage is told.
            let _ = descriptors::raise();
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            dump::dump(&data_dir, &genesis, &mut out)?;
            out.flush().map_err(|e| Fault::System(format!("writing the archive: {e}")))
        }
        Command::Run(args) => serve(args.load()?),
    }
}

fn serve(config: Config) -> Result<(), Fault> {
    telemetry::start_logging(&config.log).map_err(|e| Fault::Setup(e.to_string()))?;
    end_process_on_panic();
    let need = descriptors::reserve(&config)?;
    tracing::info!(needed = need.total(), "file descriptors fit");
    let passed_over = variables_passed_over();
    if !passed_over.is_empty() {
        let names = passed_over.join(" ");
        tracing::info!(names, "environment variables of Kubernetes Services are passed over: they are no settings");
    }
    let metrics = telemetry::start_metrics().map_err(|e| Fault::System(format!("metrics: {e}")))?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(config.storage.network_threads()).max_blocking_threads(BLOCKING_THREADS_MAX);
    let runtime = runtime.enable_all().build().map_err(|e| Fault::System(format!("runtime: {e}")))?;
    let data_dir = config.data_dir.clone();
    let result = runtime.block_on(run_with_repair(config, &metrics));
    // Blocking work that reads the databases ends before the process does.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match result.map_err(|fault| fault.with_room(&data_dir))? {
        Ended::Stopped => Ok(()),
        Ended::Diverged(height) => Err(Fault::Diverged { height }),
    }
}

async fn run_with_repair(config: Config, metrics: &PrometheusHandle) -> Result<Ended, Fault> {
    // Whatever the node is at: SIGHUP asks to look at the certificate files, and ends nothing. The
    // handler stays for as long as the process does.
    drop(signal(SignalKind::hangup()).map_err(|e| Fault::System(format!("signals: {e}")))?);
    let prepared = prepare(config.clone())?;
    if let Some(warning) = prepared.warning() {
        tracing::warn!("{warning}");
    }
    repair::run_if_requested(&prepared).await?;
    let ended = run(prepared, metrics.clone(), stop_signal()).await;
    if matches!(ended, Ok(Ended::Diverged(_)) | Err(Fault::Rotten(_))) {
        repair::request(&prepare(config)?)?;
    }
    ended
}

async fn stop_signal() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}
