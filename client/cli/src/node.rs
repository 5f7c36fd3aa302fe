//! `consilium node`: a member's own nodes: one more, another in the place of a
//! lost one, one less.
//!
//! With `--dir` the command works in the node's own folder and leaves it ready
//! to start. Each command can be repeated after an interruption: what an
//! earlier run has done is found and not done again.

use std::path::PathBuf;

use bytes::Bytes;
use clap::{ArgGroup, Args, Subcommand};
use consilium_proto::pb;
use consilium_proto::transaction::Topic;
use pb::proposal_topic::Topic as Pb;
use serde::Serialize;

use super::confirm::Consent;
use super::governance::effect::{Present, effects};
use super::governance::need_admin;
use super::governance::remark::{refusal, remarks};
use super::governance::topic::{SuccessorArgs, read_vote_key};
use super::governance::view::bullets;
use super::member::{FolderView, InvitationView, SettingsArgs, invitation_of};
use super::{CliError, Context, SubmittedView};
use consilium_client::Client;
use consilium_client::ClientError;
use consilium_client::files::{self, PUBLIC_MODE};
use consilium_client::membership::folder::{VoteKey, lay_out, unfinished};
use consilium_client::membership::{NodeRef, Registered};

/// A member's own nodes
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: NodeCommand,
}

/// A member's own nodes (role admin).
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Add a node: it gets a raft id and joins as a learner
    Register(RegisterArgs),
    /// Retire a lost or wiped node and put a new one in its place, with its delegations
    Replace(ReplaceArgs),
    /// Take a node out for good
    Retire {
        /// Raft id, SPIFFE id or MEMBER/NAME
        node: NodeRef,
        /// Whether to ask.
        #[command(flatten)]
        consent: Consent,
    },
}

/// A node to add.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// Name in its SPIFFE id
    #[arg(long)]
    pub(crate) name: String,
    /// Where the other nodes reach it
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) peer: String,
    /// Where clients reach it
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) client: String,
    /// Where its files are.
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// A node to replace.
#[derive(Debug, Args)]
pub(crate) struct ReplaceArgs {
    /// The lost one: raft id, SPIFFE id or MEMBER/NAME
    #[arg(value_name = "NODE")]
    pub(crate) lost: NodeRef,
    /// The new one.
    #[command(flatten)]
    pub(crate) node: SuccessorArgs,
    /// Where its files are.
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Whether to ask.
    #[command(flatten)]
    pub(crate) consent: Consent,
}

/// Where the new node's files are: in its folder, or on another machine.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("place").required(true).args(["dir", "vote_key"]))]
pub(crate) struct PlaceArgs {
    /// The node's folder: vote key, genesis, invitation and node.toml are made there
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Public half of a vote key made on the node's machine; write the invitation to --out
    #[arg(long, value_name = "FILE.pub", requires = "out")]
    pub(crate) vote_key: Option<PathBuf>,
    /// New file for the invitation, to be used there with `member join`
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    pub(crate) out: Option<PathBuf>,
    /// The node's settings.
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// A node on the ledger, and where its files are.
#[derive(Serialize)]
struct RegisteredView {
    raft_id: u64,
    node: String,
    /// Absent if an earlier run had submitted it.
    transaction: Option<SubmittedView>,
    invitation: InvitationView,
    /// With `--dir`.
    folder: Option<FolderView>,
    /// With `--out`.
    invitation_file: Option<PathBuf>,
}

/// The vote key of a node that is to join.
enum Key {
    /// In its folder.
    Folder(PathBuf, VoteKey),
    /// Elsewhere; the invitation goes to a file.
    Elsewhere(PathBuf, Bytes),
}

/// Runs `consilium node`.
pub(crate) async fn run(args: NodeArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    need_admin(&client)?;
    match args.command {
        NodeCommand::Register(args) => register(args, &client, ctx).await,
        NodeCommand::Replace(args) => replace(args, &client, ctx).await,
        NodeCommand::Retire { node, consent } => retire(&node, consent, &client, ctx).await,
    }
}

async fn register(args: RegisterArgs, client: &Client, ctx: &Context) -> Result<(), CliError> {
    let key = args.place.key(None)?;
    let node = pb::NodeDescription {
        name: args.name,
        peer_address: args.peer,
        client_address: args.client,
        vote_key: key.public(),
    };
    let registered = client.register_node(node).await?;
    finish(registered, key, 0, args.place.settings, client, ctx).await
}

async fn replace(args: ReplaceArgs, client: &Client, ctx: &Context) -> Result<(), CliError> {
    let members = client.list_members(None).await?.into_claimed();
    if let Some(dir) = &args.place.dir
        && let Some(node) = unfinished(dir, &members)?
    {
        // An earlier run replaced the node and was interrupted.
        let key = Key::Folder(dir.clone(), VoteKey::find(dir, &node.vote_key)?);
        let node = client.proven_node(node.raft_id).await?.unwrap_or_else(|| node.clone());
        let replaced = node.replaces;
        let registered = Registered { submitted: None, node };
        return finish(registered, key, replaced, args.place.settings, client, ctx).await;
    }
    let lost = own(client, args.lost.find(&members)?)?;
    let key = args.place.key(Some(&lost.vote_key))?;
    let node = args.node.description(lost, key.public());
    let replace = pb::ReplaceNode { raft_id: lost.raft_id, node: Some(node.clone()) };
    agree(Pb::ReplaceNode(replace), "Replace the node?", args.consent, client).await?;
    let registered = client.replace_node(lost.raft_id, node).await?;
    finish(registered, key, lost.raft_id, args.place.settings, client, ctx).await
}

async fn retire(node: &NodeRef, consent: Consent, client: &Client, ctx: &Context) -> Result<(), CliError> {
    let members = client.list_members(None).await?.into_claimed();
    let raft_id = own(client, node.find(&members)?)?.raft_id;
    agree(Pb::RetireNode(pb::RetireNode { raft_id }), "Retire the node?", consent, client).await?;
    let done = client.retire_node(raft_id).await?;
    ctx.print(&SubmittedView::new(&done), |v| {
        format!("node {node} (raft id {raft_id}) retires with the end of the epoch; then stop it\n{}", v.text())
    })
}

/// A node of the own member, active.
fn own<'a>(client: &Client, node: &'a pb::NodeState) -> Result<&'a pb::NodeState, CliError> {
    let own = client.identity().spiffe_id().member().as_str();
    let (name, raft_id) = (&node.name, node.raft_id);
    if node.member != own {
        let error =
            CliError::failed(format!("node {name} (raft id {raft_id}) belongs to {}, not to {own}", node.member));
        return Err(error.hint("for another member's node: consilium governance propose"));
    }
    if node.status() != pb::NodeStatus::Active {
        return Err(CliError::failed(format!("node {name} (raft id {raft_id}) retires already")));
    }
    Ok(node)
}

