//! The founding: parts are exchanged, inspected and endorsed, and every member
//! starts its node. The folder `exchange` stands for e-mail between the
//! organisations: only what lies there ever leaves a member's folder.

use std::fs;

use consilium_e2e::{Network, files_below, holds};

use crate::scene::{Hospital, Scene};

/// What an administrator signs with.
fn admin_files(short: &str) -> String {
    format!("--certificate {short}/admin/admin-registrar.pem --key {short}/admin/admin-registrar.key")
}

impl Scene {
    /// From the members' parts to the document that each of them has inspected.
    /// `parameters` are NAME=VALUE of the ledger.
    pub(crate) async fn ceremony(
        &self,
        founders: &[Hospital],
        network: &str,
        parameters: &[&str],
        shown: bool,
    ) -> anyhow::Result<()> {
        fs::create_dir_all(self.path("exchange"))?;
        let (mut init, mut assemble) = (format!("network init --name {network}"), String::new());
        for hospital in founders {
            let short = hospital.short();
            fs::copy(self.home(hospital).join("part.pb"), self.path(&format!("exchange/{short}.part.pb")))?;
            init += &format!(" --part exchange/{short}.part.pb");
            assemble += &format!(" --endorsement exchange/{short}.endorsement.pb");
        }
        for parameter in parameters {
            init += &format!(" --parameter {parameter}");
        }
        self.cli.ask_if(shown, &format!("{init} --out exchange/genesis.unsigned.pb")).await?;
        for (position, hospital) in founders.iter().enumerate() {
            self.endorse(hospital, shown && position == 0).await?;
        }
        let assemble = format!("network assemble --genesis exchange/genesis.unsigned.pb{assemble}");
        self.cli.ask_if(shown, &format!("{assemble} --out exchange/genesis.pb")).await?;
        for hospital in founders {
            fs::copy(self.path("exchange/genesis.pb"), self.genesis(hospital))?;
            self.cli.quietly(&format!("network inspect {}/genesis.pb", hospital.short())).await?;
        }
        Ok(())
    }

    /// A member looks at what it is about to endorse, and does.
    async fn endorse(&self, hospital: &Hospital, shown: bool) -> anyhow::Result<()> {
        let short = hospital.short();
        // It complains that endorsements are missing, which is true so far.
        self.cli.try_quietly("network inspect exchange/genesis.unsigned.pb").await?;
        let endorse = format!("network endorse --genesis exchange/genesis.unsigned.pb {}", admin_files(short));
        self.cli.ask_if(shown, &format!("{endorse} --out {short}/endorsement.pb")).await?;
        fs::copy(self.home(hospital).join("endorsement.pb"), self.path(&format!("exchange/{short}.endorsement.pb")))?;
        Ok(())
    }

    /// The files that were exchanged; none may hold a private key.
    pub(crate) fn exchanged(&self) -> anyhow::Result<String> {
        let folder = self.path("exchange");
        if let Some(file) = holds(&folder, b"PRIVATE KEY")? {
            anyhow::bail!("a private key left its owner: {}", file.display());
        }
        let files = files_below(&folder)?;
        let names = files.iter().filter_map(|path| path.file_name()?.to_str());
        Ok(names.collect::<Vec<_>>().join(" "))
    }

    /// Writes each node's configuration, with further lines of `settings`, lets it lay out its data folder, and
    /// hands the network to the harness. No node is started yet.
    pub(crate) async fn settle(&self, founders: &[Hospital], settings: &str, shown: bool) -> anyhow::Result<Network> {
        let mut found = Vec::new();
        for hospital in founders {
            let (member, node) = self.found(hospital)?;
            let (client, peer, http) = (node.client, node.peer, node.http);
            let text = format!(
                "data_dir = \"data\"\ngenesis = \"../genesis.pb\"\n\n\
                 [identity]\ncertificate = \"node-n1.pem\"\nkey = \"node-n1.key\"\nvote_key = \"vote.key\"\n\n\
                 [listen]\nclient = \"{client}\"\npeer = \"{peer}\"\nhttp = \"{http}\"\n{settings}"
            );
            fs::write(&node.config, text)?;
            node.init()?;
            found.push((member, node));
        }
        if shown {
            let short = founders.first().map_or("", Hospital::short);
            self.tell.command(&format!("consilium-node init --config {short}/node/node.toml"));
            self.tell.command(&format!("consilium-node run --config {short}/node/node.toml"));
        }
        let genesis = self.path("exchange/genesis.pb");
        Network::adopt(&self.folder, genesis, found).await
    }

    /// All that it takes until a network of these founders runs; told by nobody.
    pub(crate) async fn found_quietly(
        &self,
        founders: &[Hospital],
        network: &str,
        parameters: &[&str],
        settings: &str,
    ) -> anyhow::Result<Network> {
        for hospital in founders {
            self.prepare_member(hospital, false).await?;
        }
        self.ceremony(founders, network, parameters, false).await?;
        let mut network = self.settle(founders, settings, false).await?;
        network.start_all()?;
        Ok(network)
    }
}
