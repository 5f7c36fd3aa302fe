//! `consilium governance`: what the members decide together.
//!
//! What is signed is shown before, told from the very bytes that are signed;
//! what a node says about it stands below, marked as its word.

pub(crate) mod effect;
mod policy_file;
pub(crate) mod remark;
mod tally;
pub(crate) mod topic;
pub(crate) mod view;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use consilium_proto::limits::{PROPOSAL_LIFE_MAX_MS, PROPOSAL_LIFE_MIN_MS};
use consilium_proto::names::Role;
use consilium_proto::pb;
use consilium_proto::transaction::Topic;
use serde::Serialize;

use super::confirm::Consent;
use super::context::escaped;
use super::json::{Many, One};
use super::text::time_ms;
use super::when::duration_ms;
use super::{CliError, Context, SubmittedView};
use consilium_client::Client;
use consilium_client::ClientError;
use consilium_client::clock::now_ms;
use consilium_client::governance::ProvenProposal;
use effect::{Present, effects, summary};
use remark::{refusal, remarks};
use topic::TopicArgs;
use view::{ProposalView, bullets};

/// What the members decide together
#[derive(Debug, Args)]
pub(crate) struct GovernanceArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: GovernanceCommand,
}

/// What the members decide together.
#[derive(Debug, Subcommand)]
pub(crate) enum GovernanceCommand {
    /// Open a proposal; it carries this member's approval (role admin)
    Propose(ProposeArgs),
    /// Vote for this member; a later vote replaces an earlier one (role admin)
    Vote {
        /// Number of the proposal
        number: u64,
        /// What this member says
        choice: Choice,
        /// Whether to ask.
        #[command(flatten)]
        consent: Consent,
    },
    /// Show a proposal, proven against a certified header
    Show {
        /// Its number
        number: u64,
        /// Write the access policy that it proposes here, as it is; - is standard output, an existing
        /// file is left alone
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// List open proposals, newest first
    List {
        /// Closed ones, too
        #[arg(long)]
        all: bool,
    },
    /// Withdraw a proposal of this member (role admin)
    Cancel {
        /// Its number
        number: u64,
        /// Whether to ask.
        #[command(flatten)]
        consent: Consent,
    },
    /// Show members and their nodes
    Members,
    /// Show parameters, protocol version and access policy
    Rules {
        /// Write the access policy in force here, as it is, proven; - is standard output, an existing
        /// file is left alone
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
}

/// A proposal to open.
#[derive(Debug, Args)]
pub(crate) struct ProposeArgs {
    /// Why, for the other members; never anything about a patient
    #[arg(long, global = true, default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    /// How long it can be voted on, for example 12h
    #[arg(long, global = true, value_name = "DURATION", value_parser = life, default_value = "7d")]
    pub(crate) expires: u64,
    /// Do not ask; needed where nobody can answer
    #[arg(long, global = true)]
    pub(crate) yes: bool,
    /// What it does.
    #[command(subcommand)]
    pub(crate) topic: TopicArgs,
}

/// What a member says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// For it.
    Approve,
    /// Against it.
    Reject,
}

impl From<Choice> for pb::BallotChoice {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Approve => Self::Approve,
            Choice::Reject => Self::Reject,
        }
    }
}

/// A transaction and the proposal after it.
#[derive(Serialize)]
struct DoneView {
    transaction: SubmittedView,
    proposal: ProposalView,
}

/// Runs `consilium governance`.
pub(crate) async fn run(args: GovernanceArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    match args.command {
        GovernanceCommand::Propose(args) => propose(args, &client, ctx).await,
        GovernanceCommand::Vote { number, choice, consent } => vote(number, choice.into(), consent, &client, ctx).await,
        GovernanceCommand::Show { number, policy: Some(file) } => {
            policy_file::proposed(number, &file, &client, ctx).await
        }
        GovernanceCommand::Show { number, policy: None } => {
            ctx.print(&shown(&client, ctx, number).await?, ProposalView::text)
        }
        GovernanceCommand::List { all } => list(all, &client, ctx).await,
        GovernanceCommand::Cancel { number, consent } => cancel(number, consent, &client, ctx).await,
        GovernanceCommand::Members => {
            ctx.print(&Many(ctx.node_says(client.list_members(None).await?)), |members| view::member_tables(&members.0))
        }
        GovernanceCommand::Rules { policy: Some(file) } => policy_file::in_force(&file, &client, ctx).await,
        GovernanceCommand::Rules { policy: None } => {
            ctx.print(&One(ctx.node_says(client.rules().await?)), |rules| view::rules_text(&rules.0))
        }
    }
}

async fn propose(args: ProposeArgs, client: &Client, ctx: &Context) -> Result<(), CliError> {
    need_admin(client)?;
    let wire = args.topic.build(client).await?;
    let topic = Topic::parse(&wire).map_err(ClientError::from)?;
    let present = Present::read(client, &topic).await?;
    let preview = client.preview_proposal(&wire).await?.into_claimed();
    let own = client.identity().spiffe_id().member().as_str().to_owned();
    let expires_ms = now_ms().saturating_add(args.expires);
    let plan = plan(&topic, &present, &preview, &own, &args.reason, expires_ms);
    if let Some(refusal) = refusal(&preview, &present) {
        return Err(CliError::failed(refusal).hint("nothing was signed"));
    }
    Consent { yes: args.yes }.ask(&plan, "Sign and submit this proposal?")?;
    let done = client.propose(wire, &args.reason, expires_ms).await?;
    let proposal = ProposalView::new(&ctx.node_says(done.proposal), Some(&present))?;
    let view = DoneView { transaction: SubmittedView::new(&done.submitted), proposal };
    ctx.print(&view, |v| format!("{}\n{}", v.transaction.text(), after(&v.proposal)))
}

