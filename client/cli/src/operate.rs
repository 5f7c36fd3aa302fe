//! `consilium status` and `consilium operator`: for those who run nodes.

mod transfer;
mod view;

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand};
use consilium_grpc::operator_service_client::OperatorServiceClient;
use consilium_proto::pb;
use serde::Serialize;
use tonic::transport::Channel;

use super::{CliError, Context};
use consilium_client::ClientError;
use consilium_client::retry::Failure;
use consilium_client::{Client, NodesOf};
use view::{StatusView, describe};

/// How long a node has to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a leader has to hand over; longer than it waits itself.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(15);

/// Show the nodes as they see themselves, and their alarms
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Every node of the ledger, whosever it is, beside the configured endpoints
    #[arg(long)]
    pub(crate) all: bool,
}

/// Planned operations.
#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: OperatorCommand,
}

/// Planned operations.
#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Hand leadership to another voter
    TransferLeadership {
        /// Raft id of the new leader [default: the most caught-up voter]
        #[arg(long, value_name = "RAFT_ID", default_value_t = 0, hide_default_value = true)]
        to: u64,
    },
}

#[derive(Serialize)]
struct LeaderView {
    leader: u64,
}

/// Runs `consilium status`.
pub(crate) async fn run_status(args: StatusArgs, ctx: &Context) -> Result<(), CliError> {
    let nodes_of = args.all.then_some(NodesOf::Any);
    let client = ctx.operators_client(nodes_of).await?;
    let mut views = ask_all(&client, client.endpoints().map(str::to_owned).collect()).await;
    if args.all {
        let asked: BTreeSet<String> = views.iter().map(|view| view.endpoint.clone()).collect();
        let mut others: BTreeSet<String> = views.iter().flat_map(StatusView::peer_addresses).collect();
        if others.is_empty() {
            others = client.genesis().nodes().map(|(_, node)| node.client_address.clone()).collect();
        }
        views.extend(ask_all(&client, others.difference(&asked).cloned().collect()).await);
    }
    ctx.print(&views, |views| describe(views))?;
    let silent = views.iter().filter(|v| v.node.is_none()).count();
    if silent > 0 {
        return Err(CliError::failed(format!("{silent} of {} nodes do not answer", views.len())));
    }
    Ok(())
}

/// Runs `consilium operator`.
pub(crate) async fn run_operator(args: OperatorArgs, ctx: &Context) -> Result<(), CliError> {
    let OperatorCommand::TransferLeadership { to } = args.command;
    let client = ctx.operators_client(None).await?;
    let views = ask_all(&client, client.endpoints().map(str::to_owned).collect()).await;
    let own = client.identity().spiffe_id().member();
    let at = transfer::leads_at(&views, own, to)?;
    // Once: what the leader refuses now it would refuse a minute long.
    let mut service = OperatorServiceClient::new(client.dial(&at)?);
    let answer = service.transfer_leadership(pb::TransferLeadershipRequest { to });
    let late = || CliError::failed(format!("{at} does not answer in time")).hint("`consilium status` shows who leads");
    let answer = tokio::time::timeout(TRANSFER_TIMEOUT, answer).await.map_err(|_| late())?;
    let failed = |status| ClientError::from(Failure { endpoint: at.as_str().into(), status });
    let done = answer.map_err(failed)?.into_inner();
    ctx.print(&LeaderView { leader: done.leader }, |v| format!("leader: {}", v.leader))
}

/// Asks all at once; answers in the order of the addresses, each once.
async fn ask_all(client: &Client, mut addresses: Vec<String>) -> Vec<StatusView> {
    let mut seen = BTreeSet::new();
    addresses.retain(|address| seen.insert(address.clone()));
    let ledger = client.genesis().ledger_id.to_bytes();
    let asked = addresses.into_iter().map(|address| {
        let (client, ledger) = (client.clone(), ledger.clone());
        async move {
            let answer = match client.dial(&address) {
                Ok(channel) => ask(channel, &address, &ledger).await,
                Err(e) => Err(e),
            };
            match answer {
                Ok(status) => StatusView { endpoint: address, node: Some(status), error: None },
                Err(e) => StatusView { endpoint: address, node: None, error: Some(e.to_string()) },
            }
        }
    });
    futures::future::join_all(asked).await
}

async fn ask(channel: Channel, address: &str, ledger: &[u8]) -> Result<pb::GetStatusResponse, ClientError> {
    let mut service = OperatorServiceClient::new(channel);
    let answer = tokio::time::timeout(STATUS_TIMEOUT, service.get_status(pb::GetStatusRequest::default())).await;
    let transport = |cause: &str| ClientError::Transport { endpoint: address.to_owned(), cause: cause.to_owned() };
    let status = answer
        .map_err(|_| transport("no answer in time"))?
        .map_err(|status| ClientError::from(Failure { endpoint: address.into(), status }))?
        .into_inner();
    if status.ledger_id != ledger {
        return Err(transport("is a node of another ledger"));
    }
    Ok(status)
}

#[cfg(test)]
mod tests;
