//! The first story: four hospitals, from the founding ceremony to an audit with
//! the network down.

use std::fs;
use std::rc::Rc;

use anyhow::Context;
use consilium_e2e::{Network, Node};

use crate::cli::Running;
use crate::folder::StoryFolder;
use crate::input::{Input, certified};
use crate::kept;
use crate::scene::{Hospital, Scene, hospital, private_folder};
use crate::tell::Tell;

/// Outside of every node's folder.
const SEARCH_KEY: &str = "services-only/search.key";

/// The story so far.
pub(crate) struct Hospitals {
    pub(crate) scene: Scene,
    pub(crate) network: Network,
    pub(crate) input: Input,
    /// Submits.
    pub(crate) mary: Hospital,
    /// Is addressed.
    pub(crate) lakeside: Hospital,
    /// Is not, and audits.
    pub(crate) harbour: Hospital,
}

pub(crate) async fn tell(folder: &StoryFolder, tell: &Rc<Tell>) -> anyhow::Result<()> {
    tell.title("Consilium: four hospitals, one ledger");
    println!("Everything happens in {}; commands are meant from there", folder.path().display());
    let mut story = Hospitals::begin(folder, tell).await?;
    story.connect_services().await?;
    let _custodian = story.run_custodian().await?;
    let transaction = story.submit().await?;
    story.find_and_open().await?;
    let certified = story.kill_the_leader().await?;
    story.nothing_lost(&certified).await?;
    story.verify_receipt(&transaction).await?;
    story.no_plaintext()?;
    story.verify_ledger().await?;
    if std::env::var("KEEP").is_ok_and(|keep| keep == "1") {
        return story.leave_running(folder);
    }
    tell.step("Cleaned up.");
    Ok(())
}

impl Hospitals {
    /// Preparation, ceremony, start.
    async fn begin(folder: &StoryFolder, tell: &Rc<Tell>) -> anyhow::Result<Self> {
        let hospitals = ["st-mary", "north-valley", "lakeside", "harbour"].map(hospital);
        let [mary, _, lakeside, harbour] = hospitals.clone();
        let scene = Scene::new(folder.path(), Rc::clone(tell), hospitals.to_vec())?;
        scene.tell.step("Each hospital prepares alone: its certificate authority, one node, its keys.");
        for hospital in &scene.hospitals {
            scene.prepare_member(hospital, *hospital == mary).await?;
            let (Hospital { id, name }, short) = (hospital, hospital.short());
            scene.tell.good(&format!("{name} ({id}) has a CA and a node; its private keys stay in {short}/"));
        }
        scene.tell.step("They found the network: parts are exchanged, inspected and endorsed.");
        scene.ceremony(&scene.hospitals, "demo", &[], true).await?;
        scene.tell.good(&format!("only public files were exchanged: {}", scene.exchanged()?));
        let inspected = scene.cli.ask(&format!("network inspect {}/genesis.pb", mary.short())).await?;
        scene.tell.quote_lines(inspected.out.lines().take(5));
        scene.tell.step("Each hospital starts its node.");
        let mut network = scene.settle(&scene.hospitals, "", true).await?;
        network.start_all()?;
        let input = Input::lay_out(folder.path())?;
        let story = Self { scene, network, input, mary, lakeside, harbour };
        for hospital in &story.scene.hospitals {
            let node = story.node_of(hospital)?;
            let (name, pid, endpoint) = (&hospital.name, node.pid()?, node.endpoint());
            story.scene.tell.good(&format!("{name}: process {pid}, clients on {endpoint}, ready"));
        }
        Ok(story)
    }

    fn node_of(&self, hospital: &Hospital) -> anyhow::Result<&Node> {
        Ok(&self.network.nodes[self.network.of_member(&hospital.id)?])
    }

    pub(crate) fn hospital_of(&self, node: usize) -> anyhow::Result<&Hospital> {
        let id = &self.network.members[node].id;
        self.scene.hospitals.iter().find(|hospital| hospital.id == *id).with_context(|| format!("who is {id}?"))
    }

    async fn connect_services(&self) -> anyhow::Result<()> {
        let Self { scene, mary, lakeside, harbour, .. } = self;
        scene.tell.step("Three hospitals connect a service each, which enrols its keys on the ledger.");
        private_folder(&scene.path("services-only"))?;
        scene.cli.ask(&format!("keys search --out {SEARCH_KEY}")).await?;
        for hospital in [mary, lakeside, harbour] {
            scene.connect_service(hospital, "ehr", &scene.path(SEARCH_KEY), hospital == mary).await?;
            scene.tell.good(&format!("spiffe://{}/service/ehr is enrolled", hospital.id));
        }
        scene.tell.say("The services share one search key among themselves. No node ever sees it.");
        Ok(())
    }

