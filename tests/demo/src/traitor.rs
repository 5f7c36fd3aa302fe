//! The third story: a member's node tries to take over a running network, one clock jumps,
//! power fails in the middle of a write. The harness plays the attacker, with real keys and
//! the real peer protocol; who writes records meanwhile never hears of it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use consilium_client::records::RecordReader;
use consilium_client::{Client, Profile};
use consilium_e2e::{
    Falsify, Impostor, Load, Network, eventually_async, longest_pause, lying_entry, short_epochs, stored,
};
use consilium_proto::names::Role;
use consilium_proto::pb;
use prost::Message;

use crate::tell::Tell;

const PATIENCE: Duration = Duration::from_secs(60);
/// The fifth member's node, without a seat.
const SEATLESS: usize = 4;
const ZEROS: u64 = 100_000;

/// A lie in an answer about one record.
fn record_lie(call: &str, told: &[u8], lie: fn(&mut pb::RecordVersion)) -> Option<Vec<u8>> {
    let mut answer = (call == "GetRecord").then(|| pb::GetRecordResponse::decode(told))?.ok()?;
    lie(answer.record.as_mut()?);
    Some(answer.encode_to_vec())
}

/// A network under load.
struct Siege {
    network: Network,
    tell: Rc<Tell>,
    load: Load,
}

pub(crate) async fn tell(tell: &Rc<Tell>) -> anyhow::Result<()> {
    tell.title("Consilium: what one member can do to the others, and what it cannot");
    tell.step("Five hospitals run a network: four validators with equal power, and a fifth node without a seat.");
    let parameters = pb::Parameters { max_validators: 4, ..short_epochs(3_000) };
    let stakes = [100, 100, 100, 100, 10];
    let network = Network::of(5).parameters(parameters).stakes(stakes).with_clocks().build().await?;
    network.settled(&[0, 1, 2, 3]).await?;
    let writer = network.enrolled(0, Role::Service, "ehr").await?;
    let load = Load::start(vec![writer.client.clone(); 4]);
    load.more(50).await?;
    tell.good("four clients write records all the while, and have each one certified");
    let mut siege = Siege { network, tell: Rc::clone(tell), load };
    siege.usurp().await?;
    siege.steal_a_key().await?;
    siege.lie_to_a_client().await?;
    siege.set_a_clock().await?;
    siege.cut_the_power().await?;
    siege.end().await
}

impl Siege {
    async fn writes_go_on(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        self.load.more(100).await?;
        self.tell.good(&format!("100 more records were certified, {} ms later", started.elapsed().as_millis()));
        Ok(())
    }

    /// Says everything that Raft would believe to all the others, a few times.
    async fn attack(&self, attacker: usize) -> anyhow::Result<usize> {
        let impostor = Impostor::with_keys_of(&self.network, attacker)?;
        let mut said = 0;
        for _ in 0..3 {
            for node in self.network.running().into_iter().filter(|node| *node != attacker) {
                let lies = impostor.lies(&self.network.status(node).await?);
                said += lies.len();
                impostor.tell_raft(&self.network, node, &lies).await?;
            }
        }
        Ok(said)
    }

    async fn usurp(&self) -> anyhow::Result<()> {
        self.tell.step("The fifth node, with its real certificate, says that it leads.");
        self.tell.say("Heartbeats of later terms, entries that are committed already, a membership in which it");
        self.tell.say("votes alone, a snapshot of a ledger that is not ours, answers from the future.");
        let leader = self.network.leader_of(&[0, 1, 2, 3]).await?;
        let term = self.network.status(leader).await?.term;
        let said = self.attack(SEATLESS).await?;
        self.writes_go_on().await?;
        let status = self.network.status(leader).await?;
        anyhow::ensure!(status.term == term && status.leader == self.network.nodes[leader].raft_id(), "it was moved");
        let name = &self.network.members[leader].id;
        self.tell
            .good(&format!("{said} lies later {name} still leads, in the same term: nobody had elected the other"));
        Ok(())
    }

    async fn steal_a_key(&mut self) -> anyhow::Result<()> {
        self.tell.step("The keys of a validator are stolen: its machine hangs, and somebody else speaks for it.");
        let leader = self.network.leader_of(&[0, 1, 2, 3]).await?;
        // Not the one at which the clients write: a machine that hangs costs them a timeout.
        let robbed = (1..SEATLESS).find(|node| *node != leader).context("a follower")?;
        self.network.nodes[robbed].pause()?;
        let said = self.attack(robbed).await?;
        self.writes_go_on().await?;
        let honest: Vec<usize> = (0..SEATLESS).filter(|node| *node != robbed).collect();
        anyhow::ensure!(self.network.leader_of(&honest).await? == leader, "another one leads");
        self.tell.good(&format!(
            "{said} lies: a leader needs grants of two thirds of the power, and one key is a quarter of it"
        ));
        self.network.nodes[robbed].resume()?;
        Ok(())
    }

