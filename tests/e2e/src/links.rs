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

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::node::Node;

/// From the port of a node's own listener to that of its proxy.
const PORT_OFFSET: u16 = 50;
const BUFFER_BYTES: usize = 64 * 1024;

/// Pairs of caller and called.
type Cuts = BTreeSet<(usize, usize)>;

/// The links of a network.
#[derive(Debug)]
pub struct Links {
    cuts: watch::Sender<Cuts>,
    addresses: Vec<SocketAddr>,
}

impl Links {
    /// Opens a proxy before each node.
    pub(crate) async fn open(nodes: &[Node]) -> anyhow::Result<Self> {
        let cuts = watch::Sender::new(Cuts::new());
        let pids: Arc<[_]> = nodes.iter().map(Node::pid_cell).collect();
        let mut addresses = Vec::new();
        for node in nodes {
            let address = SocketAddr::new(node.peer.ip(), node.peer.port() + PORT_OFFSET);
            let listener = TcpListener::bind(address).await.with_context(|| format!("proxy on {address}"))?;
            addresses.push(address);
            tokio::spawn(serve(listener, node.index, node.peer, Arc::clone(&pids), cuts.clone()));
        }
        Ok(Self { cuts, addresses })
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

    /// Everything reaches everyone again.
    pub fn heal(&self) {
        self.cuts.send_modify(Cuts::clear);
    }
}

async fn serve(
    listener: TcpListener,
    called: usize,
    target: SocketAddr,
    pids: Arc<[Arc<AtomicU32>]>,
    cuts: watch::Sender<Cuts>,
) {
    while let Ok((stream, from)) = listener.accept().await {
        let (pids, cuts) = (Arc::clone(&pids), cuts.subscribe());
        tokio::spawn(async move {
            // Someone who is no node of this network (a test's own connection)
            // is not held up.
            let caller = caller(from, &pids).unwrap_or(called);
            pass(stream, (caller, called), target, cuts).await
        });
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
