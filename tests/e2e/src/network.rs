//! A whole network in a scratch folder: built, started, asked, and explained
//! when a test fails.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::Context;
use consilium_certs::Role;
use consilium_client::Client;
use consilium_proto::genesis::Genesis;
use consilium_proto::pb;
use consilium_proto::pb::operator_service_client::OperatorServiceClient;
use tempfile::TempDir;

use crate::TestResult;
use crate::ceremony::{self, Member};
use crate::condition::eventually_async;
use crate::node::Node;
use crate::user::User;

/// Ids in ascending order, as the genesis wants them.
const MEMBERS: [&str; 4] = ["alder.example", "birch.example", "cedar.example", "dogwood.example"];
const STAKE: u64 = 100;
/// For agreement after a fault, on a machine that runs other tests.
const AGREE_TIMEOUT: Duration = Duration::from_secs(60);

/// What a network is made of.
#[derive(Debug, Clone)]
pub struct NetworkBuilder {
    members: usize,
    started: bool,
    raft: String,
    limits: String,
    parameters: Option<pb::Parameters>,
    stakes: [u64; 4],
}

/// The network. Ends its processes and removes its folder when dropped.
#[derive(Debug)]
pub struct Network {
    /// Members, ascending by id; each has one node.
    pub members: Vec<Member>,
    /// Nodes, in the order of the members.
    pub nodes: Vec<Node>,
    /// The genesis document.
    pub genesis_path: PathBuf,
    /// The same, parsed.
    pub genesis: Genesis,
    /// Asks for status at each node; not enrolled.
    observers: Vec<Client>,
    /// Last, so that the files outlive the processes.
    dir: TempDir,
}

impl Network {
    /// A network of so many members with a node each, at most four.
    #[must_use]
    pub fn of(members: usize) -> NetworkBuilder {
        assert!((1..=MEMBERS.len()).contains(&members), "one to four members");
        NetworkBuilder {
            members,
            started: true,
            raft: String::new(),
            limits: String::new(),
            parameters: None,
            stakes: [STAKE; 4],
        }
    }

    /// The scratch folder.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.dir.path()
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

