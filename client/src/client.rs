//! The shared handle: an identity, a ledger, and its nodes.
//!
//! Every call goes to the node that answered last and moves on to the next one
//! when that node cannot answer; see [`crate::retry`].

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use consilium_proto::genesis::{GENESIS_BYTES_MAX, Genesis};
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::receipt::Receipt;
use consilium_proto::transaction::{self, Transaction};
use consilium_proto::{error::fixed, pb};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::error::ClientError;
use crate::files;
use crate::identity::Identity;
use crate::light_client::Followed;
use crate::profile::Profile;
use crate::retry::{Failure, RetryPolicy, retry};
use crate::transport::{Dialer, ledger_service};
use crate::trust::{self, Trust};

/// How long a new transaction stays valid, milliseconds.
pub const VALIDITY_MS: u64 = 10 * 60 * 1000;

/// A client of one ledger. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

pub(crate) struct Inner {
    genesis: Genesis,
    /// Followed from the genesis; see [`crate::light_client`].
    pub(crate) validators: Followed,
    identity: Identity,
    dialer: Dialer,
    nodes: Vec<Node>,
    /// Index of the node that is asked first.
    preferred: AtomicUsize,
    policy: RetryPolicy,
    /// Proven identities and when they were; see [`crate::proven`].
    pub(crate) identities: Mutex<BTreeMap<String, (Instant, pb::GetIdentityResponse)>>,
}

struct Node {
    address: Arc<str>,
    channel: Channel,
}

/// A transaction whose fate is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its id.
    pub transaction_id: TransactionId,
    /// Its block.
    pub height: Height,
    /// What the rules said.
    pub outcome: pb::Outcome,
    /// Verified. Absent when ORDERED was waited for. To be kept, it needs
    /// [`Client::self_contained`].
    pub receipt: Option<Receipt>,
}

impl Submitted {
    /// Itself, if the transaction took effect.
    ///
    /// # Errors
    /// [`ClientError::Rejected`].
    pub fn into_applied(self) -> Result<Self, ClientError> {
        match self.outcome {
            pb::Outcome::Applied => Ok(self),
            outcome => Err(ClientError::Rejected { outcome, transaction_id: self.transaction_id, height: self.height }),
        }
    }
}

impl Client {
    /// Loads genesis, identity and keys of a profile. Connections are made
    /// when they are first needed, so that a network which is partly down
    /// does not keep a client from starting.
    ///
    /// # Errors
    /// What is wrong with the profile or a file that it names.
    pub async fn connect(profile: Profile) -> Result<Self, ClientError> {
        Self::connect_with(profile, RetryPolicy::default()).await
    }

