//! What machines do when something reaches them, and what becomes of what leaves
//! them.

use consilium_proto::ids::NodeId;
use consilium_replica::catch_up::rebuild::RebuildInput;

use super::World;
use crate::disk::CrashKind;
use crate::env::Halt;
use crate::event::{Event, MachineId, Packet, Send, Timer};
use crate::machine::Machine;
use crate::node::rebuild;
use crate::node::state::State;
use crate::swarm::Fault;

/// Why a node is out whose peers hold a vote that its disk does not.
const FORGOT: &str = "the disk does not remember a vote";

impl World {
    pub(super) fn timer(&mut self, id: MachineId, timer: Timer) {
        let Machine { host, state } = &mut self.machines[id];
        let mut next = None;
        let result = match (state, timer) {
            (State::Rebuilding(rebuild), Timer::Rebuild) => {
                rebuild::tick(rebuild, host, &mut self.env).map(|done| next = done.then_some(State::Down))
            }
            (State::Up(node), timer) => node.timer(host, &mut self.env, timer),
            (State::Down | State::Out(_) | State::Rebuilding(_), _) => Ok(()),
        };
        if let Some(next) = next {
            if matches!(next, State::Down) {
                self.schedule(1, Event::Start(id));
            }
            self.machines[id].state = next;
        }
        self.halted(id, result);
    }

    pub(super) fn arrive(&mut self, id: MachineId, from: NodeId, packet: Packet) {
        let Machine { host, state } = &mut self.machines[id];
        let result = match (state, packet) {
            (State::Up(node), packet) => node.packet(host, &mut self.env, from, packet),
            (State::Rebuilding(rebuild), Packet::Blocks { blocks, call }) => {
                let blocks = blocks.into_iter().map(|block| RebuildInput::Fetched { call, block: Box::new(block) });
                let inputs = blocks.chain([RebuildInput::FetchEnded { call, problem: None }]);
                let mut done = Ok(false);
                for input in inputs {
                    if matches!(done, Ok(false)) {
                        done = rebuild::input(rebuild, host, &mut self.env, input);
                    }
                }
                if matches!(done, Ok(true)) {
                    self.machines[id].state = State::Down;
                    self.schedule(1, Event::Start(id));
                }
                done.map(drop)
            }
            (State::Down | State::Out(_) | State::Rebuilding(_), _) => Ok(()),
        };
        self.halted(id, result);
    }

    pub(super) fn halted(&mut self, id: MachineId, result: Result<(), Halt>) {
        let Err(halt) = result else { return };
        match &halt {
            // Hashes rest on evidence, and so on signatures, which are never the same.
            Halt::Diverged(_) => self.env.note(format_args!("{id} halts: it has gone astray")),
            halt => self.env.note(format_args!("{id} halts: {halt:?}")),
        }
        let honest = self.machines[id].host.honest();
        match halt {
            Halt::Crash(_) => {
                self.env.stats.fault(Fault::CrashPoint);
                let kind = if self.rng.chance(500) { CrashKind::Power } else { CrashKind::Process };
                let after = self.rng.range(20, 1_500);
                self.crash(id, kind, Some(after));
            }
            Halt::Diverged(why) => {
                self.env.stats.count("nodes diverged");
                if honest && self.env.traitors.is_empty() && self.env.bug.is_none() {
                    self.env.oracle.fail("G3 one state", format!("machine {id}: {why}"));
                }
                self.crash(id, CrashKind::Process, Some(200));
                self.machines[id].host.disk.repair = true;
            }
            Halt::Forgot => {
                self.crash(id, CrashKind::Process, None);
                self.machines[id].state = State::Out(FORGOT);
                self.out(id, FORGOT);
            }
            Halt::Fault(why) if honest => {
                self.env.oracle.fail("no fault", format!("machine {id}: {why}"));
            }
            Halt::Fault(_) => self.crash(id, CrashKind::Process, Some(500)),
        }
    }

    /// What left the machines goes on its way.
    pub fn flush(&mut self) {
        for mut send in std::mem::take(&mut self.env.outbox) {
            let host = &self.machines[send.machine].host;
            if let Some(fault) = host.byzantine.filter(|_| !self.env.calm) {
                crate::byzantine::tamper_outbox(fault, host, &mut self.env, &mut send);
            }
            self.send(send);
        }
        for (at, event) in std::mem::take(&mut self.env.later) {
            self.queue.push(at, event);
        }
        for id in std::mem::take(&mut self.env.answers) {
            self.client.answered(&id);
            if self.client.probed && self.env.probed_at.is_none() {
                self.env.probed_at = Some(self.env.now);
            }
        }
    }

    fn send(&mut self, send: Send) {
        let Send { machine: from, from: proven, to, packet } = send;
        let routed = self.net.route(from, to);
        let first = || self.machines.iter().position(|m| m.host.node == to && m.in_use());
        let Some(at) = routed.or_else(first).filter(|at| *at != from) else { return };
        let arrivals = self.net.arrivals(self.env.now, (from, at), &mut self.env.stats);
        for arrival in arrivals {
            let packet = Box::new(packet.clone());
            self.queue.push(arrival, Event::Arrive { at, from, proven, packet });
        }
    }
}
