//! `consilium stake`: how a member's standing is delegated.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use consilium_proto::pb;
use serde::Serialize;

use super::governance::need_admin;
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

/// A member's stake.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct StakeView {
    member: String,
    allotted: u64,
    free: u64,
    delegations: Vec<DelegationView>,
    pending: Vec<PendingView>,
    unbonding: Vec<UnbondingView>,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct DelegationView {
    raft_id: u64,
    node: Option<String>,
    amount: u64,
}

/// A change at the end of the epoch; no `from`: free stake, no `to`: unbonds.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct PendingView {
    from: Option<u64>,
    to: Option<u64>,
    amount: u64,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct UnbondingView {
    amount: u64,
    free_epoch: u64,
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
    let members = client.list_members(None).await?;
    let names = names(&members);
    let find = |node: &NodeRef| node.find(&members).map(|found| found.raft_id);
    let done = match args.command {
        StakeCommand::Show { member } => {
            let member = member.unwrap_or(own);
            let view = view(&member, client.stake(&member, None).await?, &names);
            return ctx.print(&view, text);
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
    let stake = view(own, client.stake(own, Some(done.height)).await?, names);
    let view = ChangedView { transaction: SubmittedView::new(done), stake };
    ctx.print(&view, |v| format!("{}\n\n{}", v.transaction.text(), text(&v.stake)))
}

fn view(member: &str, answer: pb::GetStakeResponse, names: &BTreeMap<u64, String>) -> StakeView {
    let stake = answer.stake.unwrap_or_default();
    let some = |id: u64| Some(id).filter(|id| *id != 0);
    StakeView {
        member: member.to_owned(),
        allotted: answer.allotted,
        free: answer.free,
        delegations: stake
            .delegations
            .iter()
            .map(|d| DelegationView { raft_id: d.node, node: names.get(&d.node).cloned(), amount: d.amount })
            .collect(),
        pending: stake
            .pending
            .iter()
            .map(|p| PendingView { from: some(p.from), to: some(p.to), amount: p.amount })
            .collect(),
        unbonding: stake
            .unbonding
            .iter()
            .map(|u| UnbondingView { amount: u.amount, free_epoch: u.free_epoch })
            .collect(),
    }
}

fn text(view: &StakeView) -> String {
    let mut text = format!("{}: stake {}, of it free {}\n", view.member, view.allotted, view.free);
    if !view.delegations.is_empty() {
        let rows = view.delegations.iter().map(|d| {
            let name = d.node.clone().unwrap_or_else(|| "-".into());
            vec![d.raft_id.to_string(), name, d.amount.to_string()]
        });
        text += &format!("\n{}", table(&["ID", "NODE", "DELEGATED"], rows));
    }
    if !view.pending.is_empty() {
        text += "\nat the end of the epoch:\n";
    }
    for change in &view.pending {
        let amount = change.amount;
        text += &match (change.from, change.to) {
            (None, Some(to)) => format!("  {amount} goes to node {to}\n"),
            (Some(from), Some(to)) => format!("  {amount} goes from node {from} to node {to}\n"),
            (Some(from), None) => format!("  {amount} comes off node {from} and unbonds\n"),
            (None, None) => format!("  {amount} changes nothing\n"),
        };
    }
    for unbonding in &view.unbonding {
        text += &format!("{} unbonds, free from epoch {} on\n", unbonding.amount, unbonding.free_epoch);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer() -> pb::GetStakeResponse {
        let stake = pb::StakeState {
            delegations: vec![pb::Delegation { node: 1, amount: 60 }, pb::Delegation { node: 9, amount: 10 }],
            pending: vec![
                pb::DelegationChange { from: 0, to: 1, amount: 5 },
                pb::DelegationChange { from: 1, to: 9, amount: 6 },
                pb::DelegationChange { from: 9, to: 0, amount: 7 },
            ],
            unbonding: vec![pb::Unbonding { amount: 8, free_epoch: 40 }],
        };
        pb::GetStakeResponse { allotted: 100, free: 17, stake: Some(stake) }
    }

    #[test]
    fn a_members_stake_is_shown_with_what_is_under_way() {
        let names = BTreeMap::from([(1, "a.example/n1".to_owned())]);
        let view = view("a.example", answer(), &names);
        let expected = "a.example: stake 100, of it free 17\n\n\
             ID  NODE          DELEGATED\n1   a.example/n1  60\n9   -             10\n\n\
             at the end of the epoch:\n  5 goes to node 1\n  6 goes from node 1 to node 9\n  \
             7 comes off node 9 and unbonds\n8 unbonds, free from epoch 40 on\n";
        assert_eq!(text(&view), expected);
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["pending"][0], serde_json::json!({"from": null, "to": 1, "amount": 5}));
        assert_eq!(json["delegations"][0]["node"], "a.example/n1");
    }

    #[test]
    fn a_member_without_delegations_is_one_line() {
        let empty = pb::GetStakeResponse { allotted: 5, free: 5, stake: None };
        assert_eq!(text(&view("b.example", empty, &BTreeMap::new())), "b.example: stake 5, of it free 5\n");
    }
}
