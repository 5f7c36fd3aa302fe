//! Patients: found by all hospitals under one pseudonym, of which nothing follows.

use consilium_client::ClientError;
use consilium_client::patients::Patients;
use consilium_e2e::{Network, User, eventually_async};
use consilium_proto::names::Role;
use consilium_proto::pb;
use std::time::Duration;
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(60);
const IDENTIFIER: &str = "urn:oid:2.16.840.1.113883|4711-secret";

fn patients(user: &User) -> anyhow::Result<Patients> {
    Ok(Patients::new(user.client.clone())?)
}

#[test]
fn hospitals_that_register_at_once_come_to_one_patient() {
    Network::of(4).run(async |network| {
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let ward = network.enrolled(0, Role::Clinician, "c-4711").await?;
        let lab = network.enrolled(1, Role::Service, "lab").await?;
        let users = [&ehr, &ward, &lab].map(patients);
        let users = users.into_iter().collect::<Result<Vec<_>, _>>()?;
        assert_eq!(users[0].find(IDENTIFIER).await?, None);
        let registered = users.iter().map(|patients| patients.ensure([IDENTIFIER, "urn:uuid:another"]));
        let registered = futures::future::try_join_all(registered).await?;
        let one = users[0].find(IDENTIFIER).await?.expect("registered");
        let other = users[0].find("urn:uuid:another").await?.expect("registered");
        assert_ne!(one, other);
        for patients in &users {
            // Asked anew, not remembered.
            assert_eq!(patients.find(IDENTIFIER).await?, Some(one));
            assert_eq!(patients.find("urn:uuid:another").await?, Some(other));
        }
        // Whoever registers looks again, and takes who was first.
        assert!(registered.iter().all(|found| found[IDENTIFIER] == one), "{registered:?}");
        // Another identifier of the same patient.
        users[2].add_lookups(one, &["lab|9".into()]).await?;
        assert_eq!(users[0].find("lab|9").await?, Some(one));
        // A node that was away finds the same.
        network.nodes[3].kill9()?;
        let late = users[0].ensure(["late|1"]).await?["late|1"];
        network.nodes[3].restart()?;
        let far = network.enrolled(3, Role::Service, "far").await?.at(&network.nodes[3]).await?;
        eventually_async("the node that was away", PATIENCE, || async {
            let found = far.resolve_patients(&[users[0].tag("late|1")]).await?;
            anyhow::ensure!(found.len() == 1 && found[0].patient == late, "{found:?}");
            Ok(())
        })
        .await?;
        Ok(())
    });
}

#[test]
fn only_those_who_write_find_patients() {
    Network::of(1).run(async |network| {
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let known = patients(&ehr)?.ensure([IDENTIFIER]).await?[IDENTIFIER];
        for role in [Role::Device, Role::Clinician] {
            assert_eq!(patients(&network.enrolled(0, role, "x").await?)?.find(IDENTIFIER).await?, Some(known));
        }
        for role in [Role::Admin, Role::Auditor, Role::Researcher, Role::Patient] {
            let user = network.enrolled(0, role, &"0b".repeat(16)).await?;
            let refused = patients(&user)?.find(IDENTIFIER).await.unwrap_err();
            let code = match &refused {
                ClientError::Status { code, .. } => *code,
                other => anyhow::bail!("{role}: {other:?}"),
            };
            assert_eq!(code, Code::PermissionDenied, "{role}");
        }
        let device = network.enrolled(0, Role::Device, "monitor").await?;
        let refused = patients(&device)?.ensure(["urn:uuid:new"]).await.unwrap_err();
        assert!(matches!(refused, ClientError::Rejected { outcome: pb::Outcome::RoleNotAllowed, .. }), "{refused:?}");
        Ok(())
    });
}

#[test]
fn identifiers_come_from_files_and_never_reach_a_node() {
    Network::of(1).run(async |network| {
        let ehr = network.enrolled(0, Role::Service, "ehr").await?;
        let file = network.folder().join("identifiers.txt");
        std::fs::write(&file, format!("{IDENTIFIER}\n\nPatient/17\n"))?;
        let file = file.display().to_string();
        let run = |arguments: &[&str]| -> anyhow::Result<String> {
            let told = network.cli(&ehr, arguments)?;
            anyhow::ensure!(told.code == Some(0), "{}", told.output);
            anyhow::ensure!(!told.output.contains("4711-secret"), "{}", told.output);
            Ok(told.output)
        };
        let nobody = run(&["patient", "find", &file])?;
        assert!(nobody.contains("line 1: nobody") && nobody.contains("line 3: nobody"), "{nobody}");
        let made = run(&["patient", "register", &file])?;
        let found = run(&["patient", "find", &file])?;
        let line = |text: &str, at: &str| text.lines().find(|line| line.starts_with(at)).map(str::to_owned);
        for at in ["line 1: ", "line 3: "] {
            assert!(line(&made, at).is_some() && line(&made, at) == line(&found, at), "{made}{found}");
        }
        network.nodes[0].stop()?;
        for needle in ["4711-secret", "Patient/17"] {
            assert_eq!(consilium_e2e::holds(&network.nodes[0].dir, needle.as_bytes())?, None, "{needle}");
        }
        Ok(())
    });
}
