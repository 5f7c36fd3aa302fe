//! A sealed disclosure over real nodes: auditors see it, the patient its hash, and it counts.

use std::path::Path;

use consilium_client::access_log::KeptAccess;
use consilium_client::disclosures::{new_disclosure_id, new_seal};
use consilium_client::patients::Acceptance;
use consilium_e2e::{Exit, run_to_end};
use consilium_proto::ids::TimeMs;
use consilium_proto::transaction::Disclose;

use super::*;

const ANNA: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

/// To the police, and kept from the patient.
fn sealed(patient: PatientPseudonym, until: TimeMs) -> Disclose {
    Disclose {
        id: new_disclosure_id(),
        patient,
        basis: pb::DisclosureBasis::Crime,
        order: Hash::of(&[b"salted order"]),
        records: Vec::new(),
        recipient: pb::DisclosureRecipient::Police,
        recipient_hash: Hash::of(&[b"salted name"]),
        seal: Some(new_seal(until, pb::SealBasis::Investigation, Hash::of(&[b"salted secrecy"]))),
    }
}

/// What an auditor prints and exports for the patient has nothing of what the patient must not see.
fn sealed_lines_are_not_handed_on(network: &Network, auditor: &User, patient: &str) -> anyhow::Result<()> {
    let file = |name: &str| network.folder().join(name).display().to_string();
    let (page, events, own) = (file("page.html"), file("events.ndjson"), file("own.ndjson"));
    let said = network.cli(auditor, &["access", "log", patient])?.output;
    assert!(said.contains("kept from the patient until"), "{said}");
    for line in [
        vec!["access", "log", patient, "--html", &page],
        vec!["access", "export", patient, &events],
        vec!["access", "export", patient, &own, "--sealed"],
    ] {
        let done = network.cli(auditor, &line)?;
        assert_eq!(done.code, Some(0), "{}", done.output);
    }
    let has_police = |file: &str| anyhow::Ok(std::fs::read_to_string(file)?.to_lowercase().contains("police"));
    assert_eq!((has_police(&page)?, has_police(&events)?, has_police(&own)?), (false, false, true));
    assert!(std::fs::read_to_string(&page)?.contains("is sealed until"));
    Ok(())
}

/// Verifies a file with the genesis document, and with nothing else of the network.
fn verify_offline(network: &Network, file: &Path) -> anyhow::Result<Exit> {
    let mut command = Command::new(cli_binary()?);
    command.args(["--output", "json", "--genesis"]).arg(&network.genesis_path).args(["access", "verify"]).arg(file);
    run_to_end(&mut command, &network.genesis_path)
}

