//! What patients, readers and privacy officers look at, by the shipped command line: the contents,
//! and that who lacks the role gets nothing.

use anyhow::Context;
use consilium_client::changes::{Fate, KnownChange};
use consilium_client::disclosures::new_disclosure_id;
use consilium_client::emergencies::Declaration;
use consilium_proto::transaction::Disclose;
use serde_json::Value;

use super::*;

/// A patient of the first hospital, whose record a doctor of the second one has read.
struct Scene {
    of: Hospital,
    doctor: User,
    /// Of the second hospital.
    ehr: User,
    officers: [User; 2],
    /// A clinician of the first hospital without any other role.
    nosy: User,
}

async fn scene(network: &Network) -> anyhow::Result<Scene> {
    let of = hospital(network).await?;
    let doctor = network.enrolled(1, Role::Clinician, "doctor").await?;
    let ehr = network.enrolled(1, Role::Service, "ehr").await?;
    let officers =
        [network.enrolled(0, Role::Auditor, "privacy").await?, network.enrolled(1, Role::Auditor, "privacy").await?];
    let nosy = network.enrolled(0, Role::Clinician, "nosy").await?;
    let grantees = vec![Grantee::Member(network.members[1].id.parse()?)];
    let permit = Rule { grantees, ..Rule::of_effect(ConsentEffect::Permit) };
    let grant = Grant { rules: vec![permit], ..Grant::of_base(ConsentBase::BreakGlassOnly) };
    let mut draft = ConsentDraft::new(of.patient, grant, Some(Hash::of(&[b"salted scan"])));
    Consents::new(of.ehr.client.clone()).put(&mut draft).await?;
    assert_eq!(read(&doctor.client, Access::of(PurposeOfUse::Treat), &of).await?, b"what was seen");
    Ok(Scene { of, doctor, ehr, officers, nosy })
}

/// The result of a command.
fn told(network: &Network, user: &User, line: &str) -> anyhow::Result<Value> {
    let words: Vec<&str> = ["--output", "json"].into_iter().chain(line.split(' ')).collect();
    let exit = network.cli(user, &words)?;
    anyhow::ensure!(exit.code == Some(0), "{line}: {}", exit.output);
    let document = exit.output.lines().find(|line| line.starts_with('{')).context("no document")?;
    Ok(serde_json::from_str::<Value>(document)?["result"].take())
}

fn refused(network: &Network, user: &User, line: &str) -> anyhow::Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    let exit = network.cli(user, &words)?;
    anyhow::ensure!(exit.code.is_some_and(|code| code > 0), "{line}: {}", exit.output);
    anyhow::ensure!(!exit.output.contains("what was seen"), "{}", exit.output);
    Ok(())
}

