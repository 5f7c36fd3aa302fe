//! The fourth story: what a patient may say about the own records, and what becomes of it. Every
//! sentence that a person would write is written with the shipped command line.

use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Instant;

use anyhow::Context;
use consilium_client::Profile;
use consilium_client::files::{self, SECRET_MODE};
use consilium_e2e::{Network, User, cli_binary, lying_entry, run_to_end};
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::names::{Role, new_patient_name};
use consilium_proto::pb::{self, PatientRelation, action::Action};
use prost::Message;
use serde_json::Value;

use crate::tell::Tell;

const NOTE: &str = "Blood pressure 150/95. Started lisinopril.";
const MISTAKE: &str = "I take ramipril, not lisinopril.";
/// From the declaration of an emergency to the decrypted record, milliseconds.
const GOAL_MS: u128 = 2_000;
const CORRECTED: &str = "Blood pressure 150/95. Started ramipril.";

/// Hospital 0 holds the records, hospital 1 wants to read them.
struct Rights {
    network: Network,
    tell: Rc<Tell>,
    ehr: User,
    anna: User,
    doctor: User,
    colleague: User,
    reviewer: User,
    patient: PatientPseudonym,
    record: String,
    /// Ends with the story.
    _custodian: Custodian,
}

/// A custodian as it is run.
struct Custodian(Child);

impl Drop for Custodian {
    fn drop(&mut self) {
        // Nothing can be done about a process that is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn tell(tell: &Rc<Tell>) -> anyhow::Result<()> {
    tell.title("Consilium: whose records they are");
    let story = Rights::begin(tell).await?;
    story.strangers_see_nothing()?;
    let consent = story.share()?;
    story.withdraw(&consent)?;
    story.deny()?;
    story.emergency()?;
    story.correct()?;
    story.list()?;
    story.forged_file()?;
    story.forged_list().await
}

impl Rights {
    async fn begin(tell: &Rc<Tell>) -> anyhow::Result<Self> {
        tell.step("Three hospitals run a network. Anna is a patient of the first; it wrote one note about her.");
        let network = Network::of(3).build().await?;
        let admin = network.enrolled(0, Role::Admin, "registrar").await?;
        let keeper = network.enrolled(0, Role::Service, "custodian").await?;
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let anna = network.enrolled(0, Role::Patient, &new_patient_name()?).await?;
        let doctor = network.enrolled(1, Role::Clinician, "c-4711").await?;
        let colleague = network.enrolled(1, Role::Clinician, "c-4712").await?;
        let reviewer = network.enrolled(1, Role::Auditor, "privacy-officer").await?;
        let patient = PatientPseudonym(rand::random());
        let register = pb::RegisterPatient { patient: patient.0.to_vec().into(), lookups_sha256: Vec::new() };
        ehr.client.perform(Action::RegisterPatient(register)).await?;
        let accept = pb::AcceptPatient {
            patient: patient.0.to_vec().into(),
            identity: anna.spiffe_id.clone(),
            relation: PatientRelation::Self_.into(),
            may_read: true,
            may_consent: true,
            evidence_sha256: vec![0; 32].into(),
            ..pb::AcceptPatient::default()
        };
        ehr.client.perform(Action::AcceptPatient(accept)).await?;
        let named = network.cli(&admin, &["custodian", "set-key", &keeper.spiffe_id])?;
        anyhow::ensure!(named.code == Some(0), "{}", named.output);
        let custodian = Custodian(run_custodian(&network, &keeper)?);
        let record = write(&ehr, patient).await?;
        tell.good("the note is encrypted for the hospital's custodian; no node can open it");
        Ok(Self {
            network,
            tell: Rc::clone(tell),
            ehr,
            anna,
            doctor,
            colleague,
            reviewer,
            patient,
            record,
            _custodian: custodian,
        })
    }

    /// A command line of a person, and what it says.
    fn say(&self, who: &str, user: &User, line: &str) -> anyhow::Result<String> {
        let (code, output) = self.run(who, user, line)?;
        anyhow::ensure!(code == Some(0), "{output}");
        Ok(output)
    }

    fn refused(&self, who: &str, user: &User, line: &str, why_wrong: &str) -> anyhow::Result<()> {
        let (code, output) = self.run(who, user, line)?;
        anyhow::ensure!(code.is_some_and(|code| code != 0), "{why_wrong}");
        self.tell.quote_lines(output.lines().filter(|line| line.starts_with("error")));
        Ok(())
    }

