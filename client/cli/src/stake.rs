//! `consilium stake`: how a member's standing is delegated.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use consilium_proto::pb;
use serde::Serialize;

use super::governance::need_admin;
use super::json;
use super::text::table;
use super::validators::names;
use super::{CliError, Context, SubmittedView};
use consilium_client::membership::NodeRef;
use consilium_client::{Client, Submitted};

/// How a member's stake is delegated
#[derive(Debug, Args)]
pub(crate) struct StakeArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: StakeCommand,
}

/// How a member's stake is delegated. Changes settle at the end of the epoch.
#[derive(Debug, Subcommand)]
pub(crate) enum StakeCommand {
    /// Show a member's stake
    Show {
        /// Its id [default: the own member]
        member: Option<String>,
    },
    /// Put free stake on a node, from the end of the epoch (role admin)
    Delegate {
        /// Raft id, SPIFFE id or MEMBER/NAME
        #[arg(long, value_name = "NODE")]
        to: NodeRef,
        /// How much
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        amount: u64,
    },
    /// Move stake to another node at the end of the epoch (role admin)
    Redelegate {
        /// The node that loses it
        #[arg(long, value_name = "NODE")]
        from: NodeRef,
        /// The node that gets it
        #[arg(long, value_name = "NODE")]
        to: NodeRef,
        /// How much
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        amount: u64,
    },
    /// Take stake off a node at the end of the epoch; free after the unbonding epochs (role admin)
    Undelegate {
        /// The node that loses it
        #[arg(long, value_name = "NODE")]
        from: NodeRef,
        /// How much
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        amount: u64,
    },
}

#[derive(Serialize)]
struct StakeView {
    member: String,
    #[serde(serialize_with = "json::message")]
    stake: pb::GetStakeResponse,
}

#[derive(Serialize)]
struct ChangedView {
    transaction: SubmittedView,
    stake: StakeView,
}

/// Runs `consilium stake`.
pub(crate) async fn run(args: StakeArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let own = client.identity().spiffe_id().member().to_string();
    let members = client.list_members(None).await?.into_claimed();
    let names = names(&members);
    let find = |node: &NodeRef| node.find(&members).map(|found| found.raft_id);
    let done = match args.command {
        StakeCommand::Show { member } => {
            let member = member.unwrap_or(own);
            let stake = ctx.node_says(client.stake(&member, None).await?);
            return ctx.print(&StakeView { member, stake }, |v| text(v, &names));
        }
        StakeCommand::Delegate { to, amount } => {
            need_admin(&client)?;
            client.delegate(find(&to)?, amount).await?
        }
        StakeCommand::Redelegate { from, to, amount } => {
            need_admin(&client)?;
            client.redelegate(find(&from)?, find(&to)?, amount).await?
        }
        StakeCommand::Undelegate { from, amount } => {
            need_admin(&client)?;
            client.undelegate(find(&from)?, amount).await?
        }
    };
    changed(&done, &own, &client, &names, ctx).await
}

async fn changed(
    done: &Submitted,
    own: &str,
    client: &Client,
    names: &BTreeMap<u64, String>,
    ctx: &Context,
) -> Result<(), CliError> {
    let stake = StakeView { member: own.to_owned(), stake: ctx.node_says(client.stake(own, Some(done.height)).await?) };
    let view = ChangedView { transaction: SubmittedView::new(done), stake };
    ctx.print(&view, |v| format!("{}\n\n{}", v.transaction.text(), text(&v.stake, names)))
}

fn text(view: &StakeView, names: &BTreeMap<u64, String>) -> String {
    let pb::GetStakeResponse { allotted, free, stake } = &view.stake;
    let mut text = format!("{}: stake {allotted}, of it free {free}\n", view.member);
    let Some(stake) = stake else { return text };
    if !stake.delegations.is_empty() {
        let rows = stake.delegations.iter().map(|d| {
            let name = names.get(&d.node).cloned().unwrap_or_else(|| "-".into());
            vec![d.node.to_string(), name, d.amount.to_string()]
        });
        text += &format!("\n{}", table(&["ID", "NODE", "DELEGATED"], rows));
    }
    if !stake.pending.is_empty() {
        text += "\nat the end of the epoch:\n";
    }
    for change in &stake.pending {
        let amount = change.amount;
        text += &match (change.from, change.to) {
            (0, to) if to != 0 => format!("  {amount} goes to node {to}\n"),
            (from, to) if from != 0 && to != 0 => format!("  {amount} goes from node {from} to node {to}\n"),
            (from, 0) if from != 0 => format!("  {amount} comes off node {from} and unbonds\n"),
            (_, _) => format!("  {amount} changes nothing\n"),
        };
    }
    for unbonding in &stake.unbonding {
        text += &format!("{} unbonds, free from epoch {} on\n", unbonding.amount, unbonding.free_epoch);
    }
    text
}

#[cfg(test)]
mod tests;
