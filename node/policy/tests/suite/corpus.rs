//! The golden corpus: facts, what the floor says, and what the default policy says, checked in.
//! Another version of the engine must give the same, on any stack.
//!
//! It is made by [`cases`]: blocks of all combinations of a few things, the rest left as in
//! `Case::new`. After a change that is meant, `cargo test -p consilium-policy --release --
//! --ignored write_corpus` writes it anew, and the difference is reviewed line by line.

use std::thread;

use consilium_policy::{DEFAULT_POLICY, Engine, Policies};
use consilium_proto::consent::Said;
use consilium_proto::names::Role;
use consilium_proto::pb::{AccessGround as Ground, Confidentiality, PatientRelation, PurposeOfUse as P};
use consilium_proto::purpose;

use crate::case::{CONSENTS, CUSTODIAN, Case, FOREIGN, KINDS};
use crate::model;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/default.txt");
const CORPUS: &str = include_str!("../corpus/default.txt");
const HEADER: &str = "# reader overdue kind purpose confidentiality author restricted accepted care consent emergency \
                      forbidden | floor | decision";

const READERS: [Role; 5] = [Role::Service, Role::Clinician, Role::Researcher, Role::Patient, Role::Device];
const PURPOSES: [P; 13] = [
    P::Treat,
    P::Etreat,
    P::Hpaymt,
    P::Hoperat,
    P::Recordmgt,
    P::Hresch,
    P::Clintrchpc,
    P::Patrqt,
    P::Famrqt,
    P::Threat,
    P::Hmarkt,
    P::Btg,
    P::Ertreat,
];
/// By what somebody may read.
const STANDINGS: [fn(Case) -> Case; 9] = [
    by_author,
    own,
    |case| Case { consent: Said::Permits { by_name: true }, ..own(case) },
    |case| case,
    |case| Case { consent: Said::Permits { by_name: false }, ..case },
    |case| Case { consent: Said::Permits { by_name: true }, ..case },
    |case| Case { accepted_as: Some(PatientRelation::Self_), ..case },
    |case| Case { accepted_as: Some(PatientRelation::Guardian), ..case },
    |case| Case { emergency: true, ..case },
];

fn by_author(case: Case) -> Case {
    let case = own(case);
    Case { author: case.reader.to_string(), ..case }
}

/// At the member that wrote the record.
fn own(case: Case) -> Case {
    let reader = Case::new(CUSTODIAN, case.reader.role(), case.purpose).reader;
    Case { reader, ..case }
}

/// What those of a role ask for most.
fn usual(role: Role) -> P {
    match role {
        Role::Researcher => P::Hresch,
        Role::Patient => P::Patrqt,
        _ => P::Treat,
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in READERS {
        let ordinary = |purpose| Case::new(FOREIGN, role, purpose);
        // Every role, standing and group of purposes.
        let all = PURPOSES.iter().flat_map(|purpose| STANDINGS.map(|standing| standing(ordinary(*purpose))));
        cases.extend(all);
        for standing in STANDINGS {
            let usual = standing(ordinary(usual(role)));
            let btg = standing(ordinary(P::Btg));
            // Every standing with each thing that narrows.
            cases.push(Case { confidentiality: Confidentiality::Restricted, ..usual.clone() });
            cases.push(Case { confidentiality: Confidentiality::VeryRestricted, ..usual.clone() });
            cases.push(Case { confidentiality: Confidentiality::VeryRestricted, ..btg.clone() });
            cases.push(Case { overdue: 1, ..usual.clone() });
            cases.push(Case { overdue: u64::MAX, ..btg.clone() });
            cases.push(Case { restricted: true, ..usual.clone() });
            cases.push(Case { consent: Said::RuleDenies, ..usual.clone() });
            cases.push(Case { consent: Said::BaseDenies, ..usual.clone() });
            cases.push(Case { emergency_forbidden: true, ..btg });
        }
        // Own staff, with care and without, and all that consents say.
        for (consent, _) in CONSENTS {
            let staff = Case { consent, ..own(ordinary(P::Coc)) };
            cases.extend([false, true].map(|under_care| Case { under_care, ..staff.clone() }));
        }
    }
    // Every purpose, and every kind.
    for purpose in purpose::all() {
        cases.push(Case { consent: Said::Permits { by_name: true }, ..Case::new(FOREIGN, Role::Clinician, purpose) });
        cases.push(own(Case::new(FOREIGN, Role::Service, purpose)));
    }
    let read = Case { consent: Said::Permits { by_name: true }, ..Case::new(FOREIGN, Role::Clinician, P::Treat) };
    cases.extend(KINDS.map(|(kind, _)| Case { kind, ..read.clone() }));
    cases.extend([Role::Node, Role::Admin, Role::Auditor].map(|role| own(Case::new(FOREIGN, role, P::Hoperat))));
    let mut distinct = Vec::new();
    cases.into_iter().for_each(|case| {
        if !distinct.contains(&case) {
            distinct.push(case)
        }
    });
    distinct
}

fn name(ground: Ground) -> &'static str {
    ground.as_str_name().trim_start_matches("ACCESS_GROUND_")
}

