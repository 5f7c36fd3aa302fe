//! Links between nodes that a test can cut: a proxy before each node's listener
//! for peers, inside the test process.
//!
//! A cut link passes nothing and closes nothing, as a dead line does; what was
//! on its way arrives when it is healed. A link is the direction from the node
//! that calls to the node that is called: messages from one to the other all
//! travel on connections that the sender has opened. Who calls is known from
//! the process that owns the calling socket.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::flapping::Flapping;
use crate::node::Node;
use crate::traitor::Traitor;

const BUFFER_BYTES: usize = 64 * 1024;

/// Pairs of caller and called.
type Cuts = BTreeSet<(usize, usize)>;

/// The links of a network.
#[derive(Debug)]
pub struct Links {
    cuts: watch::Sender<Cuts>,
    addresses: Vec<SocketAddr>,
    traitor: Option<Arc<Traitor>>,
}

impl Links {
    /// Opens a proxy before each node; what a traitor says or hears goes through its hands.
    pub(crate) async fn open(nodes: &[Node], traitor: Option<Arc<Traitor>>) -> anyhow::Result<Self> {
        let cuts = watch::Sender::new(Cuts::new());
        let pids: Arc<[_]> = nodes.iter().map(Node::pid_cell).collect();
        let mut addresses = Vec::new();
        for node in nodes {
            let address = node.proxied();
            let listener = TcpListener::bind(address).await.with_context(|| format!("proxy on {address}"))?;
            addresses.push(address);
            let proxy = Proxy {
                called: node.index,
                target: node.peer,
                pids: Arc::clone(&pids),
                cuts: cuts.clone(),
                traitor: traitor.clone(),
            };
            tokio::spawn(proxy.serve(listener));
        }
        Ok(Self { cuts, addresses, traitor })
    }

    /// The traitor, if there is one.
    pub(crate) fn traitor(&self) -> Option<&Traitor> {
        self.traitor.as_deref()
    }

    /// Where the other nodes reach a node.
    pub(crate) fn address(&self, node: usize) -> SocketAddr {
        self.addresses[node]
    }

    /// Cuts what `from` sends to `to`; what `to` sends to `from` still arrives.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        self.cuts.send_modify(|cuts| {
            cuts.insert((from, to));
        });
    }

    /// Cuts a group of nodes off from all others, both ways.
    pub fn isolate(&self, group: &[usize]) {
        let all = 0..self.addresses.len();
        let crossing = |(a, b): &(usize, usize)| group.contains(a) != group.contains(b);
        let pairs = all.clone().flat_map(|a| all.clone().map(move |b| (a, b))).filter(crossing);
        self.cuts.send_modify(|cuts| cuts.extend(pairs));
    }

    /// Cuts a node off from all others and heals everything, in turns of this length.
    #[must_use]
    pub fn flap(&self, node: usize, turn: Duration) -> Flapping {
        let (cuts, nodes) = (self.cuts.clone(), self.addresses.len());
        let own: Cuts = (0..nodes).filter(|n| *n != node).flat_map(|n| [(n, node), (node, n)]).collect();
        Flapping::start(turn, move |cut| {
            cuts.send_modify(|cuts| *cuts = if cut { own.clone() } else { Cuts::new() });
        })
    }

    /// What `from` sends to `to` arrives again, with what was held up.
    pub fn heal_one_way(&self, from: usize, to: usize) {
        self.cuts.send_modify(|cuts| {
            cuts.remove(&(from, to));
        });
    }

    /// Everything reaches everyone again.
    pub fn heal(&self) {
        self.cuts.send_modify(Cuts::clear);
    }
}

/// What stands before a node.
#[derive(Clone)]
struct Proxy {
    called: usize,
    target: SocketAddr,
    pids: Arc<[Arc<AtomicU32>]>,
    cuts: watch::Sender<Cuts>,
    traitor: Option<Arc<Traitor>>,
}

impl Proxy {
    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, from)) = listener.accept().await {
            tokio::spawn(self.clone().take(stream, from));
        }
    }

    async fn take(self, stream: TcpStream, from: SocketAddr) -> io::Result<()> {
        // Someone who is no node of this network (a test's own connection) is not held up.
        let link = (caller(from, &self.pids).unwrap_or(self.called), self.called);
        match self.traitor.filter(|traitor| traitor.holds(link)) {
            Some(traitor) => traitor.stand_between(stream, link).await,
            None => pass(stream, link, self.target, self.cuts.subscribe()).await,
        }
    }
}

/// Passes bytes both ways while the link holds.
async fn pass(
    stream: TcpStream,
    link: (usize, usize),
    target: SocketAddr,
    cuts: watch::Receiver<Cuts>,
) -> io::Result<()> {
    open(link, &mut cuts.clone()).await;
    let onward = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    onward.set_nodelay(true)?;
    let (from_caller, to_caller) = stream.into_split();
    let (from_called, to_called) = onward.into_split();
    // Whichever ends first ends the connection.
    tokio::select! {
        ended = pump(from_caller, to_called, link, cuts.clone()) => ended,
        ended = pump(from_called, to_caller, link, cuts) => ended,
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    link: (usize, usize),
    mut cuts: watch::Receiver<Cuts>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        // Also the end of a connection does not get through a cut.
        open(link, &mut cuts).await;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
    }
}

/// Waits until the link is not cut.
async fn open(link: (usize, usize), cuts: &mut watch::Receiver<Cuts>) {
    // The sender lives as long as the proxies do.
    drop(cuts.wait_for(|cuts| !cuts.contains(&link)).await);
}

/// The node whose process owns the socket at this address.
fn caller(address: SocketAddr, pids: &[Arc<AtomicU32>]) -> Option<usize> {
    let inode = inode_of(address)?;
    let wanted = format!("socket:[{inode}]");
    let owns = |pid: &u32| {
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        open.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))
    };
    pids.iter().map(|pid| pid.load(Ordering::Relaxed)).position(|pid| pid != 0 && owns(&pid))
}

/// From the kernel's table of TCP sockets: the one with this local address.
fn inode_of(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let columns = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let inode =
        columns.filter(|c| c.get(1).is_some_and(|l| *l == local)).find_map(|c| c.get(9).map(|i| (*i).to_owned()));
    inode.filter(|inode| inode != "0")
}