    /// A node's own word about itself.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn status(&self, node: usize) -> anyhow::Result<pb::GetStatusResponse> {
        let channel = self.observers[node].dial(&self.nodes[node].endpoint())?;
        let mut request = tonic::Request::new(pb::GetStatusRequest {});
        request.set_timeout(Duration::from_secs(5));
        Ok(OperatorServiceClient::new(channel).get_status(request).await?.into_inner())
    }

    /// The nodes that run.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        self.nodes.iter().filter(|n| n.is_running()).map(|n| n.index).collect()
    }

    /// Index of the leader that all running nodes agree on.
    ///
    /// # Errors
    /// If they do not in time.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        eventually_async("one leader", AGREE_TIMEOUT, || async {
            let mut leaders = Vec::new();
            for node in self.running() {
                leaders.push(self.status(node).await?.leader);
            }
            let first = leaders.first().copied().unwrap_or(0);
            let agreed = first != 0 && leaders.iter().all(|l| *l == first);
            anyhow::ensure!(agreed, "leaders as seen by the nodes: {leaders:?}");
            let index = usize::try_from(first)? - 1;
            anyhow::ensure!(self.nodes[index].is_running(), "the leader {first} is down");
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
        eventually_async("equal state roots", AGREE_TIMEOUT, || async {
            let (mut seen, mut votes) = (Vec::new(), Vec::new());
            for node in self.running() {
                let s = self.status(node).await?;
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
        let document = ceremony::renamed(&self.members, &fs::read(&self.genesis_path)?, "another")?;
        let path = self.dir.path().join("other-genesis.pb");
        fs::write(&path, document)?;
        Ok(path)
    }

    /// No node may have panicked, whatever the scenario did to it.
    fn check_logs(&self) -> TestResult {
        for node in &self.nodes {
            anyhow::ensure!(!node.log_contains(&["panicked at"]), "node {} panicked", node.raft_id());
        }
        Ok(())
    }

    fn explain(&self) {
        for node in &self.nodes {
            eprintln!("--- node {}: end of its log", node.raft_id());
            eprintln!("{}", node.log_tail());
        }
    }
}

impl NetworkBuilder {
    /// Sets up the disks but starts nothing.
    #[must_use]
    pub fn not_started(mut self) -> Self {
        self.started = false;
        self
    }

    /// Lines for `[raft]` of every node's configuration.
    #[must_use]
    pub fn raft(mut self, lines: &str) -> Self {
        self.raft = lines.to_owned();
        self
    }

    /// Lines for `[limits]` of every node's configuration.
    #[must_use]
    pub fn limits(mut self, lines: &str) -> Self {
        self.limits = lines.to_owned();
        self
    }

    /// Other ledger parameters than the recommended ones.
    #[must_use]
    pub fn parameters(mut self, parameters: pb::Parameters) -> Self {
        self.parameters = Some(parameters);
        self
    }

    /// Stake of each member; a hundred each if not set.
    #[must_use]
    pub fn stakes(mut self, stakes: [u64; 4]) -> Self {
        self.stakes = stakes;
        self
    }

    /// Builds the network and runs a scenario in it. A scenario that fails
    /// shows the end of each node's log.
    ///
    /// # Panics
    /// If the scenario fails.
    pub fn run(self, scenario: impl AsyncFnOnce(&mut Network) -> TestResult) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
            runtime.block_on(Box::pin(async {
                let mut network = self.build().await?;
                let result = scenario(&mut network).await.and_then(|()| network.check_logs());
                if result.is_err() {
                    network.explain();
                }
                result
            }))
        });
        if let Err(e) = result {
            panic!("{e:?}");
        }
    }

    /// Builds the network for tests that need more than one.
    ///
    /// # Errors
    /// If the ceremony, an `init`, or a start fails.
    pub async fn build(self) -> anyhow::Result<Network> {
        let dir = tempfile::Builder::new().prefix("consilium-e2e-").tempdir()?;
        let ip = own_address()?;
        let members = MEMBERS[..self.members]
            .iter()
            .map(|id| Member::create(id, dir.path().join(id)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let nodes: Vec<Node> = members.iter().enumerate().map(|(i, m)| Node::new(i, &m.dir, ip)).collect();
        let parts = members
            .iter()
            .zip(&nodes)
            .zip(self.stakes)
            .map(|((member, node), stake)| member.part(stake, node.client, node.peer))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let document = ceremony::document(&members, parts, self.parameters)?;
        let genesis_path = dir.path().join("genesis.pb");
        fs::write(&genesis_path, &document)?;
        let search_key = hex::encode(rand::random::<[u8; 32]>());
        ceremony::write_secret(&dir.path().join("search.key"), &search_key)?;
        let genesis = Genesis::parse(&document)?;
        let mut network = Network { members, nodes, genesis_path, genesis, observers: Vec::new(), dir };
        self.configure(&network)?;
        for member in 0..network.nodes.len() {
            let user = network.user(member, Role::Auditor, "observer").await?;
            network.observers.push(user.client);
        }
        for node in &network.nodes {
            node.init()?;
        }
        if self.started
            && let Err(e) = network.start_all()
        {
            network.explain();
            return Err(e);
        }
        Ok(network)
    }

    fn configure(&self, network: &Network) -> anyhow::Result<()> {
        for node in &network.nodes {
            let (client, peer, http) = (node.client, node.peer, node.http);
            let (raft, limits) = (&self.raft, &self.limits);
            // Elections in about a second: short for tests, long enough for a
            // busy machine with real fsync.
            let election = if raft.contains("election_ticks") { "" } else { "election_ticks = 16" };
            let text = format!(
                "data_dir = \"data\"\ngenesis = \"../genesis.pb\"\n\n\
                 [identity]\ncertificate = \"node-n1.pem\"\nkey = \"node-n1.key\"\nvote_key = \"vote.key\"\n\n\
                 [listen]\nclient = \"{client}\"\npeer = \"{peer}\"\nhttp = \"{http}\"\n\n\
                 [raft]\n{election}\n{raft}\n\n[limits]\n{limits}\n\n\
                 [storage]\ncache_bytes = 16777216\nverify_threads = 1\nnetwork_threads = 2\n\n\
                 [log]\nformat = \"json\"\nfilter = \"info\"\n"
            );
            fs::write(&node.config, text)?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.explain();
        }
        if std::env::var_os("CONSILIUM_E2E_KEEP").is_some() {
            eprintln!("kept: {}", self.dir.path().display());
            self.dir.disable_cleanup(true);
        }
    }
}

/// A loopback address that no other test process uses: ports can then be fixed,
/// and neither an outgoing connection nor another test can take one while a
/// node is down.
fn own_address() -> anyhow::Result<Ipv4Addr> {
    static NETWORKS: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id();
    for _ in 0..32 {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let octet = |n: u32| u8::try_from(n % 250 + 1).unwrap_or(1);
        let ip = Ipv4Addr::new(127, octet(process / 250), octet(process), number);
        if TcpListener::bind((ip, 7401)).is_ok() {
            return Ok(ip);
        }
    }
    anyhow::bail!("no free loopback address; is this Linux?")
}
