//! `consilium watch`: follows the ledger, every block verified.

use std::time::{Duration, Instant};

use clap::Args;
use consilium_proto::ids::Height;
use serde::Serialize;

use super::text::time_ms;
use super::{CliError, Context};
use consilium_client::Client;
use consilium_client::watch::{Contents, Watched};

/// For a height that another node has certified already.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(200);

/// Follow certified blocks until interrupted
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Resume after this height; 0 starts at the first block [default: the newest block]
    #[arg(long, value_name = "HEIGHT")]
    pub(crate) after: Option<u64>,
    /// Leave out the transactions
    #[arg(long)]
    pub(crate) headers: bool,
}

#[derive(Serialize)]
struct BlockView {
    height: u64,
    hash: String,
    time_ms: u64,
    transactions: Option<usize>,
    tree_size: u64,
    state_root: String,
    proposer: u64,
    contents_proven: bool,
}

/// Runs `consilium watch`.
pub(crate) async fn run(args: WatchArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let after = match args.after {
        Some(height) => there(&client, Height(height)).await?,
        None => client.certified_head().await?.header.height,
    };
    let mut watch = client.watch(after, args.headers);
    loop {
        tokio::select! {
            block = watch.next() => ctx.print(&view(&block?), describe)?,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// A height that there is; one that nodes have just come to is waited for a while.
async fn there(client: &Client, after: Height) -> Result<Height, CliError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let head = client.certified_head().await?.header.height;
        if after <= head {
            return Ok(after);
        }
        if Instant::now() >= deadline {
            return Err(ahead(after, head));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn ahead(after: Height, head: Height) -> CliError {
    CliError::failed(format!("height {after} is ahead of the ledger, which is at {head}"))
        .hint("--after takes the height of the last block that was seen")
}

fn view(watched: &Watched) -> BlockView {
    let header = &watched.header;
    BlockView {
        height: header.height.0,
        hash: header.hash().to_string(),
        time_ms: header.time.0,
        transactions: match &watched.contents {
            Contents::LeftOut => None,
            Contents::Proven(transactions) => Some(transactions.len()),
        },
        tree_size: header.tree_size,
        state_root: header.state_root.to_string(),
        proposer: header.proposer.0,
        contents_proven: matches!(watched.contents, Contents::Proven(_)),
    }
}

fn describe(v: &BlockView) -> String {
    let transactions = v.transactions.map_or(String::new(), |n| format!(" transactions={n}"));
    format!("{} {} {} proposer={}{transactions}", v.height, time_ms(v.time_ms), v.hash, v.proposer)
}

#[cfg(test)]
mod tests;