fn lines(file: &std::path::Path) -> anyhow::Result<Vec<Value>> {
    std::fs::read_to_string(file)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Who it was, and whether it was permitted, of AuditEvents.
fn users(events: &[Value]) -> Vec<(String, String)> {
    let user = |event: &Value| {
        let of = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        (of("/agent/2/who/identifier/value"), of("/outcome"))
    };
    events.iter().map(user).collect()
}

async fn disclosed(network: &Network, scene: &Scene) -> anyhow::Result<()> {
    let Scene { of, officers, nosy, .. } = scene;
    let draft = Disclose {
        id: new_disclosure_id(),
        patient: of.patient,
        basis: pb::DisclosureBasis::CourtOrder,
        order: Hash::of(&[b"salted order"]),
        records: Vec::new(),
        recipient: pb::DisclosureRecipient::Court,
        recipient_hash: Hash::of(&[b"salted name"]),
        seal: None,
    };
    of.ehr.client.disclose(&draft).await?;
    let waiting = |user: &User| -> anyhow::Result<Vec<String>> {
        let list = told(network, user, "disclosure list --waiting")?;
        let ids = list["disclosures"].as_array().into_iter().flatten();
        Ok(ids.map(|disclosure| disclosure["disclosure"].as_str().unwrap_or_default().to_owned()).collect())
    };
    let id = draft.id.to_string();
    assert_eq!((waiting(&officers[0])?, waiting(&of.ehr)?), (vec![id.clone()], vec![id]));
    assert_eq!((waiting(&officers[1])?, waiting(nosy)?), (vec![], vec![]), "it is not theirs");
    officers[0].client.confirm_disclosure(draft.id).await?;
    assert_eq!(waiting(&officers[0])?, [""; 0]);
    let all = told(network, &officers[0], "disclosure list")?;
    assert_eq!(all["disclosures"][0]["confirmed_by"], officers[0].spiffe_id.as_str());
    Ok(())
}

#[test]
fn a_patients_list_is_exported_and_accounted_for_to_whom_it_may_be() {
    Network::of(3).run(async |network| {
        let scene = Box::pin(scene(network)).await?;
        let Scene { of, doctor, officers, nosy, .. } = &scene;
        assert!(is_not_found(read(&nosy.client, Access::of(PurposeOfUse::Hmarkt), of).await));
        disclosed(network, &scene).await?;
        let file = network.folder().join("audit.ndjson");
        let line = |file: &std::path::Path| format!("access export {} {} --names", of.patient, file.display());
        let done = told(network, &officers[0], &line(&file))?;
        let events = lines(&file)?;
        assert_eq!((&done["events"], &done["resources"]), (&4.into(), &4.into()));
        let [permitted, denied] = ["0", "8"].map(str::to_owned);
        // The first is the consent.
        let expected = [
            (of.ehr.spiffe_id.clone(), permitted.clone()),
            (doctor.spiffe_id.clone(), permitted.clone()),
            (nosy.spiffe_id.clone(), denied),
            (of.ehr.spiffe_id.clone(), permitted),
        ];
        assert_eq!(users(&events), expected);
        for event in &events {
            assert_eq!(event["resourceType"], "AuditEvent");
            let whose = event.pointer("/entity/0/what/identifier/value").and_then(Value::as_str);
            assert_eq!(whose, Some(of.patient.to_string().as_str()));
        }
        // From what was kept on there is nothing new.
        let kept = done["keep"].as_str().context("keep")?;
        let again = network.folder().join("again.ndjson");
        let since = told(network, &officers[0], &format!("{} --since {kept}", line(&again)))?;
        assert_eq!((&since["events"], lines(&again)?.len()), (&0.into(), 0));

        let accounting = told(network, &officers[0], &format!("access accounting {} --all", of.patient))?;
        let entries = accounting["entries"].as_array().context("entries")?;
        let of_law: Vec<_> = entries.iter().filter(|entry| entry["left_out"].is_null()).collect();
        assert_eq!(
            (of_law.len(), &of_law[0]["recipient"], &of_law[0]["purpose"]),
            (1, &"a court".into(), &"HLEGAL".into())
        );
        assert_eq!(accounting["left_out"]["operations"], 1, "treatment by the second hospital: {accounting}");

        let none = network.folder().join("none.ndjson");
        refused(network, nosy, &line(&none))?;
        refused(network, nosy, &format!("access accounting {}", of.patient))?;
        refused(network, doctor, &line(&none))?;
        assert!(!none.exists());
        Ok(())
    });
}

#[test]
fn privacy_officers_see_what_their_people_did_and_who_holds_keys() {
    Network::of(3).run(async |network| {
        let Scene { of, doctor, officers, nosy, .. } = Box::pin(scene(network)).await?;
        let feed = told(network, &officers[1], "access feed --all")?;
        assert_eq!((&feed["member"], &feed["accesses"]), (&network.members[1].id.as_str().into(), &1.into()));
        let entry = &feed["entries"][0];
        assert_eq!((&entry["name"], &entry["patient"]), (&"doctor".into(), &of.patient.to_string().into()));
        let up_to = &feed["up_to"];
        assert_eq!(told(network, &officers[1], &format!("access feed --after {up_to}"))?["accesses"], 0);
        refused(network, &nosy, "access feed")?;

        let file = network.folder().join("staff.ndjson");
        let line = format!("access export --member {} --names", file.display());
        let done = told(network, &officers[1], &line)?;
        assert_eq!((&done["events"], &done["member"]), (&1.into(), &network.members[1].id.as_str().into()));
        assert_eq!(users(&lines(&file)?), [(doctor.spiffe_id.clone(), "0".to_owned())]);
        refused(network, &officers[1], &line)?;
        let since = network.folder().join("since.ndjson");
        let line = format!("access export --member {} --after {}", since.display(), done["up_to"]);
        assert_eq!(told(network, &officers[1], &line)?["events"], 0);
        refused(network, &nosy, &format!("access export --member {}", network.folder().join("no.ndjson").display()))?;

        let holders = told(network, &officers[0], &format!("access holders {}", of.patient))?;
        let version = &holders["versions"][0];
        assert_eq!((&version["record"], &version["version"]), (&of.record.to_string().into(), &1.into()));
        let known = version["holders"].as_array().context("holders")?;
        let mut identities: Vec<_> = known.iter().filter_map(|holder| holder["identity"].as_str()).collect();
        identities.sort_unstable();
        let mut expected = [of.keeper.spiffe_id.as_str(), &of.ehr.spiffe_id, &doctor.spiffe_id];
        expected.sort_unstable();
        assert_eq!(identities, expected);
        refused(network, &nosy, &format!("access holders {}", of.patient))?;

        // The own administrator says of which unit the doctor is, and the next access has it.
        let admin = network.enrolled(1, Role::Admin, "units").await?;
        let assign = format!("identity unit {} W-07", doctor.spiffe_id);
        refused(network, &doctor, &assign)?;
        assert_eq!(told(network, &admin, &assign)?["outcome"], "OUTCOME_APPLIED");
        assert_eq!(told(network, &nosy, &format!("identity show {}", doctor.spiffe_id))?["unit"], "W-07");
        assert_eq!(read(&doctor.client, Access::of(PurposeOfUse::Treat), &of).await?, b"what was seen");
        let listed = told(network, &officers[0], &format!("access log {}", of.patient))?;
        let units: Vec<_> = listed["events"].as_array().context("events")?.iter().map(|event| &event["unit"]).collect();
        assert_eq!(units, [&Value::Null, &Value::Null, &"W-07".into()], "what was entered before stays: {listed}");
        Ok(())
    });
}

async fn next_change(notices: &mut Notices) -> anyhow::Result<KnownChange> {
    match tokio::time::timeout(PATIENCE, notices.next()).await?? {
        Notice::Change(change) => Ok(change),
        other => anyhow::bail!("{other:?} was not asked for"),
    }
}

/// The only change that a command tells somebody of; `None` if of none.
fn change_of(network: &Network, user: &User) -> anyhow::Result<Option<Value>> {
    let mut changes = told(network, user, "access changes")?;
    let mut records = changes["records"].as_array_mut().context("records")?.drain(..);
    let first = records.next();
    anyhow::ensure!(records.next().is_none(), "more than one");
    Ok(first)
}

#[test]
fn former_readers_are_told_of_what_changed_and_nobody_else_is() {
    Network::of(4).run(async |network| {
        let Scene { of, doctor, ehr, officers, nosy } = Box::pin(scene(network)).await?;
        // Another doctor of the same hospital who was denied, and one who has only declared.
        let other = network.enrolled(1, Role::Clinician, "other").await?;
        let denied = read(&other.client, Access::of(PurposeOfUse::Hmarkt), &of).await;
        assert!(is_not_found(denied));
        let stranger = network.enrolled(2, Role::Clinician, "stranger").await?;
        stranger.client.declare_emergency(&mut Declaration::new(of.patient, EmergencyReason::Danger)).await?;
        let mut watching = doctor.client.change_notices(Height(0));
        let mut for_staff = ehr.client.change_notices(Height(0));

        let writer = RecordWriter::new(of.ehr.client.clone()).await?;
        let draft = RecordDraft::document("note", of.patient, "what was seen later".into());
        writer.amend(of.record, draft, LabelsBefore::Kept, pb::WaitFor::Certified).await?;
        for notices in [&mut watching, &mut for_staff] {
            let change = next_change(notices).await?;
            assert_eq!((change.record, change.version, change.fate), (of.record, 2, Fate::Amended));
            let [read] = &change.reads[..] else { panic!("{:?}", change.reads) };
            assert_eq!((read.version, &read.reader.to_string(), read.patient), (1, &doctor.spiffe_id, of.patient));
            // What it says of the reading, its own event proves.
            let proven = doctor.client.decision(read.transaction_id).await?.event;
            assert_eq!((proven.height, proven.reader.to_string()), (read.height, doctor.spiffe_id.clone()));
        }
        for user in [&other, &stranger, &nosy, &officers[0], &officers[1], &of.ehr] {
            assert_eq!(change_of(network, user)?, None, "{}", user.spiffe_id);
        }
        // Who was away is told the same, by whichever node.
        network.nodes[1].kill9()?;
        let told_doctor = change_of(network, &doctor)?.context("nothing")?;
        assert_eq!((&told_doctor["fate"], &told_doctor["version"]), (&"amended".into(), &2.into()));
        assert_eq!(change_of(network, &ehr)?.context("nothing")?["reads"], told_doctor["reads"]);
        let up_to = told(network, &doctor, "access changes")?["up_to"].clone();
        assert_eq!(
            told(network, &doctor, &format!("access changes --since {up_to}"))?["records"],
            Value::Array(vec![])
        );

        let readers = told(network, &officers[0], &format!("access former-readers {}", of.record))?;
        let reader = &readers["readers"][0];
        assert_eq!((&reader["reader"], &reader["version"]), (&doctor.spiffe_id.as_str().into(), &1.into()));
        assert_eq!((&readers["newest"], &reader["outdated"]), (&2.into(), &true.into()));
        refused(network, &nosy, &format!("access former-readers {}", of.record))?;

        is_told_of_a_move(network, &of, &doctor, &mut watching).await
    });
}

/// To who has read it, and not to which patient it was moved.
async fn is_told_of_a_move(
    network: &Network,
    of: &Hospital,
    doctor: &User,
    watching: &mut Notices,
) -> anyhow::Result<()> {
    assert_eq!(read(&doctor.client, Access::of(PurposeOfUse::Treat), of).await?, b"what was seen later");
    let right = PatientPseudonym(rand::random());
    let register = pb::RegisterPatient { patient: right.0.to_vec().into(), lookups_sha256: Vec::new() };
    of.ehr.client.perform(pb::action::Action::RegisterPatient(register)).await?;
    told(network, &of.ehr, &format!("record move {} --to {right}", of.record))?;
    let moved = loop {
        // A node that died may have told of the amendment before, and another tells it again.
        let change = next_change(watching).await?;
        if change.fate == Fate::Misfiled {
            break change;
        }
    };
    assert_eq!((moved.record, moved.version, moved.reads[0].version), (of.record, 3, 2));
    let told_doctor = change_of(network, doctor)?.context("nothing")?;
    assert_eq!((&told_doctor["fate"], &told_doctor["version"]), (&"misfiled".into(), &3.into()));
    assert!(!told_doctor.to_string().contains(&right.to_string()));
    Ok(())
}