/// Shows what a change does, and asks. The change needs no ballots, but the
/// same preview says whether it would strand the network.
async fn agree(topic: Pb, question: &str, consent: Consent, client: &Client) -> Result<(), CliError> {
    let wire = pb::ProposalTopic { topic: Some(topic) };
    let topic = Topic::parse(&wire).map_err(ClientError::from)?;
    let present = Present::read(client, &topic).await?;
    let preview = client.preview_proposal(&wire).await?.into_claimed();
    if let Some(refusal) = refusal(&preview, &present) {
        return Err(CliError::failed(refusal).hint("nothing was signed"));
    }
    let plan = format!(
        "what it does, told from what is signed:\n{}\nwhat the node says about the present state:\n{}",
        bullets(effects(&topic, &present)),
        bullets(remarks(&topic, &present, &preview))
    );
    consent.ask(&plan, question)
}

/// Puts keys in their place, and writes what the node needs to join.
async fn finish(
    registered: Registered,
    key: Key,
    spent_raft_id: u64,
    settings: SettingsArgs,
    client: &Client,
    ctx: &Context,
) -> Result<(), CliError> {
    let invitation = invitation_of(client, &registered.node, ctx).await?;
    let (mut folder, mut invitation_file) = (None, None);
    match key {
        Key::Folder(dir, key) => {
            key.put_in_place(spent_raft_id)?;
            folder = Some(FolderView::new(lay_out(&dir, &invitation, &settings.into())?));
        }
        Key::Elsewhere(out, _) => {
            files::write_new(&out, &invitation.encode(), PUBLIC_MODE)?;
            invitation_file = Some(out);
        }
    }
    let view = RegisteredView {
        raft_id: registered.node.raft_id,
        node: invitation.spiffe_id.to_string(),
        transaction: registered.submitted.as_ref().map(SubmittedView::new),
        invitation: InvitationView::new(&invitation),
        folder,
        invitation_file,
    };
    ctx.print(&view, RegisteredView::text)
}

impl PlaceArgs {
    /// The vote key of the new node, made if it has none.
    fn key(&self, spent: Option<&Bytes>) -> Result<Key, CliError> {
        match (&self.dir, &self.vote_key, &self.out) {
            (Some(dir), _, _) => Ok(Key::Folder(dir.clone(), VoteKey::prepare(dir, spent)?)),
            (None, Some(public), Some(out)) => Ok(Key::Elsewhere(out.clone(), read_vote_key(public)?)),
            (None, _, _) => Err(CliError::usage("give --dir, or --vote-key with --out")),
        }
    }
}

impl Key {
    fn public(&self) -> Bytes {
        match self {
            Self::Folder(_, key) => key.public.clone(),
            Self::Elsewhere(_, public) => public.clone(),
        }
    }
}

impl RegisteredView {
    fn text(&self) -> String {
        let mut text = match &self.transaction {
            Some(transaction) => format!("{}\n", transaction.text()),
            None => "an earlier run had submitted it; finished now\n".into(),
        };
        text += &format!("{}\n", self.invitation.text());
        if let Some(folder) = &self.folder {
            text += &folder.text(&self.node);
        }
        if let Some(file) = &self.invitation_file {
            text += &format!("invitation: {}\nnext, on the node's machine: consilium member join", file.display());
        }
        text
    }
}

#[cfg(test)]
mod tests;
