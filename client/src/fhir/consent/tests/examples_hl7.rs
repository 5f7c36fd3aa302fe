//! HL7's own examples of R4, read from the shared data.

use std::path::PathBuf;

use consilium_proto::consent::{Period, Rule};
use consilium_proto::pb::{ConsentBase, ConsentEffect};

use super::*;

/// The folder of examples, unless it is absent.
fn folder() -> Option<PathBuf> {
    let shared = std::env::var_os("CONSILIUM_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let folder = shared.join("data/fhir/hl7-examples");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: vectors absent at {}", folder.display());
    None
}

type Expected = Result<(Grant, Vec<(&'static str, Gap)>), (&'static str, Problem)>;

fn expected(name: &str) -> Expected {
    let within = |from, to| Grant {
        period: Period { from: TimeMs(from), to: TimeMs(to) },
        ..Grant::of_base(ConsentBase::BasicNormal)
    };
    const HOUR: u64 = 3_600_000;
    let untyped = |path| Err((path, Problem::Unrepresentable(Gap::UntypedRoot)));
    match name {
        // Until the last moment that is still 2016-01-01 everywhere.
        "basic" => {
            Ok((within(0, 1_451_692_800_000 - 14 * HOUR), vec![("Consent.provision.period", Gap::PeriodOfForce)]))
        }
        // Its narrative means the time that is withheld; its elements are those of `basic`.
        "notTime" => {
            let period = within(1_420_070_400_000 + 12 * HOUR, 1_422_835_200_000 - 14 * HOUR);
            Ok((period, vec![("Consent.provision.period", Gap::PeriodOfForce)]))
        }
        "notAuthor" | "notThem" | "signature" => untyped("Consent.provision.actor"),
        "Emergency" => {
            let everything = Rule::of_effect(ConsentEffect::Deny);
            let grant = Grant { rules: vec![everything], ..Grant::of_base(ConsentBase::BreakGlassOnly) };
            let widened = vec![
                ("Consent.provision.actor", Gap::UntypedRoot),
                ("Consent.provision.purpose", Gap::UntypedRoot),
                ("Consent.provision.provision[0].actor[0].role", Gap::Role),
            ];
            Ok((grant, widened))
        }
        _ => panic!("{name} is new: say what is to come out"),
    }
}

#[test]
fn each_comes_out_as_written_here() {
    let Some(folder) = folder() else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let Some(name) = name.strip_prefix("Consent-consent-example-") else { continue };
        let found = translate(&std::fs::read(&path).unwrap(), &mapping());
        match (found, expected(name)) {
            (Ok(found), Ok((grant, widened))) => {
                assert_eq!(found.grant, grant, "{name}");
                let found: Vec<_> = found.widened.iter().map(|w| (w.path.as_str(), w.why)).collect();
                assert_eq!(found, widened, "{name}");
            }
            (found, expected) => {
                let problem = found.unwrap_err();
                let (path, what) = expected.unwrap_err();
                assert_eq!((problem.path.as_str(), problem.problem), (path, what), "{name}");
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 6);
}
