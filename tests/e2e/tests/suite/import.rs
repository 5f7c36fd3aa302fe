//! The command line: import of FHIR files, and the same bytes back.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use consilium_e2e::{Exit, Network, User, cli_binary, run_to_end, shared_folder};
use consilium_proto::names::Role;
use serde_json::Value;

fn cli(user: &User, network: &Network, arguments: &[&str]) -> anyhow::Result<Exit> {
    let config = user.config_file(network.folder())?;
    let mut command = Command::new(cli_binary()?);
    command.arg("--config").arg(config).args(["--output", "json"]).args(arguments);
    run_to_end(&mut command, &network.genesis_path)
}

/// The result in a JSON document of the command line, behind what it has said on stderr.
fn result(output: &str) -> anyhow::Result<Value> {
    let document = output.lines().find(|line| line.starts_with('{')).context("no document")?;
    Ok(serde_json::from_str::<Value>(document)?["result"].take())
}

fn ok(exit: Exit) -> anyhow::Result<String> {
    anyhow::ensure!(exit.code == Some(0), "{:?}\n{}", exit.code, exit.output);
    Ok(exit.output)
}

fn first_of(folder: &Path, extension: &str) -> anyhow::Result<PathBuf> {
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == extension) {
            files.push((path.metadata()?.len(), path));
        }
    }
    // The smallest: the whole folder is the demo's business.
    files.into_iter().min().map(|(_, path)| path).context("no file")
}

#[test]
fn imported_resources_come_back_byte_for_byte() {
    let Some(fhir) = shared_folder("data/fhir") else { return };
    Network::of(3).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let reader = network.enrolled(0, Role::Service, "custodian").await?;
        let input = network.folder().join("input");
        std::fs::create_dir(&input)?;
        let examples: Vec<PathBuf> =
            std::fs::read_dir(fhir.join("hl7-examples"))?.map(|e| Ok(e?.path())).collect::<anyhow::Result<_>>()?;
        let bundle = first_of(&fhir.join("bundles"), "json")?;
        let bulk = first_of(&fhir.join("bulk-ndjson"), "ndjson")?;
        for path in examples.iter().chain([&bundle, &bulk]) {
            std::fs::copy(path, input.join(path.file_name().unwrap()))?;
        }
        let folder = input.display().to_string();
        let journal = network.folder().join("journal").display().to_string();
        let admin = network.enrolled(0, Role::Admin, "registrar").await?;
        ok(cli(&admin, network, &["custodian", "set-key", &reader.spiffe_id])?)?;
        let arguments = ["import", &folder, "--journal", &journal];
        let summary = result(&ok(cli(&user, network, &arguments)?)?)?;
        assert_eq!(summary["refused"], 0, "{summary}");
        let records = summary["records"].as_u64().unwrap();
        assert!(records > examples.len() as u64, "{summary}");

        // A second run writes nothing.
        let again = result(&ok(cli(&user, network, &arguments)?)?)?;
        assert_eq!((again["records"].as_u64(), again["records_known"].as_u64()), (Some(0), Some(records)), "{again}");

        // Another service of the member, which is its custodian.
        let member = network.members[0].id.clone();
        let query = ["record", "query", "--member", &member, "--limit", "100000"];
        let found = result(&ok(cli(&reader, network, &query)?)?)?;
        let found = found.as_array().context("a list of records")?;
        assert_eq!(found.len() as u64, records);
        let mut sources: Vec<String> = Vec::new();
        for path in examples.iter().chain([&bundle, &bulk]) {
            sources.push(std::fs::read_to_string(path)?);
        }
        let out = network.folder().join("out");
        for (number, entry) in found.iter().enumerate() {
            // A few of each kind are enough: every `get` is a process.
            if number % (found.len() / 40 + 1) != 0 {
                continue;
            }
            let id = entry["record_id"].as_str().context("an id")?;
            let _ = std::fs::remove_file(&out);
            ok(cli(&reader, network, &["record", "get", id, "--out", &out.display().to_string()])?)?;
            let resource = std::fs::read_to_string(&out)?;
            let kind = entry["kind"].as_str().context("a kind")?;
            assert!(serde_json::from_str::<Value>(&resource)?["resourceType"] == kind);
            assert!(sources.iter().any(|source| source.contains(&resource)), "not byte-identical: {kind}");
        }
        Ok(())
    });
}

