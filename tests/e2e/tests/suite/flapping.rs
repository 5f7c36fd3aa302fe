//! The leader's links fall away and come back, again and again: writing goes on, and how long
//! nothing was certified is told.

use std::time::{Duration, Instant};

use consilium_e2e::{Ack, Flapping, Load, Network, Wires, nothing_lost};
use consilium_proto::names::Role;

const TURN: Duration = Duration::from_millis(300);
const FLAPPING: Duration = Duration::from_secs(20);

/// How a node is cut off.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Cut {
    /// Its links hold back what is said, and let it go at once.
    Links,
    /// Packets on its wire are lost.
    Wires,
}

/// Which node is cut off.
#[derive(Clone, Copy, PartialEq)]
enum Whose {
    /// Of the one that led when it began.
    First,
    /// Of whoever leads.
    Leader,
}

fn flap(network: &Network, cut: Cut, node: usize) -> Flapping {
    match cut {
        Cut::Links => network.links().flap(node, TURN),
        Cut::Wires => network.wires().flap(node, TURN),
    }
}

/// How much was certified in between, and the longest times without.
fn gaps(acks: &[Ack], begin: Instant, end: Instant) -> (usize, Vec<Duration>) {
    let mut times: Vec<Instant> = acks.iter().map(|ack| ack.at).filter(|at| (begin..end).contains(at)).collect();
    let count = times.len();
    times.extend([begin, end]);
    times.sort();
    let mut gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(|a, b| b.cmp(a));
    gaps.truncate(5);
    (count, gaps)
}

fn flapping_leader(cut: Cut, whose: Whose, what: &'static str) {
    let network = match cut {
        Cut::Links => Network::of(4).with_links(),
        Cut::Wires => match Wires::probe() {
            Ok(()) => Network::of(4).with_wires(),
            Err(reason) => {
                eprintln!("SKIPPED: no wires that could be pulled (root, network namespaces, bridges): {reason:#}");
                return;
            }
        },
    };
    network.run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let mut flapping = network.leader().await?;
        // How its own clients reach a node that is cut off is their matter.
        let mut clients = Vec::new();
        for node in network.nodes.iter().filter(|node| whose == Whose::Leader || node.index != flapping) {
            clients.push(user.at(node).await?);
        }
        let load = Load::start(clients);
        load.more(20).await?;
        let begin = Instant::now();
        let mut fault = flap(network, cut, flapping);
        let mut led = vec![flapping];
        while begin.elapsed() < FLAPPING {
            load.more(1).await?;
            let leader = network.status((flapping + 1) % 4).await?.leader;
            let Some(leader) = network.with_raft_id(leader) else { continue };
            if led.last() != Some(&leader) {
                led.push(leader);
            }
            if whose == Whose::Leader && leader != flapping {
                drop(fault);
                flapping = leader;
                fault = flap(network, cut, flapping);
            }
        }
        drop(fault);
        let end = Instant::now();
        load.more(20).await?;
        let (acks, failures) = load.finish().await?;
        let (count, gaps) = gaps(&acks, begin, end);
        println!("{cut:?} of {what} flap every {TURN:?}: {count} writes, longest gaps {gaps:?}, led by {led:?}");
        assert_eq!(failures, Vec::<String>::new());
        nothing_lost(network, &user, &acks).await
    });
}

#[test]
fn flapping_links_of_a_leader() {
    flapping_leader(Cut::Links, Whose::First, "the first leader");
}

#[test]
fn flapping_links_of_every_leader() {
    flapping_leader(Cut::Links, Whose::Leader, "every leader");
}

#[test]
fn flapping_wire_of_a_leader() {
    flapping_leader(Cut::Wires, Whose::First, "the first leader");
}

#[test]
fn flapping_wire_of_every_leader() {
    flapping_leader(Cut::Wires, Whose::Leader, "every leader");
}
