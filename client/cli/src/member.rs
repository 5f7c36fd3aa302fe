//! `consilium member`: what a member makes for the others, and what it gets
//! from them: its part of a genesis or of an admission, and invitations for
//! nodes that join a running network.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use consilium_certs::contract::invitation::Invitation;
use consilium_proto::pb;
use prost::Message;
use serde::Serialize;

use super::context::escaped;
use super::{CliError, Context};
use consilium_client::Client;
use consilium_client::ceremony::{self, NodeRequest, PartRequest};
use consilium_client::files::{self, PUBLIC_MODE, SMALL_FILE_BYTES_MAX};
use consilium_client::membership::NodeRef;
use consilium_client::membership::folder::{HTTP_DEFAULT, LaidOut, Settings, lay_out};
use consilium_client::membership::invitation;

/// A member's own steps.
#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: MemberCommand,
}

/// A member's own steps.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Make this member's part of a genesis or of an admission, from public material only
    Part(PartArgs),
    /// Write the invitation of a node that is on the ledger, for whoever runs it
    Invite(InviteArgs),
    /// Check an invitation and lay out the node's folder
    Join(JoinArgs),
}

/// A member's part.
#[derive(Debug, Args)]
pub(crate) struct PartArgs {
    /// SPIFFE trust domain, for example st-mary.example
    #[arg(long)]
    pub(crate) id: String,
    /// Name for people
    #[arg(long)]
    pub(crate) name: String,
    /// CA bundle, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: PathBuf,
    /// Standing, as agreed among the members
    #[arg(long)]
    pub(crate) stake: u64,
    /// A node; repeat for each
    #[arg(long = "node", value_name = "name=N,peer=HOST:PORT,client=HOST:PORT,vote-key=FILE.pub", required = true)]
    pub(crate) nodes: Vec<String>,
    /// New file
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Whom to invite.
#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// The node's member
    #[arg(long, value_name = "ID")]
    pub(crate) member: String,
    /// The node's name
    #[arg(long, value_name = "NAME")]
    pub(crate) node: String,
    /// New file
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Where to join.
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// What `member invite` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) invitation: PathBuf,
    /// The node's folder
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
}

