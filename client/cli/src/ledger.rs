//! `consilium ledger`: the chain itself: head, blocks, export, verification.

mod report;

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use clap::{Args, Subcommand};
use consilium_proto::genesis::{GENESIS_BYTES_MAX, Genesis};
use consilium_proto::header::Header;
use consilium_proto::ids::Height;
use consilium_proto::pb;
use consilium_proto::transaction::transaction_id;
use consilium_proto::when::utc_ms;
use prost::Message;
use serde::Serialize;

use super::context::escaped;
use super::text::counted;
use super::{CliError, Context};
use consilium_client::Client;
use consilium_client::ClientError;
use consilium_client::archive::{self, ExportError, Options, Report, verify_archive};
use consilium_client::files;
use consilium_client::watch::{Contents, Watched};

use report::ReportView;

/// The daemon, which can dump its own data directory.
const NODE_PROGRAM: &str = "consilium-node";
const BUFFER_BYTES: usize = 1024 * 1024;
/// Of what the daemon says about a dump.
const SAID_BYTES_MAX: u64 = 64 * 1024;

/// Export and verify the whole ledger
#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: LedgerCommand,
}

/// What to do with the ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Show the newest certified header, verified against the genesis
    Head,
    /// Show a block and its transactions
    Block(BlockArgs),
    /// Write all certified blocks to a file, verifying them on the way
    Export(ExportArgs),
    /// Verify an archive, or a node's data directory, against the genesis alone
    Verify(VerifyArgs),
}

/// Arguments of `ledger block`.
#[derive(Debug, Args)]
pub(crate) struct BlockArgs {
    /// Height
    pub(crate) height: u64,
}

/// Arguments of `ledger export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// New file; an existing one is left alone
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Arguments of `ledger verify`. The genesis document is the one of the
/// connection settings (`--genesis FILE`).
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Archive; `-` reads stdin
    #[arg(value_name = "FILE", required_unless_present = "data_dir", conflicts_with = "data_dir")]
    pub(crate) file: Option<PathBuf>,
    /// Data directory of a stopped node: dumped by `consilium-node`, of which nothing is believed
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Runs a command.
pub(crate) async fn run(args: LedgerArgs, ctx: &Context) -> Result<(), CliError> {
    match args.command {
        LedgerCommand::Head => head(ctx).await,
        LedgerCommand::Block(args) => block(args.height, ctx).await,
        LedgerCommand::Export(args) => export(&args.out, ctx).await,
        LedgerCommand::Verify(args) => verify(args, ctx),
    }
}

async fn head(ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let head = client.certified_head().await?;
    let signed_by = head.certificate.signatures().map(|(id, _)| id.0).collect();
    let view = HeadView { header: HeaderView::new(&head.header), signed_by };
    ctx.print(&view, |v| {
        let signed_by = v.signed_by.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        format!("{}\nsigned by validators {signed_by}", v.header.text())
    })
}

async fn block(height: u64, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let none = || CliError::failed(format!("no block of height {height} is certified"));
    let Watched { header, contents } = client.block(Height(height)).await?.ok_or_else(none)?;
    let transactions = match contents {
        Contents::Proven(transactions) => transactions,
        Contents::LeftOut => Vec::new(),
    };
    let view = BlockView {
        // In the order of the leaves, the last of which is the tree's newest.
        first_leaf: if height == 0 { 0 } else { header.tree_size - transactions.len() as u64 },
        header: HeaderView::new(&header),
        transactions: transactions.iter().map(TransactionView::new).collect(),
    };
    ctx.print(&view, BlockView::text)
}

#[derive(Serialize)]
struct HeadView {
    #[serde(flatten)]
    header: HeaderView,
    signed_by: Vec<u64>,
}

#[derive(Serialize)]
struct BlockView {
    #[serde(flatten)]
    header: HeaderView,
    first_leaf: u64,
    transactions: Vec<TransactionView>,
}

#[derive(Serialize)]
struct HeaderView {
    ledger_id: String,
    height: u64,
    hash: String,
    previous_hash: String,
    time_ms: u64,
    epoch: u64,
    tree_size: u64,
    tree_root: String,
    state_root: String,
    validators_hash: String,
    next_validators_hash: String,
    proposer: u64,
    log_hash: String,
}

