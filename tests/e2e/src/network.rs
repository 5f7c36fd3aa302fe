//! A running network: asked, waited for, and explained when a test fails.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use consilium_client::Client;
use consilium_grpc::operator_service_client::OperatorServiceClient;
use consilium_proto::genesis::Genesis;
use consilium_proto::names::Role;
use consilium_proto::pb::{self, action::Action};
use consilium_proto::transaction::encryption_key_id;
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::Channel;

use crate::TestResult;
use crate::builder::NetworkBuilder;
use crate::ceremony::{self, Member};
use crate::condition::eventually_async;
use crate::links::Links;
use crate::node::Node;
use crate::settings::Settings;
use crate::traitor::Traitor;
use crate::user::User;
use crate::wires::Wires;

/// For agreement after a fault, on a machine that runs other tests.
const AGREE_TIMEOUT: Duration = Duration::from_secs(60);

/// Where everything of a network lies.
#[derive(Debug)]
pub(crate) enum Folder {
    /// Removed with the network.
    Scratch(TempDir),
    /// Somebody else's.
    Lasting(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Scratch(dir) => dir.path(),
            Self::Lasting(path) => path,
        }
    }
}

/// The network. Ends its processes when dropped, and removes a scratch folder.
#[derive(Debug)]
pub struct Network {
    /// Members in the order in which they came, those of the genesis ascending
    /// by id; each has one node.
    pub members: Vec<Member>,
    /// Nodes, in the order of the members.
    pub nodes: Vec<Node>,
    /// The genesis document.
    pub genesis_path: PathBuf,
    /// The same, parsed.
    pub genesis: Genesis,
    /// Asks for status, one of each member; not enrolled.
    observers: Vec<User>,
    /// The newest invitation: members that the genesis document does not name.
    trust: Option<PathBuf>,
    pub(crate) settings: Settings,
    pub(crate) ip: Ipv4Addr,
    links: Option<Links>,
    pub(crate) wires: Option<Wires>,
    /// Last, so that the files outlive the processes.
    dir: Folder,
}

impl Network {
    /// A network of so many members with a node each, at most seven.
    #[must_use]
    pub fn of(members: usize) -> NetworkBuilder {
        NetworkBuilder::new(members)
    }

    pub(crate) async fn assemble(
        members: Vec<Member>,
        nodes: Vec<Node>,
        (genesis_path, genesis): (PathBuf, Genesis),
        settings: Settings,
        links: Option<Links>,
        ip: Ipv4Addr,
        dir: Folder,
    ) -> anyhow::Result<Self> {
        let observers = Vec::new();
        let mut network = Self {
            members,
            nodes,
            genesis_path,
            genesis,
            observers,
            trust: None,
            settings,
            ip,
            links,
            wires: None,
            dir,
        };
        for member in 0..network.members.len() {
            let observer = User::observer(&network, member).await?;
            network.observers.push(observer);
        }
        Ok(network)
    }

    /// The folder that holds everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The links between the nodes.
    ///
    /// # Panics
    /// If the network was built without [`NetworkBuilder::with_links`].
    #[must_use]
    pub fn links(&self) -> &Links {
        self.links.as_ref().expect("a network built with links")
    }

    /// The wires between the nodes.
    ///
    /// # Panics
    /// If the network was built without [`NetworkBuilder::with_wires`].
    #[must_use]
    pub fn wires(&self) -> &Wires {
        self.wires.as_ref().expect("a network built with wires")
    }

    /// The node that can be made to lie.
    ///
    /// # Panics
    /// If the network was built without [`NetworkBuilder::with_traitor`].
    #[must_use]
    pub fn traitor(&self) -> &Traitor {
        self.links().traitor().expect("a network built with a traitor")
    }

    /// The invitation that new identities connect with, if someone has joined.
    #[must_use]
    pub fn trust(&self) -> Option<PathBuf> {
        self.trust.clone()
    }