    /// The same with another retry policy.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_with(profile: Profile, policy: RetryPolicy) -> Result<Self, ClientError> {
        let genesis_path = profile.genesis.as_deref().ok_or(ClientError::Setting { setting: "genesis" })?;
        let document = files::read(genesis_path, GENESIS_BYTES_MAX as u64)?;
        let genesis = Genesis::parse(&document).map_err(|e| ClientError::file(genesis_path, e))?;
        let identity = Identity::load(&profile)?;
        let trust = profile.trust.as_deref().map(|path| Trust::load(path, genesis.ledger_id)).transpose()?;
        let dialer = Dialer::new(&genesis, trust.as_ref(), &identity)?;
        let own = identity.spiffe_id().member().as_str();
        let endpoints = match profile.endpoints.is_empty() {
            true => trust::endpoints(&genesis, trust.as_ref(), own),
            false => profile.endpoints,
        };
        let nodes = endpoints
            .into_iter()
            .map(|address| Ok(Node { channel: dialer.channel(&address)?, address: address.into() }))
            .collect::<Result<Vec<_>, ClientError>>()?;
        Ok(Self(Arc::new(Inner {
            validators: Followed::new(&genesis)?,
            genesis,
            identity,
            dialer,
            nodes,
            preferred: AtomicUsize::new(0),
            policy,
            identities: Mutex::new(BTreeMap::new()),
        })))
    }

    /// The ledger's genesis.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.0.genesis
    }

    /// Who this client is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// host:port of the nodes, in the order in which they are tried at first.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.0.nodes.iter().map(|node| node.address.as_ref())
    }

    /// A further connection of its own to one of the nodes.
    ///
    /// # Errors
    /// As [`Dialer::channel`].
    pub fn dial(&self, address: &str) -> Result<Channel, ClientError> {
        self.0.dialer.channel(address)
    }

    /// Signs a transaction that stays valid for [`VALIDITY_MS`], after the
    /// stateless checks that every node makes.
    ///
    /// # Errors
    /// A field that nodes would refuse, or a key that cannot sign.
    pub fn sign(
        &self,
        actions: Vec<pb::Action>,
        attachments: Vec<Bytes>,
    ) -> Result<pb::SignedTransaction, ClientError> {
        let identity = self.identity();
        let body = self.body(actions);
        let signed = transaction::sign(&body, identity.author(), identity.signing_key()?, attachments)?;
        Transaction::parse(&signed, self.genesis().ledger_id)?;
        Ok(signed)
    }

    /// A body with a fresh nonce, valid for [`VALIDITY_MS`] from now.
    pub(crate) fn body(&self, actions: Vec<pb::Action>) -> pb::TransactionBody {
        pb::TransactionBody {
            ledger_id: self.genesis().ledger_id.to_bytes(),
            nonce: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
            valid_until_ms: now_ms() + VALIDITY_MS,
            actions,
        }
    }

    /// Submits until the transaction's fate is known. A CERTIFIED answer comes
    /// with a receipt, verified here; an ORDERED one is the node's word.
    ///
    /// # Errors
    /// A final refusal of the node, [`ClientError::GaveUp`] (submitting the
    /// same transaction again is safe), or an answer that proves nothing. A
    /// transaction that the rules refuse is no error here; see
    /// [`Submitted::into_applied`].
    pub async fn submit(&self, tx: pb::SignedTransaction, wait: pb::WaitFor) -> Result<Submitted, ClientError> {
        let id = transaction::transaction_id(&tx.body);
        let request = pb::SubmitRequest { transaction: Some(tx), wait_for: wait.into(), omit_receipt: false };
        let answer = self
            .call(|channel, left| {
                let mut request = Request::new(request.clone());
                request.set_timeout(left);
                async move { ledger_service(channel).submit(request).await }
            })
            .await?;
        self.check_submitted(id, &answer, wait).await
    }

    async fn check_submitted(
        &self,
        id: TransactionId,
        answer: &pb::SubmitResponse,
        wait: pb::WaitFor,
    ) -> Result<Submitted, ClientError> {
        if fixed::<32>("transaction_id", &answer.transaction_id)? != *id.as_bytes() {
            return Err(ClientError::contradiction("the answer is about another transaction"));
        }
        let receipt = match &answer.receipt {
            Some(receipt) => Some(self.verified_receipt(receipt, id).await?),
            None => None,
        };
        let submitted = Submitted {
            transaction_id: id,
            height: Height(answer.height),
            outcome: outcome_from(answer.outcome)?,
            receipt,
        };
        if let Some(receipt) = &submitted.receipt
            && (receipt.leaf.height, receipt.leaf.outcome) != (submitted.height, submitted.outcome)
        {
            return Err(ClientError::contradiction("the answer differs from its receipt"));
        }
        if wait != pb::WaitFor::Ordered && submitted.receipt.is_none() {
            return Err(ClientError::contradiction("a certified answer has no receipt"));
        }
        Ok(submitted)
    }

    /// Parses a receipt and verifies it under the validators of its head.
    pub(crate) async fn verified_receipt(&self, m: &pb::Receipt, id: TransactionId) -> Result<Receipt, ClientError> {
        let receipt = Receipt::try_from(m)?;
        self.check_ledger(&receipt.head.header)?;
        self.follow_to(&receipt.head.header).await?;
        self.0.validators.verify_receipt(&receipt, self.genesis().ledger_id)?;
        if receipt.leaf.transaction_id != id {
            return Err(ClientError::contradiction("the receipt is of another transaction"));
        }
        Ok(receipt)
    }

    /// Makes a unary call with retries at one node after the other.
    ///
    /// # Errors
    /// The node's final answer, or [`ClientError::GaveUp`].
    pub async fn read<T, F, Fut>(&self, f: F) -> Result<T, ClientError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(|channel, _left| f(channel)).await
    }

    /// As [`Self::read`], telling the call how long it has.
    pub(crate) async fn call<T, F, Fut>(&self, f: F) -> Result<T, ClientError>
    where
        F: Fn(Channel, Duration) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        retry(&self.0.policy, |_number, left| {
            let index = self.0.preferred.load(Ordering::Relaxed);
            let node = &self.0.nodes[index % self.0.nodes.len()];
            let answer = f(node.channel.clone(), left);
            async move {
                let late = |_| Err(Status::deadline_exceeded("no answer in time"));
                let result = tokio::time::timeout(left, answer).await.unwrap_or_else(late);
                result.map(Response::into_inner).map_err(|status| {
                    self.0.leave(index);
                    Failure { endpoint: Arc::clone(&node.address), status }
                })
            }
        })
        .await
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn policy(&self) -> &RetryPolicy {
        &self.0.policy
    }
}

impl Inner {
    /// Asks another node first from now on.
    pub(crate) fn prefer_another(&self) {
        self.leave(self.preferred.load(Ordering::Relaxed));
    }

    fn leave(&self, index: usize) {
        // A lost race only means that another call moved on already.
        let _ = self.preferred.compare_exchange(index, index.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({} on ledger {})", self.identity().spiffe_id(), self.genesis().ledger_id)
    }
}

/// Milliseconds since 1970, by this machine's clock.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn outcome_from(code: i32) -> Result<pb::Outcome, ClientError> {
    match pb::Outcome::try_from(code) {
        Ok(pb::Outcome::Unspecified) | Err(_) => Err(ClientError::contradiction("the answer has no known outcome")),
        Ok(outcome) => Ok(outcome),
    }
}
