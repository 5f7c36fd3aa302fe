//! The shared handle: an identity, a ledger, and its nodes.
//!
//! Every call goes to the node that answered last and moves on to the next one
//! when that node cannot answer; see [`crate::retry`].

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use consilium_proto::genesis::{GENESIS_BYTES_MAX, Genesis};
use consilium_proto::header::Header;
use consilium_proto::ids::Fingerprint;
use consilium_proto::pb;
use consilium_proto::record::KnownSigner;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::age::HeadAge;
use crate::error::ClientError;
use crate::false_answer::FalseAnswer;
use crate::fhir::Home;
use crate::files;
use crate::identity::Identity;
use crate::inquiry::Inquirer;
use crate::light_client::Followed;
use crate::profile::Profile;
use crate::retry::{Failure, RetryPolicy, retry};
use crate::standing::{REFRESH_DEFAULT, Standings};
use crate::submit_lane::SubmitLane;
use crate::transport::{Connector, Dialer};
use crate::trust::{self, Trust};

/// A client of one ledger. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

/// What a client has in common with those that it asks with how members stand.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) genesis: Arc<Genesis>,
    /// Followed from the genesis; see [`crate::light_client`].
    pub(crate) validators: Arc<Followed>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) head_age: HeadAge,
    /// How long what was proven about a member is believed.
    pub(crate) refresh: Duration,
    /// See [`crate::false_answer`].
    pub(crate) false_answers: Arc<Mutex<Vec<FalseAnswer>>>,
    pub(crate) home: Arc<Home>,
}

pub(crate) struct Inner {
    shared: Shared,
    /// Followed from the genesis; see [`crate::light_client`].
    pub(crate) validators: Arc<Followed>,
    /// Absent in a client that only asks for proofs.
    dialer: Option<Dialer>,
    nodes: Vec<Node>,
    /// Index of the node that is asked first.
    preferred: AtomicUsize,
    policy: RetryPolicy,
    /// Proven identities and when they were; see [`crate::proven`].
    pub(crate) identities: Mutex<BTreeMap<String, (Instant, pb::GetIdentityResponse)>>,
    /// Proven signers; see [`crate::proven`].
    pub(crate) signers: Mutex<BTreeMap<Fingerprint, KnownSigner>>,
}

