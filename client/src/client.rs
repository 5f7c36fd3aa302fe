//! The shared handle: an identity, a ledger, and its nodes.
//!
//! Every call goes to the node that answered last and moves on to the next one
//! when that node cannot answer; see [`crate::retry`].

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use consilium_proto::genesis::{GENESIS_BYTES_MAX, Genesis};
use consilium_proto::header::Header;
use consilium_proto::ids::Fingerprint;
use consilium_proto::pb;
use consilium_proto::record::KnownSigner;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::error::ClientError;
use crate::files;
use crate::identity::Identity;
use crate::light_client::Followed;
use crate::profile::Profile;
use crate::retry::{Failure, RetryPolicy, retry};
use crate::transport::Dialer;
use crate::trust::{self, Trust};

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
    /// Proven signers; see [`crate::proven`].
    pub(crate) signers: Mutex<BTreeMap<Fingerprint, KnownSigner>>,
}

struct Node {
    address: Arc<str>,
    channel: Channel,
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
            signers: Mutex::new(BTreeMap::new()),
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

    pub(crate) fn check_ledger(&self, header: &Header) -> Result<(), ClientError> {
        if header.ledger_id == self.genesis().ledger_id {
            Ok(())
        } else {
            Err(ClientError::contradiction("the header is of another ledger"))
        }
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
