//! Nodes as machines of their own on one switch, each in a network namespace: a wire that is
//! pulled loses packets, as real ones do, and TCP finds out by its timers. [`crate::Links`]
//! hold bytes back instead, and let them go at once.
//!
//! It needs root and the kernel's bridges.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::flapping::Flapping;
use crate::guarded::{Guard, run};

/// Machines and the switch between them.
#[derive(Debug)]
pub struct Wires {
    name: String,
    /// First three bytes of all addresses.
    subnet: [u8; 3],
    /// Removes all of it.
    _guard: Guard,
}

impl Wires {
    /// Why this machine cannot have them, if it cannot.
    ///
    /// # Errors
    /// The reason.
    pub fn probe() -> anyhow::Result<()> {
        Self::open(1).map(drop)
    }

    /// Lays wires for so many machines.
    pub(crate) fn open(machines: usize) -> anyhow::Result<Self> {
        static NETWORKS: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NETWORKS.fetch_add(1, Ordering::Relaxed));
        // Names of interfaces have fifteen characters; this net is for benchmarks.
        let name = format!("ce{process:x}n{number:x}");
        let subnet = [198, 18, u8::try_from((process + number) % 250).unwrap_or(0)];
        let undo = "exec 2> /dev/null; ip link del \"$1\"; i=0; while [ $i -lt \"$2\" ]; do \
                    ip link del \"$1w$i\"; ip netns del \"$1-$i\"; i=$((i+1)); done";
        let guard = Guard::new(undo, &[&name, &machines.to_string()])?;
        let wires = Self { name, subnet, _guard: guard };
        let bridge = &wires.name;
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {}/24 dev {bridge}", wires.at(254)))?;
        ip(&format!("link set {bridge} up"))?;
        for machine in 0..machines {
            let (space, wire, address) = (wires.namespace(machine), wires.wire(machine), wires.address(machine));
            ip(&format!("netns add {space}"))?;
            ip(&format!("link add {wire} type veth peer name eth0 netns {space}"))?;
            ip(&format!("link set {wire} master {bridge} up"))?;
            ip(&format!("-n {space} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {space} link set eth0 up"))?;
            ip(&format!("-n {space} link set lo up"))?;
        }
        Ok(wires)
    }

    fn at(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, host)
    }

    /// The address of a machine.
    pub(crate) fn address(&self, machine: usize) -> Ipv4Addr {
        self.at(u8::try_from(machine).unwrap_or(0) + 1)
    }

    /// The network namespace of a machine.
    pub(crate) fn namespace(&self, machine: usize) -> String {
        format!("{}-{machine}", self.name)
    }

    fn wire(&self, machine: usize) -> String {
        format!("{}w{machine}", self.name)
    }

    /// Pulls the wire of a machine and puts it back, in turns of this length.
    #[must_use]
    pub fn flap(&self, machine: usize, turn: Duration) -> Flapping {
        let (wire, bridge) = (self.wire(machine), self.name.clone());
        Flapping::start(turn, move |cut| {
            let to = if cut { "nomaster".to_owned() } else { format!("master {bridge}") };
            // A turn that fails is a turn without a fault.
            let _ = ip(&format!("link set {wire} {to}"));
        })
    }
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    run(Command::new("ip").args(arguments.split_ascii_whitespace()))
}
