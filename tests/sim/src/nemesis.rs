//! What goes wrong, and when: faults at random intervals, of the kinds that the
//! seed asks for.

use bytes::Bytes;
use consilium_kit::Rng;
use consilium_ledger::{Table, keys};
use consilium_proto::limits::RELEASE_WINDOW_MS;
use consilium_proto::pb::{self, MemberState, MemberStatus, action::Action};

use crate::bugs::Bug;
use crate::crash_point::CrashPoint;
use crate::disk::CrashKind;
use crate::event::{Event, MachineId};
use crate::fixture::{EMERGENCY_MS, HOSPITALS, member_id};
use crate::host::far_offset;
use crate::node::state::State;
use crate::oracle::CLOCK_ERROR_MS_MAX;
use crate::swarm::Fault;
use crate::world::World;

/// How far all clocks go on at once: emergencies and permits are over then.
const LEAP_MS: u64 = RELEASE_WINDOW_MS + 5_000;
const _: () = assert!(LEAP_MS > EMERGENCY_MS);

/// So many versions a successor may be unable to open.
const MISSING_MAX: u64 = 1_000;

/// Does a fault.
type Strike = fn(&mut Nemesis, &mut World);

/// The source of trouble.
pub struct Nemesis {
    rng: Rng,
    wiped: u64,
    suspended: Option<u64>,
    /// The hospital that is to leave.
    leaving: Option<u64>,
    /// The machine whose disk loses attachments.
    forgetful: Option<MachineId>,
}