    fn run(&self, who: &str, user: &User, line: &str) -> anyhow::Result<(Option<i32>, String)> {
        self.tell.command(&format!("consilium {line}    ({who})"));
        let words: Vec<&str> = line.split(' ').collect();
        let config = user.config_file(&self.network.members[user.member].dir)?;
        let mut command = Command::new(cli_binary()?);
        // What a node said falsely is kept where the command runs.
        command.current_dir(self.network.folder()).arg("--config").arg(config).args(words);
        let exit = run_to_end(&mut command, &self.network.genesis_path)?;
        Ok((exit.code, exit.output))
    }

    fn get(&self, more: &str) -> String {
        let Self { record, patient, .. } = self;
        format!("record get {record} --pseudonym {patient}{more}")
    }

    fn strangers_see_nothing(&self) -> anyhow::Result<()> {
        self.tell.step("A doctor of the second hospital asks for it. Nobody has permitted that.");
        self.refused("the doctor", &self.doctor, &self.get(""), "the doctor could read without consent")?;
        self.tell.good("to the doctor the note does not exist; the question stands in Anna's list");
        Ok(())
    }

    /// Answers with the consent's id.
    fn share(&self) -> anyhow::Result<String> {
        self.tell.step("Anna lets the second hospital read, to treat her. She signs with her own key.");
        let (patient, member) = (self.patient, &self.network.members[1].id);
        let line = format!(
            "--output json consent put {patient} --base break-glass-only --share-with {member} --purpose TREAT --yes"
        );
        let said = self.say("Anna", &self.anna, &line)?;
        let consent = field(&said, "consent")?;
        let read = self.say("the doctor", &self.doctor, &self.get(""))?;
        anyhow::ensure!(read.contains(NOTE), "{read}");
        self.tell.quote(NOTE);
        self.tell.good("the custodian wrapped the key for this doctor, after the network had certified the permit");
        Ok(consent)
    }

    fn withdraw(&self, consent: &str) -> anyhow::Result<()> {
        self.tell.step("Anna takes it back. It holds from that block on.");
        self.say("Anna", &self.anna, &format!("consent revoke {consent} --yes"))?;
        self.refused("the doctor", &self.doctor, &self.get(""), "the doctor could read after the withdrawal")?;
        self.tell.say("What the doctor read before, nothing takes back, and the page for patients says so.");
        Ok(())
    }

    fn deny(&self) -> anyhow::Result<()> {
        self.tell.step("The doctor is her neighbour. She lets the hospital read again, but not this doctor.");
        let (patient, member, doctor) = (self.patient, &self.network.members[1].id, &self.doctor.spiffe_id);
        let line = format!(
            "consent put {patient} --base break-glass-only --share-with {member} --deny {doctor} --purpose TREAT --yes"
        );
        self.say("Anna", &self.anna, &line)?;
        let read = self.say("a colleague", &self.colleague, &self.get(""))?;
        anyhow::ensure!(read.contains(NOTE), "{read}");
        self.tell.quote(NOTE);
        self.refused("the doctor", &self.doctor, &self.get(""), "the doctor could read although she had forbidden it")?;
        self.tell.good("a denial wins over every permit");
        Ok(())
    }

    fn emergency(&self) -> anyhow::Result<()> {
        self.tell.step("Anna is brought in unconscious. The doctor declares an emergency and reads at once.");
        let line = format!("emergency declare {} --reason danger --read {} --yes", self.patient, self.record);
        let begun = Instant::now();
        let read = self.say("the doctor", &self.doctor, &line)?;
        let took_ms = begun.elapsed().as_millis();
        anyhow::ensure!(read.contains(NOTE), "{read}");
        self.tell.quote(NOTE);
        let judged = if took_ms <= GOAL_MS { "within" } else { "LATER THAN" };
        self.tell.good(&format!(
            "from the declaration to the decrypted record: {took_ms} ms, {judged} the goal of {GOAL_MS} ms"
        ));
        let emergency = read.lines().find_map(|line| line.strip_prefix("emergency ")).context("no emergency")?;
        self.tell.say("It ends by itself after four hours, is in Anna's list, and somebody else must review it:");
        let line = format!("emergency review {emergency} --verdict justified --yes");
        self.say("the privacy officer", &self.reviewer, &line)?;
        self.tell.good("reviewed");
        Ok(())
    }

