//! Following the ledger, block by block, without trusting the node that sends
//! it. A block is handed out only once a quorum's certificate covers it; with
//! transactions, and from the first block on, its contents are checked against
//! the ledger's tree, too. A broken connection is resumed at the cursor, so
//! that every block comes exactly once and in order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use consilium_proto::error::FieldError;
use consilium_proto::header::Header;
use consilium_proto::ids::{HeaderHash, Height};
use consilium_proto::pb;
use consilium_proto::vote::{BlockCertificate, CertifiedHeader};
use futures::Stream;
use tonic::Streaming;

use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;
use crate::proven::check_link;
use crate::retry::Trouble;
use crate::transport::ledger_service;

use self::contents::Tree;

mod contents;

/// Blocks that may wait for a certificate. Leaders record certificates in
/// blocks as they go, so that many without one are a node's fault.
const PENDING_MAX: usize = 1_024;
/// Waiting blocks from which on recorded certificates are used.
const PENDING_USE_RECORDED: usize = 16;
const HEAD_POLL: Duration = Duration::from_millis(50);

/// A block that is final.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// Its header.
    pub header: Header,
    /// Its transactions.
    pub contents: Contents,
}

/// The transactions of a block that is final, without attachments.
#[derive(Debug, Clone, PartialEq)]
pub enum Contents {
    /// Not asked for.
    LeftOut,
    /// Those that the header commits to. Of those that tell of patients and are not for this
    /// identity only what their leaves hold (`withheld`).
    Proven(Vec<pb::ExecutedTransaction>),
}

/// Follows the ledger; see [`Client::watch`].
pub struct Watch {
    client: Client,
    headers_only: bool,
    /// Height of the last block handed out.
    cursor: Height,
    tip: Option<Header>,
    chain: Pending,
    /// Newest certified head seen.
    head: Option<(Height, HeaderHash)>,
    ready: VecDeque<Watched>,
    tree: Tree,
    stream: Option<Box<Answered<pb::WatchRequest, Streaming<pb::WatchResponse>>>>,
    trouble: Trouble,
}

/// What a step brought.
enum Step {
    Block,
    Bookmark,
}

#[derive(Default)]
struct Pending(VecDeque<(Header, pb::Block)>);

impl Client {
    /// Follows certified blocks after a height; 0 starts at the first block.
    /// With `headers_only` blocks come without transactions.
    #[must_use]
    pub fn watch(&self, after: Height, headers_only: bool) -> Watch {
        Watch {
            client: self.clone(),
            headers_only,
            cursor: after,
            tip: None,
            chain: Pending::default(),
            head: None,
            ready: VecDeque::new(),
            tree: if after == Height::GENESIS { Tree::genesis(self.genesis().ledger_id) } else { Tree::default() },
            stream: None,
            trouble: Trouble::default(),
        }
    }
}

impl Client {
    /// One block, final and with its transactions; none if nodes show no certificate for its
    /// height or a later one. That of height 0 comes with its header alone: it has no others.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub async fn block(&self, height: Height) -> Result<Option<Watched>, ClientError> {
        let head = self.certified_head().await?;
        if height > head.header.height {
            return Ok(None);
        }
        let mut watch = self.watch(Height(height.0.saturating_sub(1)), false);
        watch.head = Some((head.header.height, head.certificate.header_hash));
        if height > Height::GENESIS {
            return watch.next().await.map(Some);
        }
        let header = match head.header.height {
            Height::GENESIS => head.header,
            _ => self.parent_of(&watch.next().await?.header).await?,
        };
        Ok(Some(Watched { header, contents: Contents::Proven(Vec::new()) }))
    }

    /// The header that a final one names as the one before.
    async fn parent_of(&self, header: &Header) -> Result<Header, ClientError> {
        let height = header.height.0.saturating_sub(1);
        let request = pb::ListBlocksRequest { from_height: height, to_height: height, headers_only: true };
        let ask = |channel, request| async move { ledger_service(channel).list_blocks(request).await };
        let mut blocks = self.ask("ListBlocks", request, ask).await?;
        let first = blocks.answer.message().await.map_err(ClientError::from)?;
        let answered = blocks.part(first.unwrap_or_default());
        let told = answered.answer.block.as_ref().and_then(|block| block.header.as_ref());
        let parent = match told.map(Header::try_from) {
            Some(Ok(parent)) if parent.hash() == header.previous_hash => Ok(parent),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(_)) | None => {
                Err(ClientError::contradiction(format!("the node shows no header of height {height}")))
            }
        };
        self.judged(&answered, parent)
    }
}

impl Watch {
    /// Height of the last block handed out: where a later watch resumes.
    #[must_use]
    pub fn cursor(&self) -> Height {
        self.cursor
    }

    /// The next final block. Waits as long as it takes; reconnects by itself.
    ///
    /// # Errors
    /// A block or certificate that does not verify, a final refusal, or
    /// [`ClientError::GaveUp`] when no node answered for the retry policy's
    /// time. The watch may be asked again after an error.
    pub async fn next(&mut self) -> Result<Watched, ClientError> {
        loop {
            if let Some(block) = self.ready.pop_front() {
                self.cursor = block.header.height;
                return Ok(block);
            }
            match self.step().await {
                Ok(Step::Block) => self.trouble = Trouble::default(),
                Ok(Step::Bookmark) => {}
                Err(e) => {
                    self.stream = None;
                    self.after_failure(e).await?;
                }
            }
        }
    }