#[derive(Serialize)]
struct TransactionView {
    transaction_id: String,
    author: Option<String>,
    outcome: &'static str,
    actions: Option<usize>,
    body_bytes: Option<usize>,
    /// It tells of a patient, and is not for the caller.
    withheld: bool,
}

impl BlockView {
    fn text(&self) -> String {
        let line = |t: &TransactionView| match &t.author {
            Some(author) => format!("{} {} by {author}", t.transaction_id, t.outcome),
            None => format!("{} {}, of a patient and not for this identity", t.transaction_id, t.outcome),
        };
        let lines = self.transactions.iter().map(line);
        std::iter::once(self.header.text()).chain(lines).collect::<Vec<_>>().join("\n")
    }
}

impl TransactionView {
    fn new(executed: &pb::ExecutedTransaction) -> Self {
        let shown = executed.transaction.as_ref();
        let id = match (shown, &executed.withheld) {
            (Some(transaction), _) => transaction_id(transaction).map(|id| id.to_string()).unwrap_or_default(),
            (None, withheld) => withheld.as_ref().map(|w| hex::encode(&w.transaction_id)).unwrap_or_default(),
        };
        let body = shown.and_then(|transaction| transaction.body.as_ref());
        Self {
            transaction_id: id,
            author: body.map(|body| hex::encode(&body.author)),
            outcome: executed.outcome().as_str_name(),
            actions: body.map(|body| body.actions.len()),
            body_bytes: body.map(Message::encoded_len),
            withheld: shown.is_none(),
        }
    }
}

impl HeaderView {
    fn new(header: &Header) -> Self {
        Self {
            ledger_id: header.ledger_id.to_string(),
            height: header.height.0,
            hash: header.hash().to_string(),
            previous_hash: header.previous_hash.to_string(),
            time_ms: header.time.0,
            epoch: header.epoch.0,
            tree_size: header.tree_size,
            tree_root: header.tree_root.to_string(),
            state_root: header.state_root.to_string(),
            validators_hash: header.validators_hash.to_string(),
            next_validators_hash: header.next_validators_hash.to_string(),
            proposer: header.proposer.0,
            log_hash: header.log_hash.to_string(),
        }
    }

    fn text(&self) -> String {
        let Self { height, hash, time_ms, tree_size, tree_root, state_root, proposer, .. } = self;
        format!(
            "height     {height}\nhash       {hash}\ntime       {}\ntree       {tree_size} leaves, root \
             {tree_root}\nstate root {state_root}\nproposer   {proposer}",
            utc_ms(*time_ms)
        )
    }
}

async fn export(out: &Path, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => ClientError::file(out, "exists already and is not overwritten"),
        _ => ClientError::file(out, e),
    };
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(files::PUBLIC_MODE).open(out).map_err(failed)?;
    let result = export_to(&client, file, out, ctx).await;
    if !matches!(&result, Ok(report) if report.failure.is_none()) {
        // Half an archive helps nobody and could be taken for a whole one.
        let _ = std::fs::remove_file(out);
    }
    let report = result?;
    print_report(&report, ctx)
}

async fn export_to(client: &Client, file: File, out: &Path, ctx: &Context) -> Result<Report, CliError> {
    let bar = ctx.progress(0, "export");
    let progress = |written, all| {
        bar.set_length(all);
        bar.set_position(written);
    };
    let failed = |e| match e {
        ExportError::Client(e) => CliError::from(e),
        ExportError::Archive(e) => ClientError::file(out, e).into(),
        ExportError::NoBlock(_) | ExportError::Withheld(_) => CliError::failed(e.to_string()),
    };
    let output = BufWriter::with_capacity(BUFFER_BYTES, file);
    let (report, output) = archive::export(client, output, progress).await.map_err(failed)?;
    let synced = output.into_inner().map_err(std::io::IntoInnerError::into_error);
    synced.and_then(|file| file.sync_all()).map_err(|e| ClientError::file(out, e))?;
    bar.finish_and_clear();
    Ok(report)
}