    fn correct(&self) -> anyhow::Result<()> {
        self.tell.step("Anna reads her own record, finds a mistake, and asks the hospital to put it right.");
        let own = self.get(" --purpose PATRQT");
        let read = self.say("Anna", &self.anna, &own)?;
        anyhow::ensure!(read.contains(NOTE), "{read}");
        for (name, text) in [("mistake.txt", MISTAKE), ("corrected.txt", CORRECTED)] {
            files::write_new(&self.network.folder().join(name), text.as_bytes(), SECRET_MODE)?;
        }
        let (patient, record, member) = (self.patient, &self.record, &self.network.members[0].id);
        let line = format!(
            "--output json petition open {patient} --to {member} --about correction --record {record}:1 --text mistake.txt"
        );
        let petition = field(&self.say("Anna", &self.anna, &line)?, "petition")?;
        self.say("the hospital", &self.ehr, &format!("record amend {record} corrected.txt --raw"))?;
        let line = format!("petition answer {petition} --grant --amended 2 --yes");
        self.say("the hospital", &self.ehr, &line)?;
        self.tell.good("who is asked must answer in time; what it answers stays");
        let read = self.say("Anna", &self.anna, &own)?;
        anyhow::ensure!(read.contains(CORRECTED), "{read}");
        self.tell.quote(CORRECTED);
        self.tell.good("the old version stays in the history: what a doctor relied on can be looked up");
        let told = self.say("the doctor", &self.doctor, "access changes")?;
        anyhow::ensure!(told.contains("it was amended"), "{told}");
        self.tell.quote(&told);
        self.tell.good("who has read a version learns that it was amended, and nothing else of it");
        Ok(())
    }

    fn list(&self) -> anyhow::Result<()> {
        self.tell.step("Anna asks who has read, or tried to, with proof that nothing was left out.");
        let said = self.say("Anna", &self.anna, &format!("access log {} --proof list.pb", self.patient))?;
        self.tell.quote(&said);
        Ok(())
    }

    /// The file is Anna's, and proves the list without any node.
    fn forged_file(&self) -> anyhow::Result<()> {
        self.tell.step("Anybody verifies her file with the genesis document alone. Somebody changes a byte in a copy.");
        let said = self.say("Anna", &self.anna, "access verify list.pb")?;
        self.tell.quote_lines(said.lines().filter(|line| line.starts_with("whole up to")));
        let mut forged = std::fs::read(self.network.folder().join("list.pb"))?;
        let middle = forged.len() / 2;
        forged[middle] ^= 1;
        files::write_new(&self.network.folder().join("forged.pb"), &forged, SECRET_MODE)?;
        self.refused("Anna", &self.anna, "access verify forged.pb", "a forged file was believed")
    }

    /// The node that Anna talks to leaves out what she should not see.
    async fn forged_list(&self) -> anyhow::Result<()> {
        self.tell.step("A node leaves the doctor's first attempt out of her list.");
        let endpoints = vec![lying_entry(&self.network, 0, &self.anna, without_the_attempt).await?];
        let liar = User {
            profile: Profile { endpoints, nodes_of: None, ..self.anna.profile.clone() },
            spiffe_id: self.anna.spiffe_id.clone(),
            client: self.anna.client.clone(),
            serial: self.anna.serial.clone(),
            member: self.anna.member,
        };
        self.refused("Anna", &liar, &format!("access log {}", self.patient), "a forged list was believed")?;
        self.tell.good("the certified state names the number of entries and the root of their tree");
        Ok(())
    }
}

/// Before it stands only that Anna was accepted.
fn without_the_attempt(call: &str, told: &[u8]) -> Option<Vec<u8>> {
    let mut answer = (call == "GetAccessLog").then(|| pb::GetAccessLogResponse::decode(told))?.ok()?;
    (answer.events.len() > 1).then(|| answer.events.remove(1))?;
    Some(answer.encode_to_vec())
}

fn run_custodian(network: &Network, keeper: &User) -> anyhow::Result<Child> {
    let folder = network.folder().join("custodian");
    std::fs::create_dir(&folder)?;
    let mut command = Command::new(cli_binary()?);
    command.arg("--config").arg(keeper.config_file(&folder)?).args(["custodian", "run"]);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// Answers with the record's id.
async fn write(ehr: &User, patient: PatientPseudonym) -> anyhow::Result<String> {
    use consilium_client::records::{Draft, RecordDraft, RecordWriter};
    let draft = RecordDraft::document("note", patient, NOTE.into());
    let writer = RecordWriter::new(ehr.client.clone()).await?;
    let written = writer.write(vec![Draft::new(draft)], pb::WaitFor::Certified).await?;
    let record = written.first().and_then(|(_, ids)| ids.first()).context("nothing was written")?;
    Ok(record.to_string())
}

/// A field of the result of a command.
fn field(output: &str, name: &str) -> anyhow::Result<String> {
    let document = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).next_back();
    let value = document.as_ref().and_then(|document| document["result"][name].as_str());
    value.map(str::to_owned).with_context(|| format!("no {name} in {output}"))
}