    /// The same as a stream, which ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Watched, ClientError>> {
        futures::stream::unfold(Some(self), |watch| async move {
            let mut watch = watch?;
            match watch.next().await {
                Ok(block) => Some((Ok(block), Some(watch))),
                Err(e) => Some((Err(e), None)),
            }
        })
    }

    /// Takes one message of the node and settles what it makes final.
    async fn step(&mut self) -> Result<Step, ClientError> {
        if self.stream.is_none() {
            // What had come before the trouble may be final, with nothing behind it.
            self.settle_by_head().await?;
            if !self.ready.is_empty() {
                return Ok(Step::Block);
            }
        }
        let answered = self.receive().await?;
        let step = self.take(answered.answer.block.clone()).await;
        self.client.judged(&answered, step)
    }

    async fn take(&mut self, block: Option<pb::Block>) -> Result<Step, ClientError> {
        let Some(block) = block else { return Ok(Step::Bookmark) };
        let header = block.header.as_ref().ok_or_else(|| FieldError::missing("block.header"))?;
        let header = Header::try_from(header)?;
        self.check_next(&header)?;
        let recorded = block.observed_certificate.as_ref().map(BlockCertificate::try_from).transpose()?;
        self.chain.0.push_back((header, block));
        if self.chain.0.len() >= PENDING_USE_RECORDED
            && let Some(certificate) = recorded
            && let Some((header, _)) = self.chain.at(certificate.height)
        {
            let (height, hash) = (certificate.height, certificate.header_hash);
            self.client.verify_header(&CertifiedHeader { header: header.clone(), certificate }).await?;
            self.settle(height, hash).await?;
        }
        self.settle_by_head().await?;
        if self.chain.0.len() > PENDING_MAX {
            return Err(ClientError::contradiction("the node sends blocks without certificates"));
        }
        Ok(Step::Block)
    }

    async fn receive(&mut self) -> Result<Answered<pb::WatchRequest, pb::WatchResponse>, ClientError> {
        if self.stream.is_none() {
            // Waiting blocks are kept: a connection that breaks often must still get ahead.
            let after = self.chain.0.back().map_or(self.cursor, |(header, _)| header.height);
            let request = pb::WatchRequest { after_height: after.0, headers_only: self.headers_only };
            let open = |channel, request| async move { ledger_service(channel).watch(request).await };
            self.stream = Some(Box::new(self.client.ask("Watch", request, open).await?));
        }
        let ended = || ClientError::Transport { endpoint: "watch".into(), cause: "the node ended the stream".into() };
        let stream = self.stream.as_mut().ok_or_else(ended)?;
        match stream.answer.message().await {
            Ok(Some(message)) => Ok(stream.part(message)),
            Ok(None) => Err(ended()),
            Err(status) => Err(crate::retry::Failure { endpoint: "watch".into(), status }.into()),
        }
    }

    fn check_next(&self, header: &Header) -> Result<(), ClientError> {
        self.client.check_ledger(header)?;
        match self.chain.0.back().map(|(header, _)| header).or(self.tip.as_ref()) {
            Some(tip) => check_link(tip, header),
            None if header.height == self.cursor.next() => Ok(()),
            None => Err(ClientError::contradiction("the node does not resume at the cursor")),
        }
    }

    /// Settles the newest blocks by the certified head.
    async fn settle_by_head(&mut self) -> Result<(), ClientError> {
        let Some(newest) = self.chain.0.back().map(|(header, _)| header.height) else { return Ok(()) };
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.head.is_none_or(|(height, _)| height < newest) {
            let head = self.client.certified_head().await?;
            self.head = Some((head.header.height, head.certificate.header_hash));
            if head.header.height < newest {
                if Instant::now() >= deadline {
                    return Err(ClientError::Transport {
                        endpoint: "watch".into(),
                        cause: format!("no node shows a certificate for height {newest}"),
                    });
                }
                tokio::time::sleep(HEAD_POLL).await;
            }
        }
        match self.head {
            Some((height, hash)) if self.chain.at(height).is_some() => self.settle(height, hash).await,
            // The head is above: the blocks up to it are still on their way.
            Some(_) | None => Ok(()),
        }
    }

    /// Everything up to a certified header is final.
    async fn settle(&mut self, height: Height, hash: HeaderHash) -> Result<(), ClientError> {
        if self.chain.at(height).is_none_or(|(header, _)| header.hash() != hash) {
            return Err(ClientError::contradiction(format!("the block at height {height} is not the certified one")));
        }
        while self.chain.0.front().is_some_and(|(header, _)| header.height <= height) {
            self.check_contents().await?;
            let Some((header, block)) = self.chain.0.pop_front() else { break };
            let contents = if self.headers_only { Contents::LeftOut } else { Contents::Proven(block.transactions) };
            self.tip = Some(header.clone());
            self.ready.push_back(Watched { header, contents });
        }
        Ok(())
    }

    /// Whether the first of the waiting blocks, which is final, has the transactions of its header.
    async fn check_contents(&mut self) -> Result<(), ClientError> {
        let Some((header, block)) = self.chain.0.front().filter(|_| !self.headers_only) else { return Ok(()) };
        if self.tip.is_none() && self.cursor > Height::GENESIS {
            self.tip = Some(self.client.parent_of(header).await?);
        }
        self.tree.take(&self.client, self.tip.as_ref(), (header, block)).await
    }

    async fn after_failure(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retryable() {
            // Whoever lied, this node or the one before: nothing uncertified is kept.
            self.chain.0.clear();
        }
        self.trouble.after(&self.client, error).await
    }
}

impl Pending {
    fn at(&self, height: Height) -> Option<&(Header, pb::Block)> {
        let first = self.0.front()?.0.height;
        let index = usize::try_from(height.0.checked_sub(first.0)?).ok()?;
        self.0.get(index)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watch(after {}, {} waiting)", self.cursor, self.chain.0.len())
    }
}