/// Both lists as files prove the same without a network, and nothing once a byte is another.
fn whole_lists_are_files(network: &Network, auditor: &User, patient: &str) -> anyhow::Result<()> {
    let file = |name: &str| network.folder().join(name);
    let (log, records) = (file("log.pb"), file("records.pb"));
    for (command, path) in [(["access", "log"], &log), (["patient", "records"], &records)] {
        let path = path.display().to_string();
        let done = network.cli(auditor, &[&command[..], &[patient, "--proof", &path]].concat())?;
        assert_eq!(done.code, Some(0), "{}", done.output);
    }
    for (path, proves) in [(&log, "access_log"), (&records, "record_lists")] {
        let verified = verify_offline(network, path)?;
        assert!(verified.code == Some(0) && verified.output.contains(proves), "{}", verified.output);
        let mut bytes = std::fs::read(path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let tampered = path.with_extension("tampered");
        std::fs::write(&tampered, bytes)?;
        let refused = verify_offline(network, &tampered)?;
        assert!(refused.code.is_some_and(|code| code != 0), "{}", refused.output);
    }
    let told = verify_offline(network, &log)?.output;
    assert!(told.contains("\"sealed\"") && !told.to_lowercase().contains("police"), "{told}");
    Ok(())
}

#[test]
fn a_sealed_entry_counts_for_the_patient_and_opens_when_its_time_is_over() {
    Network::of(3).run(async |network| {
        let of = hospital(network).await?;
        let anna = network.enrolled(0, Role::Patient, ANNA).await?;
        let acceptance = Acceptance {
            identity: anna.spiffe_id.parse()?,
            relation: pb::PatientRelation::Self_,
            may_read: true,
            may_consent: false,
            to: None,
            evidence: Hash::of(&[b"salted passport"]),
            scope: None,
        };
        of.ehr.client.accept_patient(of.patient, &acceptance).await?;
        let auditor = network.enrolled(0, Role::Auditor, "privacy").await?;

        let until = TimeMs(consilium_client::clock::now_ms() + 40_000);
        let draft = sealed(of.patient, until);
        of.ehr.client.disclose(&draft).await?;
        let before = anna.client.access_log(of.patient, KeptLog::nothing()).await?;
        assert_eq!(before.count, 1, "whom the hospital has accepted, and nothing else");
        let before = before.kept_access();
        let confirmed = auditor.client.confirm_disclosure(draft.id).await?;
        let access = Access { sealed_by: Some(draft.id), ..Access::of(PurposeOfUse::Hlegal) };
        read(&of.ehr.client, access, &of).await?;

        let whole = auditor.client.access_log(of.patient, before.clone()).await?;
        assert_eq!((whole.events.len(), whole.sealed.len()), (2, 0));
        let shown = anna.client.access_log(of.patient, before.clone()).await?;
        let handed_on = whole.clone().without_sealed();
        assert_eq!((handed_on.events, handed_on.sealed), (shown.events.clone(), shown.sealed.clone()));
        sealed_lines_are_not_handed_on(network, &auditor, &of.patient.to_string())?;
        whole_lists_are_files(network, &auditor, &of.patient.to_string())?;
        assert_eq!((shown.events.len(), shown.sealed.len(), shown.count), (0, 2, 3));
        let error = anna.client.decision(confirmed.transaction_id).await.unwrap_err();
        assert!(matches!(error, ClientError::Status { code: Code::NotFound, .. }), "{error:?}");

        // Who watches is told when the time is over, and of nothing before; also who begins with
        // what was kept.
        let kept: KeptAccess = shown.kept_access().to_string().parse()?;
        let mut notices = anna.client.notices(Some(of.patient), Height(0), before);
        let mut resumed = anna.client.notices(Some(of.patient), Height(0), kept.clone());
        // Block time passes by blocks.
        let opens = async {
            loop {
                let other =
                    pb::RegisterPatient { patient: rand::random::<[u8; 16]>().to_vec().into(), ..Default::default() };
                of.ehr.client.perform(pb::action::Action::RegisterPatient(other)).await?;
                let log = anna.client.access_log(of.patient, kept.clone()).await?;
                if log.header.time >= until {
                    return anyhow::Ok(log);
                }
            }
        };
        let (opened, first, second) = tokio::join!(
            opens,
            tokio::time::timeout(2 * PATIENCE, notices.next()),
            tokio::time::timeout(2 * PATIENCE, resumed.next())
        );
        let opened = opened?;
        for told in [first??, second??] {
            let Notice::Accesses(told) = told else { panic!("{told:?}") };
            assert_eq!((told.events, told.opened, told.sealed.len()), (Vec::new(), whole.events.clone(), 0));
        }
        assert_eq!((opened.events.len(), opened.sealed.len()), (0, 0));
        assert_eq!(opened.opened, whole.events);
        of.ehr.client.attest_care(of.patient, TimeMs(0), Hash::of(&[b"nothing"])).await?;
        // What was said of its care is shown to the patient, and not to who writes elsewhere.
        let care = anna.client.patient_rows(of.patient).await?.care.unwrap_or_default();
        let said = care.iter().map(|care| (care.member.as_str(), care.state.to_ms)).collect::<Vec<_>>();
        assert_eq!(said, [(network.members[0].id.as_str(), 0)]);
        assert_eq!(of.ehr.client.patient_rows(of.patient).await?.care, None);
        assert_eq!(opened.opened[0].disclosed.as_ref().map(|to| to.recipient), Some(pb::DisclosureRecipient::Police));
        Ok(())
    });
}
