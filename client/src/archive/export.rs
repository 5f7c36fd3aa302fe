//! Writing an archive from the network: all certified blocks, each verified
//! before it is written, so that what is on the disk is what was checked.

use std::io::Write;
use std::time::Duration;

use consilium_proto::error::FieldError;
use consilium_proto::genesis::ledger_id;
use consilium_proto::ids::Height;
use consilium_proto::light_client::SetChange;
use consilium_proto::limits::ARCHIVE_FORMAT;
use consilium_proto::pb;
use consilium_proto::vote::CertifiedHeader;
use pb::archive_entry::Entry;

use super::format::{ArchiveError, ArchiveWriter};
use super::report::Report;
use super::verify::{Options, Verifier};
use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;
use crate::transport::ledger_service;

/// Streams that break while nothing at all arrives, before an export gives up.
const FRUITLESS_STREAMS_MAX: u32 = 10;
/// Before a stream that broke, or a node that is behind, is asked again.
const STREAM_PAUSE: Duration = Duration::from_millis(300);

/// Why there is no archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The nodes did not give what is needed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The archive cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Transactions were withheld: an archive is whole or none.
    #[error(
        "an archive holds all transactions, and those of patients are shown to auditors and nodes only: export as an auditor (height {0})"
    )]
    Withheld(Height),
    /// No node sends a block that is certified.
    #[error("no node sends the block at height {0}")]
    NoBlock(Height),
}

impl From<FieldError> for ExportError {
    fn from(error: FieldError) -> Self {
        Self::Client(error.into())
    }
}

/// Writes all certified blocks. `progress` is told the blocks written so far
/// and how many there are. If the report names a failure, the output is not an
/// archive.
///
/// # Errors
/// [`ExportError`].
pub async fn export<W: Write>(
    client: &Client,
    output: W,
    mut progress: impl FnMut(u64, u64),
) -> Result<(Report, W), ExportError> {
    let head = client.certified_head().await?;
    let document = genesis_document(client).await?;
    let mut writer = ArchiveWriter::new(output, document.clone())?;
    let mut verifier = Verifier::new(client.genesis(), Options::default())?;
    verifier.entry(&Entry::Header(pb::ArchiveHeader { format_version: ARCHIVE_FORMAT, genesis: Some(document) }));
    let (mut next, last) = (0, head.header.height.0);
    let mut fruitless = 0;
    while next <= last {
        let before = next;
        let mut blocks = list_blocks(client, next, last).await?;
        // A broken stream is continued from where it broke.
        while let Ok(Some(answer)) = blocks.answer.message().await {
            let answered = blocks.part(answer.clone());
            if withholds(&answer) {
                return Err(ExportError::Withheld(Height(next)));
            }
            let entry = client.judged(&answered, entry(client, answer, next, &head).await)?;
            if !verifier.entry(&Entry::Block(entry.clone())) {
                let report = verifier.finish();
                let why = report.failure.as_ref().map_or(String::new(), ToString::to_string);
                // The report says so, too.
                let _ = client.judged(&answered, Err::<(), _>(ClientError::contradiction(why)));
                return Ok((report, writer.finish()?));
            }
            writer.block(entry)?;
            next += 1;
            progress(next, last + 1);
        }
        if next <= last {
            tokio::time::sleep(STREAM_PAUSE).await;
        }
        fruitless = if next == before { fruitless + 1 } else { 0 };
        if fruitless == FRUITLESS_STREAMS_MAX {
            return Err(ExportError::NoBlock(Height(next)));
        }
    }
    verifier.entry(&Entry::End(pb::ArchiveEnd { height: last, rows: 0 }));
    Ok((verifier.finish(), writer.finish()?))
}

fn withholds(answer: &pb::ListBlocksResponse) -> bool {
    let transactions = answer.block.iter().flat_map(|block| &block.transactions);
    transactions.into_iter().any(|executed| executed.transaction.is_none() && executed.withheld.is_some())
}

/// What the archive holds of a block.
async fn entry(
    client: &Client,
    answer: pb::ListBlocksResponse,
    height: u64,
    head: &CertifiedHeader,
) -> Result<pb::ArchiveBlock, ClientError> {
    // In an archive a certificate is over its own block, not over a later one.
    let certificate = answer.certificate.filter(|c| c.height == height);
    let mut entry = pb::ArchiveBlock { block: answer.block, certificate, ..Default::default() };
    if height == head.header.height.0 {
        // The head's own certificate covers everything.
        entry.certificate = Some((&head.certificate).into());
    }
    if let Some(change) = followed_change(client, entry.block.as_ref(), height).await? {
        entry.certificate = Some((&change.boundary.certificate).into());
        entry.next_validators = Some((&change.next).into());
    }
    Ok(entry)
}

/// The change of the validators at a block that says that they change.
async fn followed_change(
    client: &Client,
    block: Option<&pb::Block>,
    height: u64,
) -> Result<Option<SetChange>, ClientError> {
    let Some(header) = block.and_then(|block| block.header.as_ref()) else { return Ok(None) };
    if header.next_validators_hash == header.validators_hash {
        return Ok(None);
    }
    let unknown = || ClientError::contradiction(format!("no node shows the validators after height {height}"));
    client.change_at(Height(height)).await?.ok_or_else(unknown).map(Some)
}

/// Asks for blocks; the stream may end early.
async fn list_blocks(
    client: &Client,
    from_height: u64,
    to_height: u64,
) -> Result<Answered<pb::ListBlocksRequest, tonic::Streaming<pb::ListBlocksResponse>>, ClientError> {
    let request = pb::ListBlocksRequest { from_height, to_height, headers_only: false };
    let ask = |channel, request| async move { ledger_service(channel).list_blocks(request).await };
    client.ask("ListBlocks", request, ask).await
}

async fn genesis_document(client: &Client) -> Result<pb::GenesisDocument, ClientError> {
    let ask = |channel, request| async move { ledger_service(channel).get_genesis(request).await };
    let answered = client.ask("GetGenesis", pb::GetGenesisRequest {}, ask).await?;
    let document = answered.answer.genesis.clone();
    let is_own = |document: &pb::GenesisDocument| ledger_id(&document.body) == client.genesis().ledger_id;
    let other = || ClientError::contradiction("the node's genesis document is of another ledger");
    client.judged(&answered, document.filter(is_own).ok_or_else(other))
}
