//! `consilium status` and `consilium operator`: for those who run nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand};
use consilium_proto::pb;
use pb::operator_service_client::OperatorServiceClient;
use serde::Serialize;
use tonic::transport::Channel;

use super::context::escaped;
use super::text::{table, time_ms, time_s};
use super::{CliError, Context};
use crate::error::ClientError;
use crate::retry::Failure;

/// How long a node has to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// Show the nodes as they see themselves, and their alarms
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Every node of the genesis, beside the configured endpoints
    #[arg(long)]
    pub all: bool,
}

/// Planned operations.
#[derive(Debug, Args)]
pub struct OperatorArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: OperatorCommand,
}

/// Planned operations.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Hand leadership to another voter
    TransferLeadership {
        /// Raft id of the new leader [default: the most caught-up voter]
        #[arg(long, value_name = "RAFT_ID", default_value_t = 0, hide_default_value = true)]
        to: u64,
    },
}

#[derive(Serialize)]
struct StatusView {
    endpoint: String,
    /// Absent if there is an error.
    #[serde(flatten)]
    node: Option<NodeView>,
    error: Option<String>,
}

#[derive(Serialize)]
struct NodeView {
    spiffe_id: String,
    raft_id: u64,
    raft_role: String,
    leader: u64,
    term: u64,
    first_index: u64,
    last_index: u64,
    commit_index: u64,
    applied_index: u64,
    applied_height: u64,
    certified_height: u64,
    tree_size: u64,
    state_root: String,
    queued_transactions: u64,
    certificate_not_after: String,
    software_version: String,
    peers: Vec<PeerView>,
    alarms: Vec<AlarmView>,
}

#[derive(Serialize)]
struct PeerView {
    raft_id: u64,
    spiffe_id: String,
    client_address: String,
    voter: bool,
    voting_power: u64,
    matched_index: u64,
    voted_height: u64,
    connected: bool,
}

#[derive(Serialize)]
struct AlarmView {
    name: String,
    message: String,
    since: String,
}

/// Runs `consilium status`.
///
/// # Errors
/// If a node does not answer or is of another ledger; the table comes first.
pub async fn run_status(args: StatusArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let mut seen = BTreeSet::new();
    let mut addresses: Vec<String> = client.endpoints().map(str::to_owned).collect();
    if args.all {
        addresses.extend(client.genesis().nodes().map(|(_, node)| node.client_address.clone()));
    }
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
                Ok(status) => StatusView { endpoint: address, node: Some(node_view(status)), error: None },
                Err(e) => StatusView { endpoint: address, node: None, error: Some(e.to_string()) },
            }
        }
    });
    let views = futures::future::join_all(asked).await;
    ctx.print(&views, |views| describe(views))?;
    let silent = views.iter().filter(|v| v.node.is_none()).count();
    if silent > 0 {
        return Err(CliError::failed(format!("{silent} of {} nodes do not answer", views.len())));
    }
    Ok(())
}

/// Runs `consilium operator`.
///
/// # Errors
/// As the node answers.
pub async fn run_operator(args: OperatorArgs, ctx: &Context) -> Result<(), CliError> {
    let OperatorCommand::TransferLeadership { to } = args.command;
    let client = ctx.client().await?;
    let request = pb::TransferLeadershipRequest { to };
    let done = client
        .read(|channel| async move { OperatorServiceClient::new(channel).transfer_leadership(request).await })
        .await?;
    ctx.print(&done.leader, |leader| format!("leader: {leader}"))
}

async fn ask(channel: Channel, address: &str, ledger: &[u8]) -> Result<pb::GetStatusResponse, ClientError> {
    let mut service = OperatorServiceClient::new(channel);
    let answer = tokio::time::timeout(STATUS_TIMEOUT, service.get_status(pb::GetStatusRequest {})).await;
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

fn node_view(s: pb::GetStatusResponse) -> NodeView {
    let peer = |p: pb::PeerStatus| PeerView {
        raft_id: p.raft_id,
        spiffe_id: p.spiffe_id,
        client_address: p.client_address,
        voter: p.voter,
        voting_power: p.voting_power,
        matched_index: p.matched_index,
        voted_height: p.voted_height,
        connected: p.connected,
    };
    let alarm = |a: pb::Alarm| AlarmView { name: a.name, message: a.message, since: time_ms(a.since_ms) };
    NodeView {
        spiffe_id: s.spiffe_id,
        raft_id: s.raft_id,
        raft_role: s.raft_role,
        leader: s.leader,
        term: s.term,
        first_index: s.first_index,
        last_index: s.last_index,
        commit_index: s.commit_index,
        applied_index: s.applied_index,
        applied_height: s.applied_height,
        certified_height: s.certified_height,
        tree_size: s.tree_size,
        state_root: hex::encode(s.state_root),
        queued_transactions: s.queued_transactions,
        certificate_not_after: time_s(s.certificate_not_after_s),
        software_version: s.software_version,
        peers: s.peers.into_iter().map(peer).collect(),
        alarms: s.alarms.into_iter().map(alarm).collect(),
    }
}

fn describe(views: &[StatusView]) -> String {
    let head =
        ["ENDPOINT", "NODE", "ID", "ROLE", "LEADER", "TERM", "APPLIED", "CERTIFIED", "QUEUE", "VERSION", "ALARMS"];
    let rows = views.iter().map(|view| match &view.node {
        None => vec![view.endpoint.clone(), "no answer".into()],
        Some(node) => vec![
            view.endpoint.clone(),
            node.spiffe_id.clone(),
            node.raft_id.to_string(),
            node.raft_role.clone(),
            node.leader.to_string(),
            node.term.to_string(),
            node.applied_height.to_string(),
            node.certified_height.to_string(),
            node.queued_transactions.to_string(),
            node.software_version.clone(),
            node.alarms.len().to_string(),
        ],
    });
    let mut text = table(&head, rows);
    for view in views {
        if let Some(error) = &view.error {
            text += &format!("\n{}", escaped(error));
        }
        for alarm in view.node.iter().flat_map(|node| &node.alarms) {
            let (name, message) = (escaped(&alarm.name), escaped(&alarm.message));
            text += &format!("\n{}: {name} since {}: {message}", view.endpoint, alarm.since);
        }
    }
    text
}