    /// Has everybody who asks for status know the members of an invitation, and
    /// a new member's observer.
    ///
    /// # Errors
    /// If it is no invitation of this ledger.
    pub async fn know(&mut self, invitation: PathBuf) -> anyhow::Result<()> {
        self.trust = Some(invitation);
        for observer in &mut self.observers {
            observer.profile.trust = self.trust.clone();
            observer.client = Client::connect(observer.profile.clone()).await?;
        }
        for member in self.observers.len()..self.members.len() {
            let observer = User::observer(self, member).await?;
            self.observers.push(observer);
        }
        Ok(())
    }

    /// An identity of a member that is not enrolled.
    ///
    /// # Errors
    /// If the member has issued that name before.
    pub async fn user(&self, member: usize, role: Role, name: &str) -> anyhow::Result<User> {
        User::create(self, member, role, name).await
    }

    /// An identity of a member, enrolled.
    ///
    /// # Errors
    /// If enrolment fails.
    pub async fn enrolled(&self, member: usize, role: Role, name: &str) -> anyhow::Result<User> {
        let user = self.user(member, role, name).await?;
        user.client.enroll().await.context("enrolment")?.into_applied()?;
        Ok(user)
    }

    /// A member's custodian, as which nothing runs: records of registered patients need one.
    ///
    /// # Errors
    /// If an enrolment fails, or the key cannot be named.
    pub async fn custodian(&self, member: usize) -> anyhow::Result<User> {
        let admin = self.enrolled(member, Role::Admin, "custody").await?;
        let keeper = self.enrolled(member, Role::Service, "custodian").await?;
        let encryption_key_id = encryption_key_id(&keeper.encryption_key()?).to_bytes();
        let set = Action::SetCustodyKey(pb::SetCustodyKey { encryption_key_id });
        admin.client.perform(set).await?.into_applied()?;
        Ok(keeper)
    }