/// The cases of the file with its decisions.
pub(crate) fn golden() -> Vec<(Case, Ground)> {
    let parse = |line: &str| {
        let mut parts = line.split(" | ");
        let (case, floor, decision) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let ground = |name: &str| Ground::from_str_name(&format!("ACCESS_GROUND_{name}")).unwrap();
        let case: Case = case.parse().unwrap();
        assert_eq!(case.facts().floor(), ground(floor), "{line}");
        (case, ground(decision))
    };
    CORPUS.lines().filter(|line| !line.starts_with('#')).map(parse).collect()
}

fn on_stack(bytes: usize, run: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(bytes).spawn(run).unwrap().join().unwrap();
}

fn agrees(policies: &Policies, golden: &[(Case, Ground)]) {
    for (case, decision) in golden {
        assert_eq!(policies.decide(&case.facts()), Ok(*decision), "{case}");
    }
}

#[test]
fn the_file_is_what_is_enumerated() {
    let golden = golden();
    assert!(golden.iter().map(|(case, _)| case).eq(cases().iter()), "see the module");
    assert!(golden.len() > 500, "{}", golden.len());
    for (case, decision) in &golden {
        assert_eq!(model::decide(case), *decision, "{case}");
    }
}

#[test]
fn decisions_are_golden_on_any_stack() {
    for bytes in [2 * 1024 * 1024, 64 * 1024] {
        on_stack(bytes, || agrees(&Policies::compile(DEFAULT_POLICY).unwrap(), &golden()));
    }
}

#[test]
fn decisions_are_the_same_again_and_from_many_threads() {
    let engine = Engine::new();
    let policies = engine.policies(DEFAULT_POLICY).unwrap();
    let golden = golden();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..3).for_each(|_| agrees(&policies, &golden)));
        }
    });
    for (case, decision) in &golden {
        assert_eq!(engine.decide(DEFAULT_POLICY, &case.facts()), Ok(*decision), "{case}");
    }
}

#[test]
fn every_policy_of_the_default_matters() {
    let golden = golden();
    let policies: Vec<&str> = DEFAULT_POLICY.split("\n@id(").collect();
    assert_eq!(policies.len(), 15);
    for left_out in 1..policies.len() {
        let rest = policies.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, text)| *text);
        let rest = Policies::compile(&rest.collect::<Vec<_>>().join("\n@id(")).unwrap();
        let differs = golden.iter().any(|(case, decision)| rest.decide(&case.facts()) != Ok(*decision));
        assert!(differs, "@id({}", policies[left_out]);
    }
}

#[test]
#[ignore = "writes the corpus"]
fn write_corpus() {
    let policies = Policies::compile(DEFAULT_POLICY).unwrap();
    let line = |case: &Case| {
        let facts = case.facts();
        format!("{case} | {} | {}\n", name(facts.floor()), name(policies.decide(&facts).unwrap()))
    };
    let lines: String = cases().iter().map(line).collect();
    std::fs::write(FILE, format!("{HEADER}\n{lines}")).unwrap();
}
