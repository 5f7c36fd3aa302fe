//! Where a story plays: a folder with one below it for each hospital, a loopback
//! address with ports for their nodes, and what each hospital does alone.

use std::fs::{self, DirBuilder};
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use consilium_e2e::{Member, Node, own_loopback_address};

use crate::cli::Cli;
use crate::tell::Tell;

/// Only its owner looks into a folder with keys.
const FOLDER_MODE: u32 = 0o700;

/// A member organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hospital {
    /// Trust domain.
    pub(crate) id: String,
    /// For people.
    pub(crate) name: String,
}

/// The five of the stories.
pub(crate) fn hospital(short: &str) -> Hospital {
    let name = match short {
        "st-mary" => "St Mary Hospital",
        "north-valley" => "North Valley Clinic",
        "lakeside" => "Lakeside Hospital",
        "harbour" => "Harbour Medical Centre",
        "greenfield" => "Greenfield Clinic",
        other => other,
    };
    Hospital { id: format!("{short}.example"), name: name.to_owned() }
}

impl Hospital {
    /// The part of its trust domain before ".example": its folder.
    pub(crate) fn short(&self) -> &str {
        self.id.strip_suffix(".example").unwrap_or(&self.id)
    }

    /// The option that makes the command line act as one of its identities.
    pub(crate) fn acts(&self, identity: &str) -> String {
        format!("--config {}/{identity}/config.toml", self.short())
    }
}

/// A folder, an address, the command line and the teller.
pub(crate) struct Scene {
    pub(crate) folder: PathBuf,
    pub(crate) cli: Cli,
    pub(crate) tell: Rc<Tell>,
    pub(crate) hospitals: Vec<Hospital>,
    ip: Ipv4Addr,
    /// Whether nodes reach each other through proxies.
    apart: bool,
}

impl Scene {
    pub(crate) fn new(folder: &Path, tell: Rc<Tell>, hospitals: Vec<Hospital>) -> anyhow::Result<Self> {
        let cli = Cli::new(folder, Rc::clone(&tell))?;
        Ok(Self { folder: folder.to_owned(), cli, tell, hospitals, ip: own_loopback_address()?, apart: false })
    }

    /// The same, with a proxy before each node.
    pub(crate) fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// A hospital's folder.
    pub(crate) fn home(&self, hospital: &Hospital) -> PathBuf {
        self.folder.join(hospital.short())
    }

    /// A file of the folder that members have in common.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.join(below)
    }

    /// The genesis document as a hospital keeps it.
    pub(crate) fn genesis(&self, hospital: &Hospital) -> PathBuf {
        self.home(hospital).join("genesis.pb")
    }

    /// A hospital's node. It keeps its ports, whoever has come before it.
    pub(crate) fn node(&self, hospital: &Hospital) -> Node {
        let index = self.hospitals.iter().position(|one| one == hospital).unwrap_or(self.hospitals.len());
        Node::new(index, 0, &self.home(hospital).join("node"), self.ip)
    }

    /// A hospital and its node, as the harness takes them over.
    pub(crate) fn found(&self, hospital: &Hospital) -> anyhow::Result<(Member, Node)> {
        Ok((Member::open(&hospital.id, &self.home(hospital))?, self.node(hospital)))
    }

    /// What one organisation does alone: CA, node certificate, administrator,
    /// vote key, and its part of the genesis document, from public files only.
    pub(crate) async fn prepare_member(&self, hospital: &Hospital, shown: bool) -> anyhow::Result<()> {
        let (short, Hospital { id, name }) = (hospital.short(), hospital);
        private_folder(&self.home(hospital).join("node"))?;
        let node = self.node(hospital);
        let (client, peer) = (node.client, if self.apart { node.proxied() } else { node.peer });
        for line in [
            format!("certs init --member {id} --dir {short}/ca"),
            format!(
                "certs issue --dir {short}/ca --role node --name n1 --dns localhost --ip {} --out {short}/node",
                self.ip
            ),
            format!("certs issue --dir {short}/ca --role admin --name registrar --out {short}/admin"),
            format!("keys vote --out {short}/node/vote.key"),
            format!(
                "member part --id {id} --name \"{name}\" --ca {short}/ca/ca.pem --stake 100 \
                 --node name=n1,peer={peer},client={client},vote-key={short}/node/vote.key.pub --out {short}/part.pb"
            ),
        ] {
            self.cli.ask_if(shown, &line).await?;
        }
        Ok(())
    }

    /// A service of a hospital: certificate, keys, profile; enrolled on the
    /// ledger. Members' services share a search key, which no node ever sees.
    pub(crate) async fn connect_service(
        &self,
        hospital: &Hospital,
        name: &str,
        search_key: &Path,
        shown: bool,
    ) -> anyhow::Result<()> {
        let short = hospital.short();
        let folder = self.home(hospital).join(name);
        private_folder(&folder)?;
        for line in [
            format!("certs issue --dir {short}/ca --role service --name {name} --out {short}/{name}"),
            format!("keys signing --out {short}/{name}/signing.key"),
            format!("keys encryption --out {short}/{name}/encryption.key"),
        ] {
            self.cli.ask_if(shown, &line).await?;
        }
        fs::copy(search_key, folder.join("search.key"))?;
        let keys = "signing_key = \"signing.key\"\nencryption_key = \"encryption.key\"\nsearch_key = \"search.key\"\n";
        self.write_profile(hospital, name, &format!("service-{name}"), keys)?;
        self.enrol(hospital, name, shown).await
    }

    /// An auditor of a hospital: certificate and profile; enrolled on the ledger.
    pub(crate) async fn connect_auditor(&self, hospital: &Hospital, name: &str, shown: bool) -> anyhow::Result<()> {
        let short = hospital.short();
        private_folder(&self.home(hospital).join(name))?;
        let line = format!("certs issue --dir {short}/ca --role auditor --name {name} --out {short}/{name}");
        self.cli.ask_if(shown, &line).await?;
        self.write_profile(hospital, name, &format!("auditor-{name}"), "")?;
        self.enrol(hospital, name, shown).await
    }

    /// The profile of the administrator whose certificate was made at first;
    /// enrolled on the ledger.
    pub(crate) async fn connect_admin(&self, hospital: &Hospital, shown: bool) -> anyhow::Result<()> {
        self.write_profile(hospital, "admin", "admin-registrar", "")?;
        self.enrol(hospital, "admin", shown).await
    }

    async fn enrol(&self, hospital: &Hospital, identity: &str, shown: bool) -> anyhow::Result<()> {
        let line = format!("{} identity enroll", hospital.acts(identity));
        self.cli.ask_if(shown, &line).await?;
        Ok(())
    }

    /// Own node first, then the others': everybody goes on while the own one is down.
    fn write_profile(&self, hospital: &Hospital, folder: &str, certificate: &str, keys: &str) -> anyhow::Result<()> {
        let others = self.hospitals.iter().filter(|other| *other != hospital);
        let endpoints: Vec<String> =
            std::iter::once(hospital).chain(others).map(|one| self.node(one).endpoint()).collect();
        let text = format!(
            "genesis = \"../genesis.pb\"\nendpoints = {endpoints:?}\nnodes_of = [\"*\"]\n\
             certificate = \"{certificate}.pem\"\nkey = \"{certificate}.key\"\n{keys}"
        );
        Ok(fs::write(self.home(hospital).join(folder).join("config.toml"), text)?)
    }
}

/// Makes a folder that only its owner may enter, with those above it.
pub(crate) fn private_folder(path: &Path) -> anyhow::Result<()> {
    Ok(DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?)
}
