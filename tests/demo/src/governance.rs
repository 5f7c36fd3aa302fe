//! The second story: how five hospitals govern one ledger, with the command line
//! alone. Stake elects validators, Raft follows; one joins, one is suspended,
//! one is caught lying and forgiven.

use std::fs;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use consilium_e2e::{Network, Node, eventually_async};

use crate::cli::Answer;
use crate::folder::StoryFolder;
use crate::input::{Input, certified};
use crate::scene::{Hospital, Scene, hospital};
use crate::tell::Tell;

/// Epochs of some seconds and four seats, so that there is something to see.
const PARAMETERS: [&str; 5] =
    ["epoch_ms=4000", "max_validators=4", "hysteresis_percent=0", "unbonding_epochs=1", "jail_missed_percent=100"];
const INVITATION: &str = "exchange/greenfield.invitation.pb";
const SEARCH_KEY: &str = "search.key";
/// For an epoch to end.
pub(crate) const EPOCH_TIMEOUT: Duration = Duration::from_secs(40);

/// The story so far.
pub(crate) struct Government {
    pub(crate) scene: Scene,
    pub(crate) network: Network,
    founders: Vec<Hospital>,
    fifth: Hospital,
    /// An administrator whose member stays in good standing from here on.
    pub(crate) secretary: Hospital,
    /// The others, in the order in which they vote.
    pub(crate) voters: Vec<Hospital>,
    /// The very first record.
    first_transaction: String,
    /// The newest ballot.
    last_transaction: String,
}

/// Who plays which part, beside the secretary, who led when Greenfield had come.
pub(crate) struct Cast {
    giver: Hospital,
    pub(crate) suspended: Hospital,
    pub(crate) liar: Hospital,
}

pub(crate) async fn tell(folder: &StoryFolder, tell: &Rc<Tell>) -> anyhow::Result<()> {
    tell.title("Consilium: how five hospitals govern one ledger");
    println!("Everything happens in {}; commands are meant from there", folder.path().display());
    let mut story = Government::found(folder, tell).await?;
    story.admit().await?;
    story.join().await?;
    let cast = story.cast().await?;
    story.elect(&cast).await?;
    story.unseat_the_leader(&cast).await?;
    story.voters = vec![cast.giver.clone(), cast.liar.clone()];
    story.suspend(&cast.suspended).await?;
    story.catch_the_liar(&cast.liar).await?;
    story.voters = vec![cast.giver.clone(), cast.liar.clone(), story.fifth.clone()];
    story.forgive(&cast).await?;
    story.agree().await?;
    story.audit().await?;
    tell.step("Cleaned up.");
    Ok(())
}

impl Government {
    async fn found(folder: &StoryFolder, tell: &Rc<Tell>) -> anyhow::Result<Self> {
        tell.step("Four hospitals found a network: a hundred stake each, four seats, epochs of four seconds.");
        let founders = ["st-mary", "north-valley", "lakeside", "harbour"].map(hospital).to_vec();
        let fifth = hospital("greenfield");
        let scene = Scene::new(folder.path(), Rc::clone(tell), founders.clone())?;
        let network = scene.found_quietly(&founders, "governance", &PARAMETERS, "").await?;
        scene.cli.quietly(&format!("keys search --out {SEARCH_KEY}")).await?;
        for hospital in &founders {
            scene.connect_admin(hospital, false).await?;
        }
        let (secretary, voters) = founders.split_first().context("founders")?;
        let (secretary, voters) = (secretary.clone(), voters.to_vec());
        let first_transaction = first_record(&scene, &secretary).await?;
        let last_transaction = first_transaction.clone();
        let story = Self { scene, network, founders, fifth, secretary, voters, first_transaction, last_transaction };
        story.show_epoch().await?;
        Ok(story)
    }

    async fn admit(&mut self) -> anyhow::Result<()> {
        self.scene.tell.step("A fifth one, Greenfield Clinic, makes its part, and the four decide to let it in.");
        self.scene.prepare_member(&self.fifth, true).await?;
        self.decide(&format!("admit --part {}/part.pb", self.fifth.short())).await?;
        Ok(())
    }