    /// The node that a member's users talk to is a liar: it has the records, and says other things.
    async fn lie_to_a_client(&self) -> anyhow::Result<()> {
        self.tell.step("The node of a hospital's own IT answers its doctors with records that it has changed.");
        let user = self.network.enrolled(0, Role::Clinician, "alice").await?;
        let written = stored(&user.client, "patient", b"no allergies").await?;
        let id = written.record_id;
        self.tell
            .say("A record was written and certified: \"no allergies\". The node may not touch what is encrypted,");
        self.tell.say("but it says who wrote it, when, about whom, and whether it still counts.");
        let lies: [(&str, Falsify); 4] = [
            ("another author", |call, told| {
                record_lie(call, told, |r| r.author = "spiffe://x.example/clinician/y".into())
            }),
            ("written an hour later", |call, told| record_lie(call, told, |r| r.time_ms += 3_600_000)),
            ("about another patient", |call, told| record_lie(call, told, |r| r.patient = vec![9; 16].into())),
            ("retracted", |call, told| record_lie(call, told, |r| r.retraction = true)),
        ];
        for (what, lie) in lies {
            let endpoints = vec![lying_entry(&self.network, 0, &user, lie).await?];
            let client = Client::connect(Profile { endpoints, ..user.profile.clone() }).await?;
            match RecordReader::new(client).get(id, None).await {
                Ok(_) => anyhow::bail!("the client believed that it is {what}"),
                Err(refused) => self.tell.quote(&format!("{what}: {refused}")),
            }
        }
        let opened = RecordReader::new(user.client.clone()).get(id, None).await?;
        anyhow::ensure!(opened.plaintext.is_some_and(|plain| plain.as_slice() == b"no allergies"), "another document");
        self.tell.good("the client said no each time; an honest node's answer it proved, and opened");
        Ok(())
    }

    async fn set_a_clock(&mut self) -> anyhow::Result<()> {
        let leader = self.network.leader_of(&[0, 1, 2, 3]).await?;
        let name = self.network.members[leader].id.clone();
        self.tell.step(&format!("The clock of {name}, which leads, jumps two hours ahead."));
        self.network.nodes[leader].clock()?.set(7_200)?;
        let successor = eventually_async("another leader", PATIENCE, || async {
            let others: Vec<usize> = (0..SEATLESS).filter(|node| *node != leader).collect();
            let now = self.network.leader_of(&others).await?;
            anyhow::ensure!(now != leader, "it leads still");
            Ok(now)
        })
        .await?;
        self.writes_go_on().await?;
        let alarms = self.network.status(leader).await?.alarms;
        let alarm = alarms.iter().find(|alarm| alarm.name == "clock_apart").context("no alarm")?;
        self.tell.good(&format!("{} leads now; {name} says of itself:", self.network.members[successor].id));
        self.tell.quote(&alarm.message);
        self.network.nodes[leader].clock()?.set(0)?;
        self.network.nodes[leader].wait_ready()?;
        self.tell.good("its clock is set, and it takes part again");
        Ok(())
    }

    async fn cut_the_power(&mut self) -> anyhow::Result<()> {
        self.tell.step("The power fails everywhere at once, and what the ledgers had not synced reads as zeros.");
        for node in &mut self.network.nodes {
            node.kill9()?;
            let written = fs::read_dir(node.data_dir.join("ledger"))?.filter_map(|entry| Some(entry.ok()?.path()));
            let newest = written.filter(|path| path.extension().is_some_and(|e| e == "log")).max();
            let file = fs::OpenOptions::new().write(true).open(newest.context("no log of writes")?)?;
            let len = file.metadata()?.len();
            let tail = ZEROS.min(len / 2);
            file.write_all_at(&vec![0; usize::try_from(tail)?], len - tail)?;
        }
        self.network.start_all()?;
        self.writes_go_on().await?;
        self.tell.good("all nodes started by themselves, from what Raft's logs had synced");
        Ok(())
    }

    async fn end(self) -> anyhow::Result<()> {
        self.tell.step("Afterwards.");
        let (acks, failures) = self.load.finish().await?;
        anyhow::ensure!(failures.is_empty(), "{failures:?}");
        let height = acks.iter().map(|ack| ack.height).max().unwrap_or_default();
        let (height, root) = self.network.agreed(height).await?;
        let root: String = root.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let pause = longest_pause(&acks).as_millis();
        self.tell.good(&format!("{} records were certified, none was lost, none failed", acks.len()));
        self.tell.good(&format!(
            "all five nodes agree at height {height}, state {root}...; the longest pause was {pause} ms"
        ));
        Ok(())
    }
}