    /// A bare channel to a node, of an observer of its own member.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn channel(&self, node: usize) -> anyhow::Result<Channel> {
        Ok(self.observers[node].client.dial(&self.nodes[node].endpoint())?)
    }

    /// A node's own word about itself. A node whose member was cut off refuses
    /// that member's observer; then another one asks.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn status(&self, node: usize) -> anyhow::Result<pb::GetStatusResponse> {
        match self.status_for(node, node).await {
            // A connection that is refused while it is used is "cancelled", too.
            Err(status) if status.code() != Code::DeadlineExceeded => {
                let other = (node + 1) % self.observers.len();
                Ok(self.status_for(other, node).await?)
            }
            answer => Ok(answer?),
        }
    }

    async fn status_for(&self, observer: usize, node: usize) -> Result<pb::GetStatusResponse, tonic::Status> {
        let channel = self.observers[observer].client.dial(&self.nodes[node].endpoint());
        let channel = channel.map_err(|e| tonic::Status::internal(e.to_string()))?;
        let mut request = tonic::Request::new(pb::GetStatusRequest::default());
        request.set_timeout(Duration::from_secs(5));
        Ok(OperatorServiceClient::new(channel).get_status(request).await?.into_inner())
    }

    /// The nodes that run.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        self.nodes.iter().filter(|n| n.is_running()).map(|n| n.index).collect()
    }

    /// The node with a Raft id.
    #[must_use]
    pub fn with_raft_id(&self, raft_id: u64) -> Option<usize> {
        self.nodes.iter().position(|n| n.raft_id() == raft_id)
    }

    /// Index of the leader that all running nodes agree on.
    ///
    /// # Errors
    /// If they do not in time.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        self.leader_of(&self.running()).await
    }

    /// Index of the leader that some nodes agree on: one of them.
    ///
    /// # Errors
    /// If they do not in time.
    pub async fn leader_of(&self, nodes: &[usize]) -> anyhow::Result<usize> {
        eventually_async("one leader", AGREE_TIMEOUT, || async {
            let mut leaders = Vec::new();
            for node in nodes {
                leaders.push(self.status(*node).await?.leader);
            }
            let first = leaders.first().copied().unwrap_or(0);
            let agreed = first != 0 && leaders.iter().all(|l| *l == first);
            anyhow::ensure!(agreed, "leaders as seen by the nodes: {leaders:?}");
            let index = self.with_raft_id(first).with_context(|| format!("no node {first}"))?;
            anyhow::ensure!(self.nodes[index].is_running(), "the leader {first} is down");
            anyhow::ensure!(nodes.contains(&index), "the leader {first} is none of {nodes:?}");
            Ok(index)
        })
        .await
    }

    /// Index of a running node that does not lead.
    ///
    /// # Errors
    /// As [`Self::leader`].
    pub async fn follower(&self) -> anyhow::Result<usize> {
        let leader = self.leader().await?;
        self.running().into_iter().find(|n| *n != leader).context("nobody follows")
    }

    /// Waits until all running nodes have the same height with the same state
    /// root, certified, at or above `height`; answers with that height.
    ///
    /// # Errors
    /// If they do not in time.
    pub async fn agreed(&self, height: u64) -> anyhow::Result<(u64, Vec<u8>)> {
        self.agreed_among(&self.running(), height).await
    }

    /// The same for some nodes.
    ///
    /// # Errors
    /// As [`Self::agreed`].
    pub async fn agreed_among(&self, nodes: &[usize], height: u64) -> anyhow::Result<(u64, Vec<u8>)> {
        eventually_async("equal state roots", AGREE_TIMEOUT, || async {
            let (mut seen, mut votes) = (Vec::new(), Vec::new());
            for node in nodes {
                let s = self.status(*node).await?;
                votes.push(s.peers.iter().map(|p| p.voted_height).collect::<Vec<_>>());
                seen.push((s.applied_height, s.certified_height, hex::encode(&s.state_root)));
            }
            let first = seen.first().cloned().context("no node runs")?;
            let equal = seen.iter().all(|s| *s == first) && first.0 == first.1 && first.0 >= height;
            anyhow::ensure!(equal, "(applied, certified, state root): {seen:?}; votes seen: {votes:?}");
            Ok((first.0, hex::decode(first.2)?))
        })
        .await
    }

    /// Starts all nodes that do not run, and waits for them.
    ///
    /// # Errors
    /// If one does not become ready.
    pub fn start_all(&mut self) -> anyhow::Result<()> {
        for node in self.nodes.iter_mut().filter(|n| !n.is_running()) {
            node.start()?;
        }
        self.nodes.iter_mut().try_for_each(Node::wait_ready)
    }

    /// A document of the same members that makes another ledger, with all
    /// endorsements, in a file of its own.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn other_genesis(&self) -> anyhow::Result<PathBuf> {
        let document = self.changed_genesis(|genesis| genesis.network = "another".into())?;
        let path = self.dir.path().join("other-genesis.pb");
        fs::write(&path, document)?;
        Ok(path)
    }

    /// The document with a change, endorsed by all members.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn changed_genesis(&self, change: impl FnOnce(&mut pb::Genesis)) -> anyhow::Result<Vec<u8>> {
        ceremony::changed(&self.members, &fs::read(&self.genesis_path)?, change)
    }

    /// No node may have panicked, whatever the scenario did to it.
    ///
    /// # Errors
    /// If one did.
    pub fn check_logs(&self) -> TestResult {
        for node in &self.nodes {
            anyhow::ensure!(!node.log_contains(&["panicked at"]), "node {} panicked", node.raft_id());
        }
        Ok(())
    }

    pub(crate) fn explain(&self) {
        for node in &self.nodes {
            eprintln!("--- node {}: end of its log", node.raft_id());
            eprintln!("{}", node.log_tail());
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.explain();
        }
        if let (Folder::Scratch(dir), Some(_)) = (&mut self.dir, std::env::var_os("CONSILIUM_E2E_KEEP")) {
            eprintln!("kept: {}", dir.path().display());
            dir.disable_cleanup(true);
        }
    }
}
