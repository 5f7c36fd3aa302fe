//! Streams of answers on their way to their readers. What a stream tells is read a little at a time,
//! once its reader has taken what came before: a reader that takes nothing holds a place and a little
//! memory, and no thread and no snapshot. A stream ends at once when its caller loses its standing,
//! whether its reader takes anything or not.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use consilium_proto::ids::Height;
use consilium_proto::pb;
use consilium_proto::vote::CertifiedHeader;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::blocks::Shown;
use super::errors::Reason;
use super::{Api, Caller};
use crate::contained::{self, Items};
use crate::storage::StorageError;

/// Answers of a stream that wait for its reader, beside those that were read with the last of them.
const WAITING_MAX: usize = 4;
/// Blocks that are read from one snapshot.
const BLOCKS_AT_ONCE: usize = 16;
/// Bytes of blocks after which no further one is read with them.
const BYTES_AT_ONCE: usize = 256 * 1024;
/// For a height that another node has certified already; the client asks that one then.
const BEHIND_PATIENCE: Duration = Duration::from_secs(5);
/// Where the answers of a stream go, for as long as somebody may read them.
pub(super) struct Outlet<T> {
    items: Items<T>,
    caller: Caller,
}

impl<T: Send + 'static> Outlet<T> {
    /// Lets a task of its own make the answers of a stream, of which the receiving end is returned.
    pub(super) fn open<F>(caller: Caller, work: impl FnOnce(Self) -> F) -> ReceiverStream<Result<T, Status>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        contained::feed(sender, |items| work(Self { items, caller }));
        ReceiverStream::new(receiver)
    }

    /// Waits until the reader has taken what it was sent; whether there is somebody to tell more.
    pub(super) async fn ready(&self) -> bool {
        tokio::select! {
            biased;
            () = self.caller.info.cut() => self.fallen(),
            room = self.items.reserve() => room.is_ok(),
        }
    }

    /// Tells something; whether to go on. An error is the last thing that is told.
    pub(super) async fn tell(&self, item: Result<T, Status>) -> bool {
        let last = item.is_err();
        tokio::select! {
            biased;
            () = self.caller.info.cut() => self.fallen(),
            sent = self.items.send(item) => sent.is_ok() && !last,
        }
    }

    /// Waits for something; `None` if the stream ends before.
    pub(super) async fn wait<W>(&self, something: impl Future<Output = W>) -> Option<W> {
        tokio::select! {
            something = something => Some(something),
            () = self.caller.info.cut() => {
                self.fallen();
                None
            }
            () = self.items.closed() => None,
        }
    }

    /// Says so if there is room; whoever takes nothing is told by the end of its connection.
    fn fallen(&self) -> bool {
        let _ = self.items.try_send(Err(Caller::fallen()));
        false
    }
}

/// Tells of certified blocks by height.
pub(super) async fn list(api: Api, shown: Shown, heights: RangeInclusive<u64>, outlet: Outlet<pb::ListBlocksResponse>) {
    let (mut next, last) = (*heights.start(), *heights.end());
    while next <= last && outlet.ready().await {
        let view = shown.clone();
        let read = api
            .read(move |ledger| some(next..=last, |height| view.listed(ledger, height).map(|block| (height, block))));
        let Some(reached) = tell_all(read.await, &outlet, |(_, block)| block).await else { return };
        next = reached.next().0;
    }
}

/// Tells of certified blocks as they come, until the reader, the node or the caller's standing ends.
pub(super) async fn watch(api: Api, shown: Shown, after: Height, outlet: Outlet<pb::WatchResponse>) {
    match outlet.wait(wait_until_here(&api, after)).await {
        Some(Ok(())) => {}
        Some(Err(behind)) => {
            outlet.tell(Err(behind)).await;
            return;
        }
        None => return,
    }
    let mut next = after.next();
    let mut certified = api.published.watch_certified();
    loop {
        let reached =
            certified.wait_for(|c: &Option<Arc<CertifiedHeader>>| c.as_ref().is_some_and(|c| c.header.height >= next));
        let Some(Ok(last)) = outlet.wait(async { reached.await.map(|head| height_of(head.as_ref())) }).await else {
            return;
        };
        while next <= last && outlet.ready().await {
            let view = shown.clone();
            let read = api.read(move |ledger| {
                some(next.0..=last.0, |height| view.block(ledger, height).map(|block| (height, block)))
            });
            let item = |(height, block): (Height, _)| pb::WatchResponse { block: Some(block), cursor: height.0 };
            let Some(reached) = tell_all(read.await, &outlet, item).await else { return };
            next = reached.next();
        }
    }
}

/// A height that is not here is one that another node has told, or one that is not there at all:
/// waits a while for it.
async fn wait_until_here(api: &Api, height: Height) -> Result<(), Status> {
    let mut certified = api.published.watch_certified();
    let is_here = |c: &Option<Arc<CertifiedHeader>>| height_of(c.as_ref()) >= height;
    match tokio::time::timeout(BEHIND_PATIENCE, certified.wait_for(is_here)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Reason::Behind.status("this node is stopping")),
        Err(_) => Err(Reason::Behind.status(format!(
            "height {height} is ahead of this node, which is at {}",
            api.published.certified_height()
        ))),
    }
}

fn height_of(certified: Option<&Arc<CertifiedHeader>>) -> Height {
    certified.map_or(Height::GENESIS, |c| c.header.height)
}

/// Some of the blocks at heights, from the first on: at least one, and no more than a reader that
/// takes nothing may have wait for it.
fn some<T: Message>(
    heights: RangeInclusive<u64>,
    read: impl Fn(Height) -> Result<(Height, T), StorageError>,
) -> Result<Vec<(Height, T)>, StorageError> {
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    for height in heights.take(BLOCKS_AT_ONCE) {
        let block = read(Height(height))?;
        bytes += block.1.encoded_len();
        blocks.push(block);
        if bytes >= BYTES_AT_ONCE {
            break;
        }
    }
    Ok(blocks)
}

/// Tells what was read; up to which height, or `None` if nothing more is to be told.
async fn tell_all<B, T: Send + 'static>(
    read: Result<Vec<(Height, B)>, Status>,
    outlet: &Outlet<T>,
    item: impl Fn((Height, B)) -> T,
) -> Option<Height> {
    let blocks = match read {
        Ok(blocks) => blocks,
        Err(status) => {
            outlet.tell(Err(status)).await;
            return None;
        }
    };
    let mut reached = None;
    for block in blocks {
        let height = block.0;
        if !outlet.tell(Ok(item(block))).await {
            return None;
        }
        reached = Some(height);
    }
    reached
}

#[cfg(test)]
mod tests;