async fn vote(
    number: u64,
    choice: pb::BallotChoice,
    consent: Consent,
    client: &Client,
    ctx: &Context,
) -> Result<(), CliError> {
    need_admin(client)?;
    let before = shown(client, ctx, number).await?;
    if before.status != "open" {
        return Err(CliError::failed(format!("proposal {number} is {}, nobody can vote on it", before.status)));
    }
    let own = client.identity().spiffe_id().member().as_str();
    let mut text = before.text();
    if let Some(tally) = before.tally {
        text += &format!("\nwith the vote of {own}:\n{}", tally::text(&tally::with(tally, own, choice), true));
    }
    let word = if choice == pb::BallotChoice::Approve { "Approve" } else { "Reject" };
    consent.ask(&text, &format!("{word} proposal {number} for {own}?"))?;
    let done = client.cast_ballot(number, choice).await?;
    let proposal = ProposalView::new(&ctx.node_says(client.proposal(number, Some(done.height)).await?), None)?;
    let view = DoneView { transaction: SubmittedView::new(&done), proposal };
    ctx.print(&view, |v| format!("{}\n{}", v.transaction.text(), after(&v.proposal)))
}

async fn cancel(number: u64, consent: Consent, client: &Client, ctx: &Context) -> Result<(), CliError> {
    need_admin(client)?;
    let before = shown(client, ctx, number).await?;
    consent.ask(&before.text(), &format!("Withdraw proposal {number}?"))?;
    let done = client.cancel_proposal(number).await?;
    let proposal = ProposalView::new(&ctx.node_says(client.proposal(number, Some(done.height)).await?), None)?;
    let view = DoneView { transaction: SubmittedView::new(&done), proposal };
    ctx.print(&view, |v| format!("{}\nproposal {number} is {}", v.transaction.text(), v.proposal.status))
}

async fn list(all: bool, client: &Client, ctx: &Context) -> Result<(), CliError> {
    let (mut views, mut before) = (Vec::new(), 0);
    loop {
        let page = ctx.node_says(client.list_proposals(!all, before, None).await?);
        for answer in &page.proposals {
            views.push(ProposalView::new(answer, None)?);
        }
        before = page.next_before;
        if before == 0 {
            return ctx.print(&views, |views| view::proposal_table(views));
        }
    }
}

/// A proposal, proven, with its effects.
async fn shown(client: &Client, ctx: &Context, number: u64) -> Result<ProposalView, CliError> {
    let ProvenProposal { proposal, open_tally } = client.proven_proposal(number).await?;
    let topic = proposal.topic.as_ref().ok_or_else(|| ClientError::contradiction("the proposal has no topic"))?;
    let present = Present::read(client, &Topic::parse(topic).map_err(ClientError::from)?).await?;
    let tally = match &proposal.closing_tally {
        Some(closing) => Some(closing.clone()),
        None => {
            ctx.claims("tally", "how the vote stands is the word of the node that was asked: it is not proven");
            open_tally.into_claimed()
        }
    };
    let time_ms = proposal.time().0;
    let shown = pb::GetProposalResponse { proposal: Some(proposal.into_value()), tally, time_ms };
    Ok(ProposalView::new(&shown, Some(&present))?)
}

/// What is shown before a proposal is signed.
fn plan(
    topic: &Topic,
    present: &Present,
    preview: &pb::PreviewProposalResponse,
    own: &str,
    reason: &str,
    expires_ms: u64,
) -> String {
    let mut text = format!("proposal: {}, vote until {}\n", summary(topic), time_ms(expires_ms));
    if !reason.is_empty() {
        text += &format!("reason: {}\n", escaped(reason));
    }
    text += &format!("\nwhat it does, told from what is signed:\n{}", bullets(effects(topic, present)));
    let remarks = remarks(topic, present, preview);
    if !remarks.is_empty() {
        text += &format!("\nwhat the node says about the present state:\n{}", bullets(remarks));
    }
    if let Some(tally) = &preview.tally {
        let tally = tally::with(tally.clone(), own, pb::BallotChoice::Approve);
        text +=
            &format!("\nthe tally as the node counts it, with the approval of {own}:\n{}", tally::text(&tally, true));
    }
    text
}

/// How a proposal stands after a transaction about it.
fn after(view: &ProposalView) -> String {
    let mut text = format!("proposal {} is {}\n", view.number, view.status);
    if !view.failure.is_empty() {
        text += &format!("it failed because {}\n", escaped(&view.failure));
    }
    if let Some(tally) = &view.tally {
        text += &format!("\n{}", tally::text(tally, view.status == "open"));
    }
    if view.status == "open" {
        text += &format!("\nthe others vote with: consilium governance vote {} approve\n", view.number);
    }
    text
}

/// Rules and stake are for administrators; asked before a person reads a plan
/// that the ledger would refuse.
pub(crate) fn need_admin(client: &Client) -> Result<(), CliError> {
    let id = client.identity().spiffe_id();
    if id.role() == Role::Admin {
        return Ok(());
    }
    let error = CliError::failed(format!("{id} is not of role admin"));
    Err(error.hint("use a profile, or --certificate and --key, of an administrator of this member"))
}

/// A proposal's life, inside of what the ledger accepts: the ledger counts from
/// the block's time, this program from its own clock.
fn life(text: &str) -> Result<u64, String> {
    const MINUTE_MS: u64 = 60_000;
    let ms = duration_ms(text)?;
    if (PROPOSAL_LIFE_MIN_MS + MINUTE_MS..=PROPOSAL_LIFE_MAX_MS - 24 * 60 * MINUTE_MS).contains(&ms) {
        return Ok(ms);
    }
    Err("must be between 2m and 89d".into())
}
