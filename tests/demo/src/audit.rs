//! What anyone can check without believing a node: a receipt, the disks, and
//! the whole ledger with the network down.

use std::fs;

use consilium_e2e::{Node, holds};

use crate::hospitals::Hospitals;

impl Hospitals {
    pub(crate) async fn verify_receipt(&self, transaction: &str) -> anyhow::Result<()> {
        let Self { scene, mary, harbour, .. } = self;
        scene.tell.step("A receipt is verified offline, with the genesis document alone.");
        scene.cli.ask(&format!("{} receipt get {transaction} --out receipt.pb", mary.acts("ehr"))).await?;
        let verify = format!("--genesis {}/genesis.pb receipt verify", harbour.short());
        scene.cli.show(&format!("{verify} receipt.pb")).await?;
        let mut forged = fs::read(scene.path("receipt.pb"))?;
        let middle = forged.len() / 2;
        for byte in &mut forged[middle..middle + 2] {
            *byte ^= 0x5a;
        }
        fs::write(scene.path("forged.pb"), forged)?;
        scene.cli.refused(&format!("{verify} forged.pb"), "a forged receipt was accepted").await?;
        scene.tell.good("the receipt holds; a copy with two bytes changed is refused");
        Ok(())
    }

    pub(crate) fn no_plaintext(&self) -> anyhow::Result<()> {
        self.scene.tell.step("The nodes never saw what the records say.");
        for node in &self.network.nodes {
            if let Some(file) = holds(&node.dir, self.input.family_name.as_bytes())? {
                anyhow::bail!("a node holds plaintext: {}", file.display());
            }
        }
        self.scene.tell.good("the patient's family name is in no file and no log of the four nodes");
        Ok(())
    }

    pub(crate) async fn verify_ledger(&mut self) -> anyhow::Result<()> {
        let Self { scene, network, harbour, .. } = self;
        scene.tell.step("With all nodes stopped, the whole ledger is verified from one hospital's disk.");
        network.nodes.iter_mut().try_for_each(Node::stop)?;
        network.check_logs()?;
        let short = harbour.short();
        scene.cli.show(&format!("ledger verify --data-dir {short}/node/data --genesis {short}/genesis.pb")).await?;
        scene.tell.good("the ledger verifies; nothing that a node said was taken on trust");
        Ok(())
    }
}
