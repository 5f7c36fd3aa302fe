//! Builds a network in a scratch folder: members, ceremony, configuration,
//! processes; and runs a test's scenario in it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};

use consilium_certs::Role;
use consilium_proto::genesis::Genesis;
use consilium_proto::pb;

use crate::TestResult;
use crate::ceremony::{self, Member};
use crate::network::Network;
use crate::node::Node;

/// Ids in ascending order, as the genesis wants them.
const MEMBERS: [&str; 4] = ["alder.example", "birch.example", "cedar.example", "dogwood.example"];
const STAKE: u64 = 100;
/// What a network is made of.
#[derive(Debug, Clone)]
pub struct NetworkBuilder {
    members: usize,
    raft: String,
    limits: String,
    parameters: Option<pb::Parameters>,
    stakes: [u64; 4],
}

impl NetworkBuilder {
    pub(crate) fn new(members: usize) -> Self {
        assert!((1..=MEMBERS.len()).contains(&members), "one to four members");
        Self { members, raft: String::new(), limits: String::new(), parameters: None, stakes: [STAKE; 4] }
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

    /// Makes the members, holds the ceremony, and starts the nodes.
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
        if let Err(e) = network.start_all() {
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
