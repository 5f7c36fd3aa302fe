//! How long a withdrawal took to reach every node of the network, as the nodes say.

use std::time::Duration;

use clap::Args;
use consilium_client::reach::{NodeReach, Reach, Seen};
use consilium_client::{Client, NodesOf};
use consilium_proto::ids::{Height, TransactionId};
use serde::Serialize;

use crate::context::escaped;
use crate::text::{table, time_ms};
use crate::{CliError, Context, SubmittedView};

/// How far the withdrawal of a consent has come: which nodes hold it, and how long it took
#[derive(Debug, Args)]
pub(crate) struct ReachArgs {
    /// The transaction that withdrew it, as `consent revoke` shows it
    #[arg(value_name = "TRANSACTION")]
    transaction: TransactionId,
    /// Ask every node of the ledger, whosever it is
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    wait: Wait,
}

/// How long to wait for the nodes.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Wait {
    /// Seconds to wait until all nodes hold it; 0: not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    reach_within: u64,
}

impl Wait {
    fn duration(self) -> Duration {
        Duration::from_secs(self.reach_within)
    }
}

/// Runs `consilium consent reach`.
pub(crate) async fn run(args: ReachArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.operators_client(args.all.then_some(NodesOf::Any)).await?;
    let receipt = client.receipt(args.transaction).await?;
    let reach = client.reach(receipt.leaf.height, args.wait.duration()).await?;
    ctx.print(&ReachView::new(&reach), ReachView::text)?;
    Ok(())
}

/// After a withdrawal was certified: where it holds. That nobody answers is no reason to say that
/// the withdrawal failed.
pub(crate) async fn after(client: &Client, height: Height, wait: Wait, ctx: &Context) -> ReachView {
    if wait.reach_within == 0 {
        return ReachView { height: height.0, complete: false, nodes: Vec::new(), silent: Vec::new() };
    }
    let spinner = ctx.spinner("waiting until all nodes hold it");
    let reach = client.reach(height, wait.duration()).await;
    spinner.finish_and_clear();
    match reach {
        Ok(reach) => ReachView::new(&reach),
        Err(error) => {
            let silent =
                client.endpoints().map(|address| SilentView { address: address.to_owned(), why: error.to_string() });
            ReachView { height: height.0, complete: false, nodes: Vec::new(), silent: silent.collect() }
        }
    }
}

/// A withdrawal, and where it holds.
#[derive(Serialize)]
pub(crate) struct RevokedView {
    #[serde(flatten)]
    pub(crate) transaction: SubmittedView,
    /// Milliseconds from handing it in until its certificate was verified, by this machine.
    pub(crate) certified_after_ms: u64,
    pub(crate) reach: ReachView,
}

impl RevokedView {
    pub(crate) fn text(&self) -> String {
        let head = format!("{}, after {} ms", self.transaction.text(), self.certified_after_ms);
        match self.reach.nodes.is_empty() && self.reach.silent.is_empty() {
            true => head,
            false => format!("{head}\n{}", self.reach.text()),
        }
    }
}

/// Which nodes hold a block.
#[derive(Serialize)]
pub(crate) struct ReachView {
    height: u64,
    /// Whether all nodes hold it, as far as anybody says.
    complete: bool,
    nodes: Vec<NodeView>,
    /// Who was asked and did not answer.
    silent: Vec<SilentView>,
}

#[derive(Serialize)]
struct NodeView {
    node: u64,
    spiffe_id: String,
    /// `held`: it says so itself; `voted`: another node has seen its vote; `not_yet`; `unknown`.
    seen: &'static str,
    /// By the node's clock; null if it was not asked, or has forgotten.
    since: Option<String>,
    /// From the time of the block, by the clocks of two nodes.
    took_ms: Option<u64>,
}

#[derive(Serialize)]
struct SilentView {
    address: String,
    why: String,
}

impl ReachView {
    fn new(reach: &Reach) -> Self {
        let silent = reach.silent.iter();
        let silent = silent.map(|(address, why)| SilentView { address: address.clone(), why: why.clone() });
        Self {
            height: reach.height.0,
            complete: reach.is_complete(),
            nodes: reach.nodes.iter().map(NodeView::new).collect(),
            silent: silent.collect(),
        }
    }

    fn text(&self) -> String {
        let rows = self.nodes.iter().map(|node| {
            let took = node.took_ms.map_or_else(String::new, |ms| format!("{ms} ms"));
            let since = node.since.clone().unwrap_or_default();
            vec![escaped(&node.spiffe_id), node.words().to_owned(), took, since]
        });
        let mut lines = vec![table(&["NODE", "HOLDS IT", "AFTER", "SINCE (ITS CLOCK)"], rows).trim_end().to_owned()];
        let silent = self.silent.iter();
        lines.extend(silent.map(|s| format!("no answer from {}: {}", escaped(&s.address), escaped(&s.why))));
        lines.push(match self.complete {
            true => "all nodes hold it, as they say".to_owned(),
            false => "NOT every node is known to hold it yet: `consent reach` asks again".to_owned(),
        });
        lines.join("\n")
    }
}

impl NodeView {
    fn new(node: &NodeReach) -> Self {
        let (seen, since) = match node.seen {
            Seen::Held(_, since) => ("held", since),
            Seen::Voted => ("voted", None),
            Seen::NotYet => ("not_yet", None),
            Seen::Unknown => ("unknown", None),
        };
        Self {
            node: node.node.0,
            spiffe_id: node.spiffe_id.clone(),
            seen,
            since: since.map(|since| time_ms(since.0)),
            took_ms: node.seen.took_ms(),
        }
    }

    fn words(&self) -> &'static str {
        match self.seen {
            "held" => "yes, it says",
            "voted" => "yes, it has voted",
            "not_yet" => "not yet",
            _ => "not known",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use consilium_proto::ids::{NodeId, TimeMs};

    use super::*;

    fn reach() -> Reach {
        let node = |id: u64, seen| NodeReach {
            node: NodeId(id),
            spiffe_id: format!("spiffe://m{id}.example/node/n1"),
            address: format!("m{id}.example:7001"),
            seen,
        };
        let held = Seen::Held(TimeMs(1_000), Some(TimeMs(1_040)));
        let nodes = vec![node(1, held), node(2, Seen::Voted), node(3, Seen::Unknown)];
        Reach { height: Height(12), nodes, silent: vec![("m3.example:7001".into(), "no answer in time".into())] }
    }

    pub(crate) fn view() -> ReachView {
        ReachView::new(&reach())
    }

    #[test]
    fn nodes_that_hold_it_and_those_that_do_not_answer_are_named() {
        let text = ReachView::new(&reach()).text();
        for expected in
            ["m1.example/node/n1", "40 ms", "yes, it has voted", "not known", "no answer from m3.example:7001"]
        {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(text.ends_with("`consent reach` asks again"), "{text}");
    }
}
