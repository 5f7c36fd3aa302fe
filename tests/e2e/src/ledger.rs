//! The ledger as one node serves it, row by row, for comparisons.

use std::collections::BTreeSet;

use anyhow::Context;
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_proto::error::fixed;
use consilium_proto::header::Header;
use consilium_proto::ids::TransactionId;
use consilium_proto::pb;
use consilium_proto::transaction::transaction_id;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::TestResult;
use crate::load::Ack;
use crate::network::Network;
use crate::user::User;

const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A transaction on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Its block.
    pub height: u64,
    /// Its id, hashed from its body here where that is shown.
    pub id: TransactionId,
    /// What the rules said.
    pub outcome: pb::Outcome,
}

/// All transactions up to the newest certified block, in ledger order. Checks
/// that heights are complete and each header names the one before.
///
/// # Errors
/// If the node does not answer, or serves a broken chain.
pub async fn ledger_at(channel: Channel) -> anyhow::Result<Vec<Row>> {
    let request = pb::ListBlocksRequest { from_height: 0, to_height: 0, headers_only: false };
    let mut service = LedgerServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut blocks = service.list_blocks(request).await?.into_inner();
    let (mut rows, mut parent) = (Vec::new(), None::<Header>);
    while let Some(answer) = blocks.message().await? {
        let block = answer.block.context("an answer without a block")?;
        let header = Header::try_from(block.header.as_ref().context("a block without a header")?)?;
        if let Some(parent) = &parent {
            anyhow::ensure!(header.previous_hash == parent.hash(), "block {} has another parent", header.height);
            anyhow::ensure!(header.height == parent.height.next(), "a gap before block {}", header.height);
        }
        for executed in &block.transactions {
            rows.push(Row { height: header.height.0, id: id_of(executed)?, outcome: executed.outcome() });
        }
        parent = Some(header);
    }
    anyhow::ensure!(parent.is_some(), "no blocks at all");
    Ok(rows)
}

/// The id of a transaction, or what a node says of one that it withholds.
fn id_of(executed: &pb::ExecutedTransaction) -> anyhow::Result<TransactionId> {
    match (&executed.transaction, &executed.withheld) {
        (Some(transaction), None) => Ok(transaction_id(transaction)?),
        (None, Some(withheld)) => Ok(TransactionId::from_bytes(fixed("transaction_id", &withheld.transaction_id)?)),
        _ => anyhow::bail!("an entry is a transaction or one that is withheld"),
    }
}

/// Every acknowledged transaction is on every running node, at the height that
/// was acknowledged; no transaction is on the ledger twice; and all nodes serve
/// the same ledger.
///
/// # Errors
/// If it is not so, or the nodes do not agree in time.
pub async fn nothing_lost(network: &Network, user: &User, acks: &[Ack]) -> TestResult {
    nothing_lost_among(network, &network.running(), user, acks).await
}

/// The same for some nodes.
///
/// # Errors
/// As [`nothing_lost`].
pub async fn nothing_lost_among(network: &Network, nodes: &[usize], user: &User, acks: &[Ack]) -> TestResult {
    let highest = acks.iter().map(|ack| ack.height).max().unwrap_or(0);
    let (height, _) = network.agreed_among(nodes, highest).await?;
    let mut ledgers: Vec<(usize, Vec<Row>)> = Vec::new();
    for &node in nodes {
        let mut rows = ledger_at(user.channel(&network.nodes[node])?).await?;
        rows.retain(|row| row.height <= height);
        let known: BTreeSet<&Row> = rows.iter().collect();
        let ids: BTreeSet<TransactionId> = rows.iter().map(|row| row.id).collect();
        anyhow::ensure!(ids.len() == rows.len(), "node {node}: a transaction is on the ledger twice");
        for ack in acks {
            let row = Row { height: ack.height, id: ack.id, outcome: pb::Outcome::Applied };
            anyhow::ensure!(known.contains(&row), "node {node} lost {row:?}");
        }
        ledgers.push((node, rows));
    }
    for pair in ledgers.windows(2) {
        let [(a, rows), (b, others)] = pair else { continue };
        anyhow::ensure!(rows == others, "nodes {a} and {b} serve different ledgers");
    }
    Ok(())
}

/// All certified headers of a node, from the genesis on.
///
/// # Errors
/// If the node does not answer.
pub async fn headers_at(channel: Channel) -> anyhow::Result<Vec<Header>> {
    let request = pb::ListBlocksRequest { from_height: 0, to_height: 0, headers_only: true };
    let mut service = LedgerServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let (mut blocks, mut headers) = (service.list_blocks(request).await?.into_inner(), Vec::new());
    while let Some(answer) = blocks.message().await? {
        let block = answer.block.context("an answer without a block")?;
        headers.push(Header::try_from(block.header.as_ref().context("a block without a header")?)?);
    }
    Ok(headers)
}

/// The newest certified header of a node.
///
/// # Errors
/// If the node does not answer.
pub async fn head(channel: Channel) -> anyhow::Result<Header> {
    let answer = LedgerServiceClient::new(channel).get_head(pb::GetHeadRequest { read: None }).await?.into_inner();
    let head = answer.head.and_then(|h| h.header).context("an answer without a header")?;
    Ok(Header::try_from(&head)?)
}

/// Submits without the SDK: one attempt at one node, the status as it comes.
///
/// # Errors
/// The node's status.
pub async fn submit_raw(channel: Channel, tx: pb::SignedTransaction) -> Result<Response<pb::SubmitResponse>, Status> {
    let mut request = Request::new(pb::SubmitRequest {
        transaction: Some(tx),
        wait_for: pb::WaitFor::Certified.into(),
        omit_receipt: false,
    });
    request.set_timeout(std::time::Duration::from_secs(30));
    LedgerServiceClient::new(channel).max_encoding_message_size(ANSWER_BYTES_MAX).submit(request).await
}