    async fn join(&mut self) -> anyhow::Result<()> {
        let (scene, fifth) = (&self.scene, self.fifth.clone());
        scene.tell.step("It is invited, lays out its node's folder, and starts as a learner.");
        self.asks(&format!("member invite --member {} --node n1 --out {INVITATION}", fifth.id)).await?;
        let (member, node) = scene.found(&fifth)?;
        let Node { client, peer, http, .. } = node;
        let join = format!("member join --invitation {INVITATION} --dir {}/node", fifth.short());
        let listen = format!("--listen-client {client} --listen-peer {peer} --listen-http {http}");
        scene.cli.ask(&format!("{join} {listen}")).await?;
        fs::copy(node.dir.join("genesis.pb"), scene.genesis(&fifth))?;
        node.init()?;
        let position = self.network.adopt_joined(member, node, &scene.path(INVITATION)).await?;
        let node = &mut self.network.nodes[position];
        node.restart()?;
        let (pid, raft_id) = (node.pid()?, node.raft_id());
        let has = "has fetched and verified the ledger from the genesis on";
        scene.tell.good(&format!("{}: process {pid}, raft id {raft_id}, {has}", fifth.name));
        scene.connect_admin(&fifth, true).await?;
        self.waits_outside(&fifth).await?;
        self.show_epoch().await?;
        self.scene.tell.say("Five candidates, four seats: equal stake goes by age, so it waits outside.");
        Ok(())
    }

    /// Until an election has said why it has no seat.
    async fn waits_outside(&self, hospital: &Hospital) -> anyhow::Result<()> {
        let (epoch, node) =
            (format!("{} validators epoch", self.secretary.acts("admin")), format!("{}/n1", hospital.id));
        eventually_async("an election that knows Greenfield", EPOCH_TIMEOUT, || async {
            let answer = self.scene.cli.quietly(&epoch).await?;
            let outranked = |line: &str| line.contains(&node) && line.contains("others have more stake");
            anyhow::ensure!(answer.out.lines().any(outranked), "{}", answer.out);
            Ok(())
        })
        .await
    }

    /// The leader becomes the secretary; the others get their parts.
    async fn cast(&mut self) -> anyhow::Result<Cast> {
        let leader = self.network.leader().await?;
        let id = self.network.members[leader].id.clone();
        let (leads, others): (Vec<_>, Vec<_>) = self.founders.iter().cloned().partition(|hospital| hospital.id == id);
        self.secretary = leads.into_iter().next().context("Greenfield leads without a seat")?;
        let others: [Hospital; 3] = others.try_into().map_err(|_| anyhow::anyhow!("three others"))?;
        let [giver, suspended, liar] = others;
        self.voters = vec![giver.clone(), liar.clone(), suspended.clone()];
        Ok(Cast { giver, suspended, liar })
    }

    async fn elect(&self, cast: &Cast) -> anyhow::Result<()> {
        let Self { scene, fifth, secretary, .. } = self;
        let Cast { giver, suspended, liar } = cast;
        let puts = "puts 30 of its 100 stake on Greenfield's node, from the next epoch on.";
        scene.tell.step(&format!("{} {puts}", giver.name));
        let redelegate = format!("stake redelegate --from {}/n1 --to {}/n1 30", giver.id, fifth.id);
        scene.cli.show(&format!("{} {redelegate}", giver.acts("admin"))).await?;
        self.network.settled(&self.positions(&[secretary, suspended, liar, fifth])?).await?;
        self.show_epoch().await?;
        scene.tell.good(&format!("Greenfield is seated and votes in Raft; {} is outranked", giver.name));
        Ok(())
    }

    async fn unseat_the_leader(&self, cast: &Cast) -> anyhow::Result<()> {
        let Self { scene, network, fifth, secretary, .. } = self;
        let Cast { giver, suspended, liar } = cast;
        let leader = network.leader().await?;
        let gives = format!("half of its stake to {}'s node and thereby its own seat.", giver.name);
        anyhow::ensure!(network.members[leader].id == secretary.id, "leadership has moved already; run it again");
        scene.tell.step(&format!("{} leads; it gives {gives}", secretary.name));
        let redelegate = format!("stake redelegate --from {}/n1 --to {}/n1 50", secretary.id, giver.id);
        scene.cli.ask(&format!("{} {redelegate}", secretary.acts("admin"))).await?;
        let now = network.settled(&self.positions(&[giver, suspended, liar, fifth])?).await?;
        self.show_epoch().await?;
        network.nodes[leader].wait_log(&["handing leadership"]).context("the leader did not hand over")?;
        let (before, after) = (network.nodes[leader].raft_id(), now.leader);
        let handed = format!("handed leadership to node {after} before it left");
        scene.tell.good(&format!("node {before} had no seat any more and {handed}"));
        Ok(())
    }

