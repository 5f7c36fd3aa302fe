//! The leader dies in the middle of an import, as in a power cut: the others go
//! on, and nothing that was answered as certified is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use consilium_e2e::{eventually_async, ledger_at};

use crate::hospitals::Hospitals;
use crate::input::certified;
use crate::scene::Hospital;

/// For the first answers of an import.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(60);
/// Answers before the fault.
const ANSWERS: usize = 2;

/// What an import was told, and who was killed.
pub(crate) struct Interrupted {
    before: BTreeSet<String>,
    all: BTreeSet<String>,
    killed: usize,
}

impl Hospitals {
    pub(crate) async fn kill_the_leader(&mut self) -> anyhow::Result<Interrupted> {
        let scene = &self.scene;
        scene.tell.step("The leader is killed with SIGKILL in the middle of a larger import.");
        let (mary, journal) = (&self.mary, scene.home(&self.mary).join("second.journal"));
        let mut import = scene.cli.start(&format!(
            "{} import {} --journal {}/second.journal",
            mary.acts("ehr"),
            self.input.further,
            mary.short()
        ))?;
        eventually_async("progress of the import", PROGRESS_TIMEOUT, || {
            let answers = certified(&journal).len();
            let enough = answers >= ANSWERS || !import.is_running().unwrap_or(false);
            std::future::ready(if enough { Ok(()) } else { Err(format!("{answers} answers")) })
        })
        .await?;
        let killed = self.network.leader().await?;
        let before = certified(&journal);
        let over = "the import was over before the leader could be killed; nothing was shown. Give it more to do: \
                    CONSILIUM_SHARED names a folder with data/fhir/bundles";
        anyhow::ensure!(import.is_running()?, "{over}");
        self.network.nodes[killed].kill9()?;
        let (name, answered) = (self.hospital_of(killed)?.name.clone(), before.len());
        let tell = &self.scene.tell;
        tell.good(&format!(
            "{name} led and is gone; until then {answered} transactions had been answered as certified"
        ));
        let answer = import.end().await?.good()?;
        tell.good("the import went on with the other three and finished");
        let lines: Vec<&str> = answer.out.lines().collect();
        tell.quote_lines(lines[lines.len().saturating_sub(3)..].iter().copied());
        Ok(Interrupted { before, all: certified(&journal), killed })
    }

    pub(crate) async fn nothing_lost(&mut self, import: &Interrupted) -> anyhow::Result<()> {
        self.scene.tell.step("Nothing was lost.");
        let Interrupted { before, all, killed } = import;
        anyhow::ensure!(before.is_subset(all), "the journal forgot a transaction");
        self.network.nodes[*killed].restart()?;
        let (height, root) = self.network.agreed(0).await?;
        let tell = &self.scene.tell;
        tell.good(&format!("{} is back and caught up", self.hospital_of(*killed)?.name));
        for hospital in &self.scene.hospitals {
            self.has_all(hospital, all).await?;
        }
        tell.good(&format!("all four nodes have the same state at height {height}: {}", hex::encode(&root)));
        self.scene.cli.show(&format!("{} status --all", self.mary.acts("ehr"))).await?;
        Ok(())
    }

    /// A node is asked for one transaction as a person would, and for its whole
    /// ledger.
    async fn has_all(&self, hospital: &Hospital, all: &BTreeSet<String>) -> anyhow::Result<()> {
        let Self { scene, network, mary, .. } = self;
        let node = network.of_member(&hospital.id)?;
        let first = all.first().context("the import certified nothing")?;
        let endpoint = network.nodes[node].endpoint();
        let asked = format!("{} --endpoints {endpoint} --output json tx status {first}", mary.acts("ehr"));
        let status = scene.cli.ask(&asked).await?.text("status")?;
        anyhow::ensure!(status.eq_ignore_ascii_case("certified"), "{} says {status} of {first}", hospital.name);
        let ledger = ledger_at(network.channel(node)?).await?;
        let held: BTreeSet<String> = ledger.iter().map(|row| row.id.to_string()).collect();
        let missing = all.difference(&held).count();
        anyhow::ensure!(missing == 0, "{} misses {missing} of {} certified transactions", hospital.name, all.len());
        scene.tell.good(&format!("{}: all {} certified transactions are there", hospital.name, all.len()));
        Ok(())
    }
}