#[test]
fn one_document_through_the_command_line() {
    Network::of(1).run(async |network| {
        network.custodian(0).await?;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let file = network.folder().join("observation.json");
        let text = "{\"resourceType\":\"Observation\", \"id\":\"o1\",\n \"status\":\"final\",\
                    \"code\":{\"text\":\"x\"},\"subject\":{\"reference\":\"Patient/p1\"}}\n";
        std::fs::write(&file, text)?;
        ok(cli(&user, network, &["record", "submit", &file.display().to_string()])?)?;
        let file = |name: &str, line: &str| {
            let path = network.folder().join(name);
            std::fs::write(&path, line).map(|()| path.display().to_string())
        };
        let (whose, tag) = (file("patient.txt", "Patient/p1\n")?, file("tag.txt", "id=Observation/o1\n")?);
        let found = ok(cli(&user, network, &["record", "query", "--patient-file", &whose])?)?;
        let found = result(&found)?;
        let tagged = ok(cli(&user, network, &["record", "query", "--tag-file", &tag])?)?;
        assert_eq!(result(&tagged)?, found);
        let id = found[0]["record_id"].as_str().context("one record")?.to_owned();
        let out = network.folder().join("out.json");
        ok(cli(&user, network, &["record", "get", &id, "--out", &out.display().to_string()])?)?;
        assert_eq!(std::fs::read_to_string(&out)?, text, "the file, byte for byte");
        ok(cli(&user, network, &["record", "history", &id])?)?;
        let status = ok(cli(&user, network, &["status"])?)?;
        assert!(status.contains(&network.genesis.ledger_id.to_string()) || status.contains("leader"), "{status}");
        // Receipts, from the command line, offline.
        let txid = found[0]["transaction_id"].as_str().context("a transaction")?;
        let receipt = network.folder().join("receipt.pb").display().to_string();
        ok(cli(&user, network, &["receipt", "get", txid, "--out", &receipt])?)?;
        network.nodes[0].stop()?;
        ok(cli(&user, network, &["receipt", "verify", &receipt])?)?;
        let mut bytes = std::fs::read(&receipt)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&receipt, bytes)?;
        let exit = cli(&user, network, &["receipt", "verify", &receipt])?;
        assert_eq!(exit.code, Some(1), "a tampered receipt: {}", exit.output);
        Ok(())
    });
}

/// Eight spellings of one reference, and one of another hospital's patient.
const SPELLINGS: [&str; 8] = [
    "Patient/p1",
    "/Patient/p1",
    "Patient/p1/",
    "Patient/p1/_history/3",
    "Patient/%701",
    "https://ehr.st-mary.example/fhir/Patient/p1",
    "HTTP://EHR.st-mary.example:80/fhir/Patient/p1/_history/1",
    "https://ehr.st-mary.example:443/fhir/Patient/p1",
];

fn observation_of(patient: &str) -> String {
    format!(
        "{{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{{\"text\":\"x\"}},\
         \"subject\":{{\"reference\":\"{patient}\"}}}}"
    )
}

#[test]
fn one_patient_in_eight_spellings_has_one_pseudonym() {
    Network::of(1).run(async |network| {
        network.custodian(0).await?;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let input = network.folder().join("input");
        std::fs::create_dir(&input)?;
        for (number, spelling) in SPELLINGS.iter().chain(&["https://lab.example/fhir/Patient/p1"]).enumerate() {
            std::fs::write(input.join(format!("{number}.json")), observation_of(spelling))?;
        }
        // Some of them are none by the rules of R4, and are written all the same.
        let base = ["--fhir-base", "https://ehr.st-mary.example/fhir", "--fhir-validation", "warn"];
        let folder = input.display().to_string();
        let summary = result(&ok(cli(&user, network, &[&["import", &folder], &base[..]].concat())?)?)?;
        assert_eq!(summary["records"], 9, "{summary}");
        let whose = network.folder().join("patient.txt");
        std::fs::write(&whose, "Patient/p1\n")?;
        let found = ok(cli(&user, network, &["record", "query", "--patient-file", &whose.display().to_string()])?)?;
        assert_eq!(result(&found)?.as_array().context("a list")?.len(), SPELLINGS.len());
        Ok(())
    });
}

#[test]
fn an_import_says_what_it_could_not_take() {
    Network::of(1).run(async |network| {
        network.custodian(0).await?;
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let input = network.folder().join("input");
        std::fs::create_dir(&input)?;
        std::fs::write(input.join("notes.txt"), "x")?;
        let folder = input.display().to_string();
        let nothing = cli(&user, network, &["import", &folder])?;
        assert_eq!(nothing.code, Some(1), "{}", nothing.output);
        assert!(nothing.output.contains("1 other file: notes.txt"), "{}", nothing.output);

        let nobody = "{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{\"text\":\"y\"}}";
        let entries = [observation_of("Patient/p1"), nobody.to_owned(), observation_of("Patient/p2")]
            .map(|resource| format!("{{\"resource\":{resource}}}"));
        let bundle =
            format!("{{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"entry\":[{}]}}", entries.join(","));
        std::fs::write(input.join("bundle.json"), bundle)?;
        let journal = network.folder().join("journal").display().to_string();
        let import = |how: &str| {
            let exit = cli(&user, network, &["import", &folder, "--journal", &journal, "--bundles", how])?;
            assert_eq!(exit.code, Some(1), "{}", exit.output);
            result(&exit.output)
        };
        let whole = import("whole")?;
        assert_eq!((&whole["records"], &whole["refused"]), (&0.into(), &1.into()), "{whole}");
        let in_part = import("by-type")?;
        assert_eq!((&in_part["records"], &in_part["resources_refused"]), (&2.into(), &1.into()), "{in_part}");
        assert_eq!(in_part["refused_documents"][0]["path"], "Bundle.entry[1].Observation", "{in_part}");
        let again = import("each")?;
        assert_eq!((&again["records"], &again["records_known"]), (&0.into(), &2.into()), "{again}");
        Ok(())
    });
}