fn verify(args: VerifyArgs, ctx: &Context) -> Result<(), CliError> {
    let genesis_path = ctx.genesis_path()?;
    let document = files::read(&genesis_path, GENESIS_BYTES_MAX as u64)?;
    let genesis = Genesis::parse(&document).map_err(|e| ClientError::file(&genesis_path, e))?;
    let report = match (args.data_dir, args.file) {
        (Some(directory), _) => verify_directory(&directory, &genesis_path, &genesis, ctx)?,
        (None, Some(path)) if path.as_os_str() == "-" => {
            verify_stream(std::io::stdin().lock(), 0, &genesis, Options::default(), ctx)?
        }
        (None, Some(path)) => {
            let file = File::open(&path).map_err(|e| ClientError::file(&path, e))?;
            let length = file.metadata().map_or(0, |m| m.len());
            verify_stream(file, length, &genesis, Options::default(), ctx)?
        }
        (None, None) => return Err(CliError::usage("give an archive or --data-dir")),
    };
    print_report(&report, ctx)
}

fn verify_stream(
    input: impl Read,
    length: u64,
    genesis: &Genesis,
    options: Options,
    ctx: &Context,
) -> Result<Report, CliError> {
    let bar = ctx.progress(length, "verify");
    let input = BufReader::with_capacity(BUFFER_BYTES, input);
    let report = verify_archive(input, genesis, options, |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    Ok(report?)
}

/// Lets the node's own program read the directory, since only it knows the
/// format. It may write what it likes: the verifier believes none of it.
fn verify_directory(
    directory: &Path,
    genesis_path: &Path,
    genesis: &Genesis,
    ctx: &Context,
) -> Result<Report, CliError> {
    let program = node_program();
    let mut child = Command::new(&program)
        .arg("dump")
        .arg("--data-dir")
        .arg(directory)
        .arg("--genesis")
        .arg(genesis_path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| {
            CliError::failed(format!("cannot run {}: {e}", program.display()))
                .hint("put consilium-node beside this program or on PATH")
        })?;
    let piped = |what: &str| CliError::failed(format!("the dump has no {what}"));
    let mut output = child.stdout.take().ok_or_else(|| piped("output"))?;
    let stderr = child.stderr.take().ok_or_else(|| piped("standard error"))?;
    // Beside, or a program with much to say would wait for ever.
    let said = std::thread::spawn(move || all_said(stderr));
    let report = verify_stream(&mut output, 0, genesis, Options { require_state: true }, ctx);
    // What is wrong ends the verification; the program may come to its own end all the same.
    let rest = std::io::copy(&mut output, &mut std::io::sink());
    let status = child.wait().map_err(|e| CliError::failed(format!("{}: {e}", program.display())))?;
    let said = said.join().unwrap_or_default();
    eprint!("{}", said.lines().map(|line| format!("{}\n", escaped(line))).collect::<String>());
    match (status.success(), rest) {
        (true, Ok(_)) => report,
        (true, Err(e)) => Err(CliError::failed(format!("the output of {}: {e}", program.display()))),
        (false, _) => Err(dump_failed(&program, status, &said, report?.counts.blocks)),
    }
}

/// Whatever it wrote before, a dump that did not come to its end shows no whole ledger.
fn dump_failed(program: &OsStr, status: ExitStatus, said: &str, blocks: u64) -> CliError {
    let cause = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    let whole = counted(blocks, "block", "blocks");
    let error =
        CliError::failed(format!("{} dump failed ({status}) after {whole}: {}", program.display(), escaped(cause)));
    // As RocksDB names the file that a node which runs holds.
    match said.contains("LOCK") {
        true => error.hint("the node must be stopped; a network that runs is exported with `ledger export`"),
        false => error,
    }
}

/// What a program wrote, but for more than anybody would read.
fn all_said(mut stderr: impl Read) -> String {
    let mut said = Vec::new();
    let read = stderr.by_ref().take(SAID_BYTES_MAX).read_to_end(&mut said);
    // The rest is taken from it, so that it comes to its end.
    let _ = read.and_then(|_| std::io::copy(&mut stderr, &mut std::io::sink()));
    String::from_utf8_lossy(&said).into_owned()
}

/// `consilium-node` beside this program, else from PATH.
fn node_program() -> OsString {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(NODE_PROGRAM));
    beside.filter(|path| path.is_file()).map_or_else(|| NODE_PROGRAM.into(), PathBuf::into_os_string)
}

fn print_report(report: &Report, ctx: &Context) -> Result<(), CliError> {
    ctx.print(&ReportView::new(report), ReportView::text)?;
    if report.is_good() {
        return Ok(());
    }
    let cause = match &report.failure {
        Some(failure) => format!("verification failed: {failure}"),
        None => format!("no certificate makes any block above {} final", Height::GENESIS),
    };
    Err(CliError::failed(cause))
}

#[cfg(test)]
mod tests;