/// A node's folder. What stands in its `node.toml` already stays.
#[derive(Debug, Clone, Args)]
pub(crate) struct FolderArgs {
    /// The node's folder, with vote.key, node-NAME.pem and node-NAME.key in it
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The node's settings.
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// Settings of a new `node.toml`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "In a new node.toml")]
pub(crate) struct SettingsArgs {
    /// Where the node keeps its data
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub(crate) data_dir: PathBuf,
    /// Listener for clients [default: all interfaces, at the port of the node's address]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen_client: Option<SocketAddr>,
    /// Listener for the other nodes [default: as for clients]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen_peer: Option<SocketAddr>,
    /// Listener for probes and metrics, plain HTTP
    #[arg(long, value_name = "IP:PORT", default_value_t = HTTP_DEFAULT)]
    pub(crate) listen_http: SocketAddr,
}

impl From<SettingsArgs> for Settings {
    fn from(args: SettingsArgs) -> Self {
        let SettingsArgs { data_dir, listen_client, listen_peer, listen_http } = args;
        Self { data_dir, client: listen_client, peer: listen_peer, http: listen_http }
    }
}

/// What an invitation says.
#[derive(Debug, Serialize)]
pub(crate) struct InvitationView {
    network: String,
    /// To be compared with the other members, by phone.
    pub(crate) ledger_id: String,
    pub(crate) node: String,
    pub(crate) raft_id: u64,
    /// Height that it was read at.
    height: u64,
    members: Vec<String>,
    serving_nodes: usize,
}

/// A folder that is ready.
#[derive(Debug, Serialize)]
pub(crate) struct FolderView {
    pub(crate) config: PathBuf,
    written: Vec<PathBuf>,
    /// Identity certificate and key, if they are not there yet.
    missing: Vec<PathBuf>,
}

#[derive(Serialize)]
struct PartView {
    member: String,
    file: PathBuf,
}

#[derive(Serialize)]
struct InvitedView {
    invitation: InvitationView,
    file: PathBuf,
}

#[derive(Serialize)]
struct JoinedView {
    invitation: InvitationView,
    folder: FolderView,
}

/// Runs `consilium member`.
pub(crate) async fn run(args: MemberArgs, ctx: &Context) -> Result<(), CliError> {
    match args.command {
        MemberCommand::Part(args) => part(args, ctx),
        MemberCommand::Invite(args) => invite(args, ctx).await,
        MemberCommand::Join(args) => join(args, ctx),
    }
}

fn part(args: PartArgs, ctx: &Context) -> Result<(), CliError> {
    let nodes = args.nodes.iter().map(|text| parse_node(text)).collect::<Result<Vec<_>, _>>()?;
    let request = PartRequest {
        id: args.id,
        display_name: args.name,
        ca_pem: files::read(&args.ca, SMALL_FILE_BYTES_MAX)?,
        stake: args.stake,
        nodes,
    };
    let part = ceremony::make_part(request)?;
    files::write_new(&args.out, &part.encode_to_vec(), PUBLIC_MODE)?;
    ctx.print(&PartView { member: part.id.clone(), file: args.out }, |v| {
        format!(
            "part of {} with {} nodes: {}\nit holds public material only",
            part.id,
            part.nodes.len(),
            v.file.display()
        )
    })
}

async fn invite(args: InviteArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let members = client.list_members(None).await?.into_claimed();
    let node = NodeRef::Name { member: args.member, name: args.node };
    let invitation = invitation_of(&client, node.find(&members)?, ctx).await?;
    files::write_new(&args.out, &invitation.encode(), PUBLIC_MODE)?;
    let view = InvitedView { invitation: InvitationView::new(&invitation), file: args.out };
    ctx.print(&view, |v| {
        format!(
            "{}\ninvitation: {}\nit holds nothing secret; whoever joins with it compares the ledger id by phone",
            v.invitation.text(),
            v.file.display()
        )
    })
}

/// Makes an invitation: some seconds on a busy ledger, because every row is proven.
pub(crate) async fn invitation_of(
    client: &Client,
    node: &pb::NodeState,
    ctx: &Context,
) -> Result<Invitation, CliError> {
    let bar = ctx.spinner("reading members and nodes, each proven");
    let invitation = client.invitation(node.raft_id).await;
    bar.finish_and_clear();
    Ok(invitation?)
}

fn join(args: JoinArgs, ctx: &Context) -> Result<(), CliError> {
    let invitation = invitation::read(&args.invitation)?;
    let laid_out = lay_out(&args.folder.dir, &invitation, &args.folder.settings.into());
    let laid_out = laid_out.map_err(|e| {
        let key =
            format!("{}/vote.key must be the vote key that the node was registered with", args.folder.dir.display());
        CliError::from(e).hint(key)
    })?;
    let view = JoinedView { invitation: InvitationView::new(&invitation), folder: FolderView::new(laid_out) };
    ctx.print(&view, |v| {
        format!(
            "{}\n\nread the ledger id to another member by phone before the node starts\n{}",
            v.invitation.text(),
            v.folder.text(&v.invitation.node)
        )
    })
}

impl InvitationView {
    pub(crate) fn new(invitation: &Invitation) -> Self {
        Self {
            network: invitation.genesis.network.clone(),
            ledger_id: invitation.genesis.ledger_id.to_string(),
            node: invitation.spiffe_id.to_string(),
            raft_id: invitation.node.raft_id,
            height: invitation.height().0,
            members: invitation.message.members.iter().map(|m| m.id.clone()).collect(),
            serving_nodes: invitation.message.nodes.len(),
        }
    }

    pub(crate) fn text(&self) -> String {
        format!(
            "ledger {} of network {}\n{} joins as raft id {}\nread at height {}: {} members, {} serving nodes",
            self.ledger_id,
            self.network,
            self.node,
            self.raft_id,
            self.height,
            self.members.len(),
            self.serving_nodes
        )
    }
}

impl FolderView {
    pub(crate) fn new(laid_out: LaidOut) -> Self {
        let LaidOut { config, written, missing } = laid_out;
        Self { config, written, missing }
    }

    /// What was done, and the next steps.
    pub(crate) fn text(&self, node: &str) -> String {
        let mut text = String::new();
        for path in &self.written {
            text += &format!("written: {}\n", path.display());
        }
        for path in &self.missing {
            text += &format!("still missing: {} (`consilium certs issue`, for {})\n", path.display(), escaped(node));
        }
        let config = self.config.display();
        text + &format!(
            "next, on the node's machine, with an empty data directory:\n  consilium-node init --config {config}\n  \
             consilium-node run --config {config}"
        )
    }
}

fn parse_node(text: &str) -> Result<NodeRequest, CliError> {
    let mut fields = std::collections::BTreeMap::new();
    for field in text.split(',') {
        let (key, value) =
            field.split_once('=').ok_or_else(|| CliError::usage(format!("{field:?} is not KEY=VALUE")))?;
        if !["name", "peer", "client", "vote-key"].contains(&key) || fields.insert(key, value).is_some() {
            return Err(CliError::usage(format!("node: {key:?} is unknown or stands twice")));
        }
    }
    let field = |key: &str| {
        fields.get(key).map(|&value| value.to_owned()).ok_or_else(|| CliError::usage(format!("node: {key} is missing")))
    };
    Ok(NodeRequest {
        name: field("name")?,
        peer_address: field("peer")?,
        client_address: field("client")?,
        vote_key: files::read(Path::new(&field("vote-key")?), SMALL_FILE_BYTES_MAX)?,
    })
}

#[cfg(test)]
pub(crate) mod tests;
