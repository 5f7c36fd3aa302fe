//! Builds a network in a scratch folder: members, ceremony, configuration,
//! processes; and runs a test's scenario in it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use consilium_proto::genesis::Genesis;
use consilium_proto::parameters::recommended_parameters;
use consilium_proto::pb;

use crate::TestResult;
use crate::ceremony::{self, Member};
use crate::links::Links;
use crate::network::{Folder, Network};
use crate::node::Node;
use crate::settings::Settings;
use crate::traitor::Traitor;
use crate::wires::Wires;

/// Ids in ascending order, as the genesis wants them.
const MEMBERS: [&str; 7] = [
    "alder.example",
    "birch.example",
    "cedar.example",
    "dogwood.example",
    "elm.example",
    "fir.example",
    "gorse.example",
];
const STAKE: u64 = 100;

/// The recommended parameters with epochs of a second or some, elections by
/// stake alone, and nobody jailed for being slow.
#[must_use]
pub fn short_epochs(epoch_ms: u64) -> pb::Parameters {
    pb::Parameters {
        epoch_ms,
        hysteresis_percent: 0,
        unbonding_epochs: 1,
        jail_missed_percent: 100,
        rotation_blocks: 0,
        ..recommended_parameters()
    }
}

/// What a network is made of.
#[derive(Debug, Clone)]
pub struct NetworkBuilder {
    members: usize,
    settings: Settings,
    parameters: Option<pb::Parameters>,
    stakes: Vec<u64>,
    links: bool,
    clocks: bool,
    disks: bool,
    paces: bool,
    traitor: Option<usize>,
    wires: bool,
}

impl NetworkBuilder {
    pub(crate) fn new(members: usize) -> Self {
        assert!((1..=MEMBERS.len()).contains(&members), "one to seven members");
        let stakes = vec![STAKE; members];
        Self {
            members,
            settings: Settings::default(),
            parameters: None,
            stakes,
            links: false,
            clocks: false,
            disks: false,
            paces: false,
            traitor: None,
            wires: false,
        }
    }

    /// Lines for `[raft]` of every node's configuration.
    #[must_use]
    pub fn raft(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.settings.raft);
        self
    }

    /// Lines for `[limits]` of every node's configuration.
    #[must_use]
    pub fn limits(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.settings.limits);
        self
    }

    /// Other ledger parameters than the recommended ones.
    #[must_use]
    pub fn parameters(mut self, parameters: pb::Parameters) -> Self {
        self.parameters = Some(parameters);
        self
    }

    /// Stake of each member, in the order of their ids; a hundred each if not set.
    #[must_use]
    pub fn stakes(mut self, stakes: impl Into<Vec<u64>>) -> Self {
        self.stakes = stakes.into();
        self
    }

    /// Nodes reach each other only through [`Links`], which can be cut.
    #[must_use]
    pub fn with_links(mut self) -> Self {
        self.links = true;
        self
    }

    /// One of the nodes can be made to lie to the others.
    #[must_use]
    pub fn with_traitor(mut self, node: usize) -> Self {
        self.traitor = Some(node);
        self.with_links()
    }

    /// Every node is a machine of its own on the network, where [`Wires::probe`] finds no fault.
    #[must_use]
    pub fn with_wires(mut self) -> Self {
        self.wires = true;
        self
    }

    /// The disk of every node can be made slow.
    #[must_use]
    pub fn with_slow_disks(mut self) -> Self {
        self.paces = true;
        self
    }

    /// Every node has a wall clock of its own, which can be set.
    #[must_use]
    pub fn with_clocks(mut self) -> Self {
        self.clocks = true;
        self
    }

    /// Every node has a disk whose power can be cut, where [`crate::PowerDisk::probe`] finds no fault.
    #[must_use]
    pub fn with_power_disks(mut self) -> Self {
        self.disks = true;
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

    /// Puts clocks, disks and wires of their own to the nodes.
    fn equip(&self, nodes: &mut [Node], wires: Option<&Wires>) -> anyhow::Result<()> {
        for node in nodes {
            if let Some(wires) = wires {
                node.set_namespace(wires.namespace(node.index));
            }
            if self.clocks {
                node.add_clock()?;
            }
            if self.disks {
                node.add_disk()?;
            }
            if self.paces {
                node.add_pace()?;
            }
        }
        Ok(())
    }

    /// Makes the members, holds the ceremony, and starts the nodes.
    ///
    /// # Errors
    /// If the ceremony, an `init`, or a start fails.
    pub async fn build(self) -> anyhow::Result<Network> {
        let dir = tempfile::Builder::new().prefix("consilium-e2e-").tempdir()?;
        let wires = if self.wires { Some(Wires::open(self.members)?) } else { None };
        let ip = own_loopback_address()?;
        let address = |node: usize| wires.as_ref().map_or(ip, |wires| wires.address(node));
        let members = MEMBERS[..self.members]
            .iter()
            .map(|id| Member::create(id, dir.path().join(id)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut nodes: Vec<Node> = members
            .iter()
            .zip(1..)
            .enumerate()
            .map(|(i, (m, raft_id))| Node::new(i, raft_id, &m.dir, address(i)))
            .collect();
        self.equip(&mut nodes, wires.as_ref())?;
        let genesis_path = dir.path().join("genesis.pb");
        let traitor = self.traitor.map(|node| Arc::new(Traitor::new(node, &nodes, genesis_path.clone())));
        let links = if self.links { Some(Links::open(&nodes, traitor).await?) } else { None };
        let parts = members
            .iter()
            .zip(&nodes)
            .zip(self.stakes)
            .map(|((member, node), stake)| {
                let peer = links.as_ref().map_or(node.peer, |links| links.address(node.index));
                member.part(stake, node.client, peer)
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let document = ceremony::document(&members, parts, self.parameters)?;
        fs::write(&genesis_path, &document)?;
        let search_key = hex::encode(rand::random::<[u8; 32]>());
        ceremony::write_secret(&dir.path().join("search.key"), &search_key)?;
        let genesis = Genesis::parse(&document)?;
        let settings = self.settings;
        for node in &nodes {
            settings.write(node, false)?;
        }
        let dir = Folder::Scratch(dir);
        let mut network = Network::assemble(members, nodes, (genesis_path, genesis), settings, links, ip, dir).await?;
        network.wires = wires;
        for node in &network.nodes {
            node.init()?;
        }
        if let Err(e) = network.start_all() {
            network.explain();
            return Err(e);
        }
        Ok(network)
    }
}

/// A loopback address that no other test process uses: ports can then be fixed,
/// and neither an outgoing connection nor another test can take one while a
/// node is down.
///
/// # Errors
/// If there is none.
pub fn own_loopback_address() -> anyhow::Result<Ipv4Addr> {
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