    /// St Mary's custodian, which wraps keys for those whom patients let read.
    async fn run_custodian(&self) -> anyhow::Result<Running> {
        let Self { scene, mary, .. } = self;
        scene.tell.step("St Mary's names a custodian: it can open what the hospital writes, and lets others in.");
        scene.connect_service(mary, "custodian", &scene.path(SEARCH_KEY), false).await?;
        scene.connect_admin(mary, false).await?;
        let keeper = format!("spiffe://{}/service/custodian", mary.id);
        scene.cli.show(&format!("{} custodian set-key {keeper}", mary.acts("admin"))).await?;
        let running = scene.cli.start(&format!("{} custodian run", mary.acts("custodian")))?;
        scene.tell.good("it runs; what is written from now on is encrypted for it, and for nobody else outside");
        Ok(running)
    }

    /// Answers with the first certified transaction.
    async fn submit(&self) -> anyhow::Result<String> {
        let Self { scene, input, mary, .. } = self;
        scene.tell.step("St Mary's service submits a synthetic patient's records.");
        let import = format!("{} import {} --journal {}/first.journal", mary.acts("ehr"), input.first, mary.short());
        scene.cli.show(&import).await?;
        let journal = scene.home(mary).join("first.journal");
        certified(&journal).pop_first().context("the import certified nothing")
    }

    /// Answers with the patient's pseudonym.
    async fn consent(&self) -> anyhow::Result<String> {
        let Self { scene, input, mary, lakeside, .. } = self;
        scene.tell.step("The patient signs at St Mary's that Lakeside may read the records to treat.");
        let own = format!("{} --output json record query --patient-file {} --limit 1", mary.acts("ehr"), input.patient);
        let pseudonym = scene.cli.ask(&own).await?.values("patient")?;
        let pseudonym = pseudonym.into_iter().next().context("St Mary's finds no record of its patient")?;
        let scan = format!("{}/consent.txt", mary.short());
        fs::write(scene.path(&scan), "Lakeside may read my records to treat me. Signed on paper.\n")?;
        let grant = format!("--base break-glass-only --share-with {} --purpose TREAT", lakeside.id);
        scene.cli.show(&format!("{} consent put {pseudonym} {grant} --paper {scan} --yes", mary.acts("ehr"))).await?;
        scene.tell.good("the consent is on the ledger with a salted hash of the paper, and binds St Mary's records");
        Ok(pseudonym)
    }

    async fn find_and_open(&self) -> anyhow::Result<()> {
        let Self { scene, input, lakeside, harbour, .. } = self;
        let tell = &scene.tell;
        let pseudonym = self.consent().await?;
        tell.step("Lakeside's service finds and opens them; Harbour's, whom the patient did not name, finds nothing.");
        let patient = input.patient;
        let found = self.query(lakeside, &format!("--patient-file {patient} --limit 10000")).await?;
        anyhow::ensure!(!found.is_empty(), "Lakeside found no records");
        tell.good(&format!("Lakeside found {} records of the patient by a blinded search", found.len()));
        let found = self.query(lakeside, &format!("--patient-file {patient} --kind Patient --limit 1")).await?;
        let record = found.first().context("no Patient resource was found")?;
        let file = format!("{}/patient.json", lakeside.short());
        let get = format!("record get {record} --pseudonym {pseudonym} --out {file}");
        scene.cli.ask(&format!("{} {get}", lakeside.acts("ehr"))).await?;
        let opened = fs::read_to_string(scene.path(&file))?;
        anyhow::ensure!(input.holds(&opened), "the opened record is not what was submitted");
        tell.good(&format!("it decrypted the Patient resource: {} bytes, byte for byte as submitted", opened.len()));
        let hidden = self.query(harbour, &format!("--patient-file {patient}")).await?;
        anyhow::ensure!(hidden.is_empty(), "Harbour sees records that are not for it");
        tell.good("Harbour's query gives an empty list");
        Ok(())
    }

    /// Ids of the records that a service finds.
    async fn query(&self, hospital: &Hospital, options: &str) -> anyhow::Result<Vec<String>> {
        let answer =
            self.scene.cli.ask(&format!("{} --output json record query {options}", hospital.acts("ehr"))).await?;
        answer.values("record_id")
    }

    /// KEEP=1.
    fn leave_running(self, folder: &StoryFolder) -> anyhow::Result<()> {
        let Self { scene, network, input, mary, .. } = self;
        scene.tell.step("The network is started again and left running.");
        let http = network.nodes[network.of_member(&mary.id)?].http;
        let members: Vec<_> = network.members.iter().map(|member| member.dir.clone()).collect();
        for (home, pid) in members.iter().zip(network.leave_running()?) {
            kept::note_node(home, pid)?;
        }
        folder.keep()?;
        let (at, short, patient) = (folder.path().display(), mary.short(), input.patient);
        let programs = consilium_e2e::cli_binary()?;
        let programs = programs.parent().context("a program has a folder")?.display();
        println!(
            "\n   Talk to it as St Mary's service:\n     \
             export PATH=\"{programs}:$PATH\" CONSILIUM_CONFIG=\"{at}/{short}/ehr/config.toml\"\n     \
             consilium status --all\n     \
             consilium record query --patient-file \"{at}/{patient}\"\n     \
             consilium watch --after 0\n   \
             Logs: {at}/*/node/node.log\n   \
             Metrics: http://{http}/metrics\n   \
             Stop and remove it: make clean-demo"
        );
        Ok(())
    }
}