pub(crate) struct Node {
    address: Arc<str>,
    pub(crate) channel: Channel,
    /// Over the same connection.
    pub(crate) lane: SubmitLane,
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
        let endpoints = endpoints(&profile, &genesis, &identity)?;
        let own = identity.spiffe_id().member();
        let expected = profile.nodes_of.unwrap_or_default().expected(own);
        let home = Arc::new(Home::new(own.as_str(), profile.fhir_base));
        let connector = Arc::new(Connector::new(expected, identity.resolver()));
        let shared = Shared {
            validators: Arc::new(Followed::new(&genesis)?),
            genesis: Arc::new(genesis),
            identity: Arc::new(identity),
            head_age: profile.max_head_age.unwrap_or_default(),
            refresh: profile.refresh.unwrap_or(REFRESH_DEFAULT),
            false_answers: Arc::default(),
            home,
        };
        let inquirer = Inquirer::new(shared.clone(), Arc::clone(&connector), endpoints.clone(), policy);
        let dialer = Dialer::new(connector, Standings::new(inquirer));
        let nodes = Node::all(endpoints, |address| dialer.channel(address))?;
        Ok(Self::assemble(shared, Some(dialer), nodes, policy))
    }

    /// A client over connections that nothing vouches for. For
    /// [`crate::inquiry`] alone, which lets nobody else have it.
    pub(crate) fn for_proofs(
        shared: Shared,
        connector: &Connector,
        endpoints: impl IntoIterator<Item = Arc<str>>,
        policy: RetryPolicy,
    ) -> Result<Self, ClientError> {
        let nodes = Node::all(endpoints, |address| connector.channel_for_proofs(address))?;
        Ok(Self::assemble(shared, None, nodes, policy))
    }

    fn assemble(shared: Shared, dialer: Option<Dialer>, nodes: Vec<Node>, policy: RetryPolicy) -> Self {
        Self(Arc::new(Inner {
            validators: Arc::clone(&shared.validators),
            shared,
            dialer,
            nodes,
            preferred: AtomicUsize::new(0),
            policy,
            identities: Mutex::new(BTreeMap::new()),
            signers: Mutex::new(BTreeMap::new()),
        }))
    }

    /// The same, but that another node is asked first; `None` if it knows of no other.
    pub(crate) fn elsewhere(&self) -> Option<Self> {
        let Inner { shared, dialer, nodes, policy, preferred, .. } = &*self.0;
        if nodes.len() < 2 {
            return None;
        }
        let copy = |node: &Node| Node::new(Arc::clone(&node.address), node.channel.clone());
        let other = Self::assemble(shared.clone(), dialer.clone(), nodes.iter().map(copy).collect(), *policy);
        other.0.preferred.store(preferred.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        Some(other)
    }

    /// The ledger's genesis.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.0.shared.genesis
    }

    /// Who this client is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.shared.identity
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
        match &self.0.dialer {
            Some(dialer) => dialer.channel(address),
            None => Err(ClientError::Usage("this client only asks for proofs".into())),
        }
    }

    /// A single attempt at the node that is asked first.
    pub(crate) async fn once<T, F, Fut>(&self, f: F) -> Result<T, ClientError>
    where
        F: FnOnce(Channel) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let node = &self.0.nodes[self.0.preferred.load(Ordering::Relaxed) % self.0.nodes.len()];
        let late = |_| Err(Status::deadline_exceeded("no answer in time"));
        let answer = tokio::time::timeout(self.0.policy.attempt, f(node.channel.clone())).await.unwrap_or_else(late);
        let failed = |status| Failure { endpoint: Arc::clone(&node.address), status }.into();
        answer.map(Response::into_inner).map_err(failed)
    }

    /// Makes a unary call with retries at one node after the other.
    ///
    /// # Errors
    /// The node's final answer, the most telling one if each refuses, or [`ClientError::GaveUp`].
    pub async fn read<T, F, Fut>(&self, f: F) -> Result<T, ClientError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(|channel, _left| f(channel)).await
    }

    /// As [`Self::read`], with the address of the node that answered.
    pub(crate) async fn read_from<T, F, Fut>(&self, f: F) -> Result<(T, Arc<str>), ClientError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        self.call_from(|channel, _left| f(channel)).await
    }

    /// As [`Self::read`], telling the call how long it has.
    pub(crate) async fn call<T, F, Fut>(&self, f: F) -> Result<T, ClientError>
    where
        F: Fn(Channel, Duration) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        Ok(self.call_from(f).await?.0)
    }

    /// As [`Self::call`], with the address of the node that answered.
    pub(crate) async fn call_from<T, F, Fut>(&self, f: F) -> Result<(T, Arc<str>), ClientError>
    where
        F: Fn(Channel, Duration) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        self.call_node(|node, left| f(node.channel.clone(), left)).await
    }

    /// As [`Self::call_from`], with all that is known of the node.
    pub(crate) async fn call_node<T, F, Fut>(&self, f: F) -> Result<(T, Arc<str>), ClientError>
    where
        F: Fn(&Node, Duration) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        retry(&self.0.policy, self.0.nodes.len(), |_number, left| {
            let index = self.0.preferred.load(Ordering::Relaxed);
            let node = &self.0.nodes[index % self.0.nodes.len()];
            let answer = f(node, left);
            async move {
                let late = |_| Err(Status::deadline_exceeded("no answer in time"));
                let result = tokio::time::timeout(left, answer).await.unwrap_or_else(late);
                let answer = result.map_err(|status| {
                    self.0.leave(index);
                    Failure { endpoint: Arc::clone(&node.address), status }
                });
                answer.map(|answer| (answer.into_inner(), Arc::clone(&node.address)))
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

    pub(crate) fn head_age(&self) -> HeadAge {
        self.0.shared.head_age
    }

    /// Whose ids documents have that say nothing of it: the own member's and its servers'.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.0.shared.home
    }

    pub(crate) fn refresh(&self) -> Duration {
        self.0.refresh()
    }

    pub(crate) fn false_answers(&self) -> MutexGuard<'_, Vec<FalseAnswer>> {
        self.0.shared.false_answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn policy(&self) -> &RetryPolicy {
        &self.0.policy
    }
}

impl Node {
    fn all(
        endpoints: impl IntoIterator<Item = Arc<str>>,
        channel: impl Fn(&str) -> Result<Channel, ClientError>,
    ) -> Result<Vec<Self>, ClientError> {
        endpoints.into_iter().map(|address| Ok(Self::new(Arc::clone(&address), channel(&address)?))).collect()
    }

    fn new(address: Arc<str>, channel: Channel) -> Self {
        Self { address, lane: SubmitLane::new(channel.clone()), channel }
    }
}

/// Never none.
fn endpoints(profile: &Profile, genesis: &Genesis, identity: &Identity) -> Result<Vec<Arc<str>>, ClientError> {
    let trust = profile.trust.as_deref().map(|path| Trust::load(path, genesis.ledger_id)).transpose()?;
    if !profile.endpoints.is_empty() {
        return Ok(profile.endpoints.iter().map(|address| address.as_str().into()).collect());
    }
    let own = identity.spiffe_id().member();
    let allowed = profile.nodes_of.clone().unwrap_or_default();
    let known = trust::endpoints(genesis, trust.as_ref(), own, &allowed);
    if known.is_empty() {
        return Err(ClientError::NoOwnNode { member: own.clone() });
    }
    Ok(known.into_iter().map(Into::into).collect())
}

impl Inner {
    pub(crate) fn refresh(&self) -> Duration {
        self.shared.refresh
    }

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
