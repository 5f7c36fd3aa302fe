//! Following the ledger, block by block, without trusting the node that sends
//! it. A block is handed out only once a quorum's certificate covers it; with
//! transactions, and from the first block on, its contents are checked against
//! the ledger's tree, too. A broken connection is resumed at the cursor, so
//! that every block comes exactly once and in order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use consilium_proto::error::{FieldError, fixed};
use consilium_proto::header::{Header, Leaf};
use consilium_proto::ids::{HeaderHash, Height, LedgerId};
use consilium_proto::merkle::Frontier;
use consilium_proto::vote::BlockCertificate;
use consilium_proto::{pb, transaction};
use futures::Stream;
use tonic::Streaming;

use crate::client::Client;
use crate::error::ClientError;
use crate::proven::check_link;
use crate::submit::outcome_from;
use crate::transport::ledger_service;

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
    /// The block as sent.
    pub block: pb::Block,
    /// Whether the transactions are proven to be those of the header.
    pub contents_proven: bool,
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
    /// The ledger's tree at the cursor, if followed from the start.
    tree: Option<Frontier>,
    stream: Option<Box<Streaming<pb::WatchResponse>>>,
    /// Since when nothing works, and how often it was tried.
    trouble: Option<(Instant, u32)>,
}

/// What a message was.
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
        let from_start = after == Height::GENESIS && !headers_only;
        Watch {
            client: self.clone(),
            headers_only,
            cursor: after,
            tip: None,
            chain: Pending::default(),
            head: None,
            ready: VecDeque::new(),
            tree: from_start.then(|| genesis_tree(self.genesis().ledger_id)),
            stream: None,
            trouble: None,
        }
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
                Ok(Step::Block) => self.trouble = None,
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
        let message = self.receive().await?;
        let Some(block) = message.block else { return Ok(Step::Bookmark) };
        let header = block.header.as_ref().ok_or_else(|| FieldError::missing("block.header"))?;
        let header = Header::try_from(header)?;
        self.check_next(&header)?;
        let recorded = block.observed_certificate.as_ref().map(BlockCertificate::try_from).transpose()?;
        self.chain.0.push_back((header, block));
        if self.chain.0.len() >= PENDING_USE_RECORDED
            && let Some(certificate) = recorded
            && let Some((header, _)) = self.chain.at(certificate.height)
        {
            self.client.verify_certificate(header, &certificate).await?;
            self.settle(certificate.height, certificate.header_hash)?;
        }
        self.settle_by_head().await?;
        if self.chain.0.len() > PENDING_MAX {
            return Err(ClientError::contradiction("the node sends blocks without certificates"));
        }
        Ok(Step::Block)
    }

    async fn receive(&mut self) -> Result<pb::WatchResponse, ClientError> {
        if self.stream.is_none() {
            // Waiting blocks are kept: a connection that breaks often must still get ahead.
            let after = self.chain.0.back().map_or(self.cursor, |(header, _)| header.height);
            let request = pb::WatchRequest { after_height: after.0, headers_only: self.headers_only };
            let open = |channel| async move { ledger_service(channel).watch(request).await };
            self.stream = Some(Box::new(self.client.read(open).await?));
        }
        let ended = || ClientError::Transport { endpoint: "watch".into(), cause: "the node ended the stream".into() };
        let stream = self.stream.as_mut().ok_or_else(ended)?;
        match stream.message().await {
            Ok(Some(message)) => Ok(message),
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
            Some((height, hash)) if self.chain.at(height).is_some() => self.settle(height, hash),
            // The head is above: the blocks up to it are still on their way.
            Some(_) | None => Ok(()),
        }
    }

    /// Everything up to a certified header is final.
    fn settle(&mut self, height: Height, hash: HeaderHash) -> Result<(), ClientError> {
        if self.chain.at(height).is_none_or(|(header, _)| header.hash() != hash) {
            return Err(ClientError::contradiction(format!("the block at height {height} is not the certified one")));
        }
        while let Some((header, block)) = self.chain.0.pop_front_if(|(header, _)| header.height <= height) {
            let contents_proven = match &mut self.tree {
                Some(tree) => {
                    // On a copy: a wrong block must not spoil the tree for the right one.
                    let mut extended = tree.clone();
                    extend(&mut extended, &header, &block)?;
                    *tree = extended;
                    true
                }
                None => false,
            };
            self.tip = Some(header.clone());
            self.ready.push_back(Watched { header, block, contents_proven });
        }
        Ok(())
    }

    async fn after_failure(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retryable() {
            // Whoever lied, this node or the one before: nothing uncertified is kept.
            self.chain.0.clear();
            return Err(error);
        }
        let policy = self.client.policy();
        let (since, attempts) = self.trouble.unwrap_or((Instant::now(), 0));
        let attempts = attempts + 1;
        if since.elapsed() >= policy.overall {
            self.trouble = None;
            return Err(ClientError::GaveUp { attempts, last: Box::new(error) });
        }
        self.trouble = Some((since, attempts));
        tokio::time::sleep(crate::retry::backoff(policy, attempts)).await;
        Ok(())
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

fn genesis_tree(ledger: LedgerId) -> Frontier {
    let mut tree = Frontier::default();
    for leaf in Leaf::genesis(ledger) {
        tree.append(leaf.hash()).expect("two leaves fit into a tree");
    }
    tree
}

/// Appends a block's transactions and compares the tree with the header.
fn extend(tree: &mut Frontier, header: &Header, block: &pb::Block) -> Result<(), ClientError> {
    let wrong = || {
        ClientError::contradiction(format!("the transactions at height {} are not those of its header", header.height))
    };
    for executed in &block.transactions {
        let tx = executed.transaction.as_ref().ok_or_else(|| FieldError::missing("block.transactions.transaction"))?;
        let leaf = Leaf {
            transaction_id: transaction::transaction_id(tx)?,
            height: header.height,
            outcome: outcome_from(executed.outcome)?,
            signature_hash: transaction::signature_hash(&fixed("transaction.signature", &tx.signature)?),
        };
        tree.append(leaf.hash()).map_err(|_| wrong())?;
    }
    if tree.size() == header.tree_size && tree.root() == header.tree_root { Ok(()) } else { Err(wrong()) }
}