impl Nemesis {
    /// Nothing has gone wrong yet.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self { rng, wiped: 0, suspended: None, leaving: None, forgetful: None }
    }

    /// Does a fault if it is time, and says when the next one is.
    pub fn act(&mut self, world: &mut World) {
        if !std::mem::take(&mut world.fault_due) {
            return;
        }
        self.strike(world);
        let pause = 1 + self.rng.below(2 * world.env.swarm.fault_pause);
        world.schedule(pause, Event::Fault);
        world.flush();
    }

    /// One fault, of a kind that the seed asks for.
    fn strike(&mut self, world: &mut World) {
        let kinds: [(Fault, Strike); 18] = [
            (Fault::Partition, Self::partition),
            (Fault::OneWay, Self::one_way),
            (Fault::Kill, |nemesis, world| nemesis.crash(world, Fault::Kill, CrashKind::Process)),
            (Fault::PowerCut, |nemesis, world| nemesis.crash(world, Fault::PowerCut, CrashKind::Power)),
            (Fault::CrashPoint, Self::arm),
            (Fault::SlowDisk, Self::slow_disk),
            (Fault::ClockSkew, |nemesis, world| nemesis.clock(world, Fault::ClockSkew, 300)),
            (Fault::ClockJump, |nemesis, world| nemesis.clock(world, Fault::ClockJump, CLOCK_ERROR_MS_MAX - 100)),
            (Fault::Wipe, Self::wipe),
            (Fault::Suspension, Self::suspend),
            (Fault::OrderlyStop, Self::orderly_stop),
            (Fault::Twins, Self::twin),
            (Fault::FarClock, Self::far_clock),
            (Fault::Unreadable, Self::unreadable),
            (Fault::RottenGuard, Self::rotten_guard),
            (Fault::LoseAttachments, Self::lose_attachments),
            (Fault::Leap, Self::leap),
            (Fault::Removal, Self::remove),
        ];
        let asked: Vec<_> = kinds.into_iter().filter(|(kind, _)| world.env.swarm.has(*kind)).collect();
        if let Some((_, strike)) = self.rng.pick(&asked) {
            strike(self, world);
        }
    }

    /// A machine whose node is up; often the leader's.
    fn victim(&mut self, world: &World) -> Option<MachineId> {
        let up = |(id, machine): (MachineId, &crate::machine::Machine)| machine.node().map(|_| id);
        let machines: Vec<MachineId> = world.machines.iter().enumerate().filter_map(up).collect();
        let leaders: Vec<MachineId> =
            machines.iter().copied().filter(|id| world.machines[*id].node().is_some_and(|n| n.leads())).collect();
        if self.rng.chance(400) {
            self.rng.pick(&leaders).or(machines.first()).copied()
        } else {
            self.rng.pick(&machines).copied()
        }
    }

    fn heal_later(&mut self, world: &mut World) {
        let after = self.rng.range(200, 3_000);
        world.schedule(after, Event::Heal);
    }

    fn partition(&mut self, world: &mut World) {
        let count = world.machines.len();
        let side: Vec<bool> = match (self.rng.below(3), self.victim(world)) {
            (0, Some(alone)) => (0..count).map(|id| id == alone).collect(),
            _ => (0..count).map(|_| self.rng.chance(500)).collect(),
        };
        for one in 0..count {
            for other in (0..count).filter(|other| side[one] != side[*other]) {
                world.net.links.cut(one, other);
            }
        }
        world.env.stats.fault(Fault::Partition);
        world.env.note(format_args!("partition {side:?}"));
        self.heal_later(world);
    }

    fn one_way(&mut self, world: &mut World) {
        let Some(victim) = self.victim(world) else { return };
        let deaf = self.rng.chance(500);
        for other in (0..world.machines.len()).filter(|other| *other != victim) {
            let (from, to) = if deaf { (other, victim) } else { (victim, other) };
            world.net.links.cut(from, to);
        }
        world.env.stats.fault(Fault::OneWay);
        world.env.note(format_args!("{victim} is {}", if deaf { "deaf" } else { "mute" }));
        self.heal_later(world);
    }

    fn crash(&mut self, world: &mut World, fault: Fault, kind: CrashKind) {
        let Some(victim) = self.victim(world) else { return };
        world.env.stats.fault(fault);
        world.env.note(format_args!("{victim} goes down: {kind:?}"));
        let after = self.rng.range(20, 2_500);
        world.crash(victim, kind, Some(after));
    }

    fn arm(&mut self, world: &mut World) {
        let Some(victim) = self.victim(world) else { return };
        let Some(point) = self.rng.pick(&CrashPoint::ALL).copied() else { return };
        let passes = self.rng.below(4) as u32;
        world.machines[victim].host.disk.tripwire.borrow_mut().armed = Some((point, passes));
        world.env.note(format_args!("{victim} will fail at {point:?}"));
    }

    /// A node is told to stop: it hands over and proposes nothing more; a while later
    /// its process ends.
    fn orderly_stop(&mut self, world: &mut World) {
        let Some(victim) = self.victim(world) else { return };
        world.env.stats.fault(Fault::OrderlyStop);
        world.env.note(format_args!("{victim} is told to stop"));
        let after = self.rng.range(100, 1_500);
        world.stop(victim, after);
    }

    fn slow_disk(&mut self, world: &mut World) {
        let Some(victim) = self.victim(world) else { return };
        world.machines[victim].host.slow = true;
        world.env.stats.fault(Fault::SlowDisk);
        world.env.note(format_args!("{victim} has a slow disk"));
        let after = self.rng.range(500, 4_000);
        world.schedule(after, Event::FastDisk(victim));
    }

    fn clock(&mut self, world: &mut World, fault: Fault, most: u64) {
        let Some(victim) = self.victim(world).filter(|victim| !world.machines[*victim].host.clock_is_far) else {
            return;
        };
        let offset = self.rng.below(2 * most) as i64 - most as i64;
        world.machines[victim].host.clock_offset = offset;
        world.env.stats.fault(fault);
        world.env.note(format_args!("the clock of {victim} is off by {offset} ms"));
    }

    /// One clock is set to anything, and stays so.
    fn far_clock(&mut self, world: &mut World) {
        if world.machines.iter().any(|machine| machine.host.clock_is_far) {
            return;
        }
        let Some(victim) = self.victim(world) else { return };
        let offset = far_offset(&mut self.rng);
        let host = &mut world.machines[victim].host;
        (host.clock_offset, host.clock_is_far) = (offset, true);
        world.env.stats.fault(Fault::FarClock);
        world.env.note(format_args!("the clock of {victim} is off by {offset} ms, for good"));
    }

    /// The disks of some machines do not give the ledger back. One that is furthest on
    /// keeps it, durably: what all have lost nobody can rebuild, and where everybody is
    /// needed for a certificate, that is true of certificates, too. The operators of the others are given
    /// new invitations: those whom the genesis names may all have been replaced, or have lost theirs.
    fn unreadable(&mut self, world: &mut World) {
        let Some(spared) = world.best() else { return };
        if world.machines.iter().any(|machine| machine.host.disk.repair) {
            return;
        }
        world.machines[spared].host.disk.ledger.borrow_mut().sync();
        let introduction = world.introduction_by(spared);
        for victim in (0..world.machines.len()).filter(|id| *id != spared) {
            let machine = &world.machines[victim];
            if machine.node().is_none() || !machine.host.honest() || !self.rng.chance(600) {
                continue;
            }
            world.env.stats.fault(Fault::Unreadable);
            world.env.note(format_args!("the ledger of {victim} cannot be read any more"));
            let host = &mut world.machines[victim].host;
            (host.disk.repair, host.introduction) = (true, introduction.clone());
            let after = self.rng.range(20, 500);
            world.crash(victim, CrashKind::Process, Some(after));
        }
    }

    /// A slot of a guard rots while its node is down: the newest vote is not on that disk any
    /// more.
    fn rotten_guard(&mut self, world: &mut World) {
        let Some(victim) = self.victim(world) else { return };
        let after = self.rng.range(20, 1_000);
        world.crash(victim, CrashKind::Process, Some(after));
        let host = &mut world.machines[victim].host;
        if host.disk.guard.rot() {
            let left = host.disk.guard.read().unwrap_or_default().vote.voted_height;
            world.env.oracle.rotted(host.node, left);
            world.env.stats.fault(Fault::RottenGuard);
            world.env.note(format_args!("the guard of {victim} loses its newest record"));
        }
    }

    /// A disk loses some attachments, or holds something else in their place; always the
    /// same one, so that others have what it lost.
    fn lose_attachments(&mut self, world: &mut World) {
        let Some(victim) = self.forgetful.or_else(|| self.victim(world)) else { return };
        self.forgetful = Some(victim);
        let mut ledger = world.machines[victim].host.disk.ledger.borrow_mut();
        let held = |table| ledger.table(table).map(|(key, _)| (table, key.to_vec())).collect::<Vec<_>>();
        let tables = [Table::Payloads, Table::Descriptors, Table::Wraps, Table::Lookups, Table::Texts];
        let held = tables.map(held).concat();
        for (table, key) in held {
            if !self.rng.chance(300) {
                continue;
            }
            let instead = self.rng.chance(300).then(|| Bytes::from_static(b"changed by hand"));
            ledger.damage(table, &key, instead);
            world.env.stats.fault(Fault::LoseAttachments);
        }
        world.env.note(format_args!("the disk of {victim} has lost attachments"));
    }

    /// Nothing happens for a while, once: all clocks go on, and what has an end is over.
    fn leap(&mut self, world: &mut World) {
        if world.env.leapt == 0 {
            world.env.leapt = LEAP_MS;
            world.env.stats.fault(Fault::Leap);
            world.env.note(format_args!("all clocks go on by {LEAP_MS} ms"));
        }
    }

    /// A disk is lost. Its node never comes back; the member replaces it.
    fn wipe(&mut self, world: &mut World) {
        if self.wiped > 0 {
            return;
        }
        let Some(victim) = self.victim(world).filter(|victim| world.may_lose(*victim)) else { return };
        self.wiped += 1;
        world.env.stats.fault(Fault::Wipe);
        world.env.note(format_args!("{victim} loses its disk"));
        if world.env.has(Bug::ReuseRaftId) {
            world.crash(victim, CrashKind::Power, Some(300));
            world.set_up_again(victim);
            return;
        }
        world.crash(victim, CrashKind::Power, None);
        world.machines[victim].state = State::Out("wiped");
        let lost = &world.machines[victim].host;
        let (raft_id, owner) = (lost.node.0, lost.member.clone());
        let name = world.client.name();
        let node = Some(world.env.fixture.describe(&owner, &name));
        let member = (1..).position(|n| member_id(n) == owner).unwrap_or(0);
        let action = Action::ReplaceNode(pb::ReplaceNode { raft_id, node });
        world.submit_by_admin(member, action);
    }

    /// A member is suspended, or the suspended one reinstated.
    fn suspend(&mut self, world: &mut World) {
        let topic = match self.suspended.take() {
            Some(number) => {
                pb::proposal_topic::Topic::ReinstateMember(pb::ReinstateMember { member: member_id(number) })
            }
            None => {
                let number = self.rng.range(2, world.env.swarm.members);
                self.suspended = Some(number);
                pb::proposal_topic::Topic::SuspendMember(pb::SuspendMember { member: member_id(number) })
            }
        };
        world.env.stats.fault(Fault::Suspension);
        let expires_ms = world.env.true_ms() + 100_000;
        let topic = Some(pb::ProposalTopic { topic: Some(topic) });
        world.submit_by_admin(0, Action::Propose(pb::Propose { expires_ms, reason: String::new(), topic }));
    }

    /// The members vote on that a hospital leaves, once the other one has said that it keeps what is
    /// written there, however much of it it cannot open.
    fn remove(&mut self, world: &mut World) {
        let leaving = *self.leaving.get_or_insert_with(|| self.rng.range(1, HOSPITALS));
        let (member, successor) = (member_id(leaving), member_id(HOSPITALS + 1 - leaving));
        let Some(best) = world.best() else { return };
        let (standing, custody) = {
            let ledger = world.machines[best].host.disk.ledger.borrow();
            let standing: MemberState = ledger.message(&keys::member(&member)).unwrap_or_default();
            (standing.status(), ledger.message::<pb::CustodyState>(&keys::custody(&member)).unwrap_or_default())
        };
        if standing != MemberStatus::Active || custody.custodian.is_empty() {
            return;
        }
        let by = (HOSPITALS - leaving) as usize;
        if custody.successor != successor || custody.missing_max < MISSING_MAX {
            let accept = pb::AcceptCustody { member: member.clone(), missing_max: MISSING_MAX, withdrawn: false };
            world.submit_by_admin(by, Action::AcceptCustody(accept));
        }
        world.env.stats.fault(Fault::Removal);
        world.env.note(format_args!("{member} is to leave, and {successor} to keep its records"));
        let topic = pb::proposal_topic::Topic::RemoveMember(pb::RemoveMember { member, successor });
        let expires_ms = world.env.true_ms() + 100_000;
        let topic = Some(pb::ProposalTopic { topic: Some(topic) });
        world.submit_by_admin(by, Action::Propose(pb::Propose { expires_ms, reason: String::new(), topic }));
    }

    /// A second machine starts with the traitor's key and a copy of its disk.
    fn twin(&mut self, world: &mut World) {
        let traitor = world.machines.iter().position(|machine| !machine.host.honest());
        let (None, Some(first)) = (world.twins, traitor) else { return };
        let second = world.copy_machine(first);
        world.twins = Some([first, second]);
        world.env.stats.fault(Fault::Twins);
        world.env.note(format_args!("{second} is a twin of {first}"));
        world.schedule(1, Event::Routes);
    }
}