    async fn agree(&self) -> anyhow::Result<()> {
        let Self { scene, network, secretary, .. } = self;
        scene.tell.step("All five nodes have the same state.");
        let (height, root) = network.agreed(0).await?;
        scene.tell.good(&format!("height {height}, state {}", hex::encode(root)));
        let endpoints: Vec<String> = network.nodes.iter().map(Node::endpoint).collect();
        let with = format!("--endpoints {}", endpoints.join(","));
        scene.cli.show(&format!("{} {with} status", secretary.acts("admin"))).await?;
        Ok(())
    }

    /// Receipts and the whole ledger, with the network down.
    async fn audit(&mut self) -> anyhow::Result<()> {
        let Self { scene, network, founders, fifth, first_transaction, last_transaction, .. } = self;
        let what = "The receipts of the very first record and of the last ballot verify offline";
        scene.tell.step(&format!("{what} from the genesis document alone."));
        let epochs = network.epoch().await?;
        let receipts = [(first_transaction, "first.receipt.pb"), (last_transaction, "last.receipt.pb")];
        for (transaction, file) in &receipts {
            let service = founders.first().context("a founder")?.acts("ehr");
            scene.cli.ask(&format!("{service} receipt get {transaction} --out {file}")).await?;
        }
        network.nodes.iter_mut().try_for_each(Node::stop)?;
        network.check_logs()?;
        let short = fifth.short();
        for (_, file) in &receipts {
            scene.cli.show(&format!("--genesis {short}/genesis.pb receipt verify {file}")).await?;
        }
        scene.tell.good(&format!("over {epochs} epochs, with the network down"));
        scene.tell.step("And so does the whole ledger, from the disk of the one that joined last.");
        let ledger = format!("ledger verify --data-dir {short}/node/data --genesis {short}/genesis.pb");
        scene.cli.show(&ledger).await?;
        Ok(())
    }

    // ---- used in several steps

    /// The secretary proposes, the others approve until it is accepted. Answers
    /// with the last ballot.
    pub(crate) async fn decide(&mut self, words: &str) -> anyhow::Result<Answer> {
        let (cli, tell) = (&self.scene.cli, &self.scene.tell);
        let secretary = self.secretary.acts("admin");
        let mut answer = cli.ask(&format!("{secretary} --output json governance propose {words} --yes")).await?;
        let number = answer.number("number")?;
        let told = answer.err.lines().skip_while(|line| !line.starts_with("what it does"));
        tell.quote_lines(told.take_while(|line| !line.is_empty()));
        for voter in &self.voters {
            if answer.text("status")? == "executed" {
                break;
            }
            let vote = format!("--output json governance vote {number} approve --yes");
            answer = cli.ask(&format!("{} {vote}", voter.acts("admin"))).await?;
        }
        anyhow::ensure!(answer.text("status")? == "executed", "proposal {number} was not accepted");
        let shown = cli.ask(&format!("{secretary} governance show {number}")).await?;
        tell.quote_lines(shown.out.lines().skip_while(|line| !line.starts_with("accepted with")));
        tell.good(&format!("proposal {number} is executed"));
        self.last_transaction = answer.text("transaction_id")?;
        Ok(answer)
    }

    /// As the secretary, shown.
    pub(crate) async fn asks(&self, words: &str) -> anyhow::Result<Answer> {
        self.scene.cli.show(&format!("{} {words}", self.secretary.acts("admin"))).await
    }

    pub(crate) async fn show_epoch(&self) -> anyhow::Result<()> {
        self.asks("validators epoch").await?;
        Ok(())
    }

    /// A service that follows, and its file of the search key.
    pub(crate) async fn connect_service(&self, hospital: &Hospital) -> anyhow::Result<()> {
        self.scene.connect_service(hospital, "ehr", &self.scene.path(SEARCH_KEY), false).await
    }

    fn positions(&self, hospitals: &[&Hospital]) -> anyhow::Result<Vec<usize>> {
        hospitals.iter().map(|hospital| self.network.of_member(&hospital.id)).collect()
    }
}

/// A record on the ledger from before all that happens here.
async fn first_record(scene: &Scene, hospital: &Hospital) -> anyhow::Result<String> {
    scene.connect_service(hospital, "ehr", &scene.path(SEARCH_KEY), false).await?;
    scene.connect_service(hospital, "custodian", &scene.path(SEARCH_KEY), false).await?;
    let keeper = format!("spiffe://{}/service/custodian", hospital.id);
    scene.cli.quietly(&format!("{} custodian set-key {keeper}", hospital.acts("admin"))).await?;
    let input = Input::made_up(&scene.folder)?;
    scene.cli.ask(&format!("{} import {} --journal first.journal", hospital.acts("ehr"), input.first)).await?;
    certified(&scene.path("first.journal")).pop_first().context("the first write was not certified")
}
