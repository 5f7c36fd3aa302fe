//! A member is suspended while it follows the ledger; a validator signs two
//! headers of one height; both are taken back.

use std::fs;

use anyhow::Context;
use consilium_e2e::{Network, eventually_async, seats, two_votes};
use consilium_proto::pb;
use consilium_proto::signing::SigningKey;
use prost::Message;

use crate::governance::{Cast, EPOCH_TIMEOUT, Government};
use crate::scene::Hospital;

/// Blocks after a suspension that the suspended member must not see.
const LATER_BLOCKS: u64 = 2;

impl Government {
    pub(crate) async fn suspend(&mut self, suspended: &Hospital) -> anyhow::Result<()> {
        let step = format!("{} follows the ledger over an open stream; the others suspend it.", suspended.name);
        self.scene.tell.step(&step);
        self.connect_service(suspended).await?;
        let watch = self.scene.cli.start(&format!("{} watch --headers", suspended.acts("ehr")))?;
        eventually_async("blocks on the stream", EPOCH_TIMEOUT, || {
            std::future::ready(last_height(&watch.out).map(|_| ()))
        })
        .await?;
        let cut = self.decide(&format!("suspend {}", suspended.id)).await?.number("closed_height")?;
        let secretary = self.network.of_member(&self.secretary.id)?;
        certified_at(&self.network, secretary, cut + LATER_BLOCKS).await?;
        let (scene, acts) = (&self.scene, self.secretary.acts("admin"));
        // The suspended member's node is none that is talked to any more.
        let at = self.network.nodes[secretary].endpoint();
        let status = scene.cli.ask(&format!("{acts} --endpoints {at} status")).await?;
        scene.tell.quote_lines(status.out.lines().filter(|line| line.contains("was cut off")));
        let last = last_height(&watch.out)?;
        anyhow::ensure!(last <= cut, "the stream went on to height {last}");
        let served = format!("{} --endpoints {at} status", suspended.acts("ehr"));
        scene.cli.refused(&served, "the suspended member is still served").await?;
        let raft_id = self.raft_id_of(suspended)?;
        let seated = seats(&self.network.status(secretary).await?).contains(&raft_id);
        anyhow::ensure!(!seated, "the suspended member has a seat");
        let ended = format!("its stream ended at height {last} (the block of its suspension is {cut})");
        scene.tell.good(&format!("{ended}, nobody serves it, its seat went with that block"));
        Ok(())
    }

    pub(crate) async fn catch_the_liar(&self, liar: &Hospital) -> anyhow::Result<()> {
        let Self { scene, network, secretary, .. } = self;
        let signs = "validator signs two headers of one height; whoever has both votes can prove it.";
        scene.tell.step(&format!("{}'s {signs}", liar.name));
        let raft_id = self.raft_id_of(liar)?;
        let height = network.status(network.of_member(&secretary.id)?).await?.certified_height;
        let vote_key = scene.home(liar).join("node/vote.key");
        let key = SigningKey::from_pem(&fs::read_to_string(vote_key)?)?;
        let lie = two_votes(network.genesis.ledger_id, raft_id, height, &key)?;
        fs::write(scene.path("evidence.pb"), pb::Equivocation::from(&lie).encode_to_vec())?;
        self.asks("validators evidence evidence.pb").await?;
        let still = |status: &pb::GetStatusResponse| {
            anyhow::ensure!(!seats(status).contains(&raft_id), "it is seated");
            Ok(())
        };
        network.leader_says("the end of its seat", still).await?;
        self.asks("validators penalties").await?;
        self.show_stake(liar).await?;
        self.show_epoch().await?;
        let gone = "a fifth of its stake is gone, its seat went with that block";
        scene.tell.good(&format!("{gone}, and only the others can bring it back"));
        Ok(())
    }

    pub(crate) async fn forgive(&mut self, cast: &Cast) -> anyhow::Result<()> {
        let Cast { suspended, liar, .. } = cast;
        let lift = "It was a restored backup. The others lift the penalty";
        self.scene.tell.step(&format!("{lift}, and let {} back in.", suspended.name));
        self.decide("lift-penalty 1").await?;
        self.decide(&format!("reinstate {}", suspended.id)).await?;
        let back = [self.raft_id_of(liar)?, self.raft_id_of(suspended)?];
        let wish = |status: &pb::GetStatusResponse| {
            let seats = seats(status);
            anyhow::ensure!(back.iter().all(|id| seats.contains(id)), "seats {seats:?}, wanted {back:?}");
            anyhow::ensure!(status.reconciliation == "settled", "{}", status.reconciliation);
            Ok(())
        };
        self.network.leader_says("the seats of both", wish).await?;
        self.show_epoch().await?;
        self.show_stake(liar).await
    }

    async fn show_stake(&self, hospital: &Hospital) -> anyhow::Result<()> {
        let line = format!("{} stake show {}", self.secretary.acts("admin"), hospital.id);
        let stake = self.scene.cli.ask(&line).await?;
        self.scene.tell.quote_lines(stake.out.lines().next());
        Ok(())
    }

    fn raft_id_of(&self, hospital: &Hospital) -> anyhow::Result<u64> {
        Ok(self.network.nodes[self.network.of_member(&hospital.id)?].raft_id())
    }
}

/// Waits until a node has certified this height.
async fn certified_at(network: &Network, node: usize, height: u64) -> anyhow::Result<()> {
    eventually_async("later blocks", EPOCH_TIMEOUT, || async {
        let now = network.status(node).await?.certified_height;
        anyhow::ensure!(now >= height, "certified up to {now}");
        Ok(())
    })
    .await
}

/// The height in the last line of `consilium watch --headers`.
fn last_height(watched: &std::path::Path) -> anyhow::Result<u64> {
    let text = fs::read_to_string(watched)?;
    let mut heights = text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    heights.next_back().context("no blocks on the stream yet")
}
