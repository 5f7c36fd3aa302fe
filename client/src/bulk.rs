//! Many transactions at once, each with a definite answer.

use consilium_proto::pb;
use futures::stream::{self, Stream, StreamExt};

use crate::client::Client;
use crate::error::ClientError;
use crate::submit::Submitted;

/// Transactions under way at once.
const IN_FLIGHT_MAX: usize = 256;

/// Answer to the transaction at a position of the input.
pub type BulkAnswer = (usize, Result<Submitted, ClientError>);

impl Client {
    /// Submits all, many at once, and yields answers as they are known, in any order, exactly one for
    /// each: as [`Client::submit`] gives them.
    pub fn submit_all(&self, txs: Vec<pb::SignedTransaction>, wait: pb::WaitFor) -> impl Stream<Item = BulkAnswer> {
        let client = self.clone();
        let submitted = stream::iter(txs.into_iter().enumerate()).map(move |(position, tx)| {
            let client = client.clone();
            async move { (position, client.submit(tx, wait).await) }
        });
        submitted.buffer_unordered(IN_FLIGHT_MAX)
    }
}
