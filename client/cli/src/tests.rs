#![allow(clippy::unwrap_used)]

use super::*;

mod documented;

#[test]
fn the_argument_tree_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn commands_of_patients_rights_parse() {
    let (id, transaction, root) = ("01".repeat(16), "05".repeat(32), "0a".repeat(32));
    let good = [
        format!(
            "consilium patient accept {id} --identity spiffe://a.example/patient/{id} --relation self --may-read --evidence f"
        ),
        format!(
            "consilium patient accept {id} --identity spiffe://a.example/patient/{id} --relation guardian --until +30d --evidence f"
        ),
        format!("consilium patient withdraw {id} --identity spiffe://a.example/patient/{id} --evidence f --yes"),
        format!("consilium patient link {id} {} --evidence f", "02".repeat(16)),
        format!("consilium patient unlink {id} {}", "02".repeat(16)),
        format!("consilium patient care {id} --until +30d --evidence f"),
        format!("consilium patient care {id} --ended --evidence f"),
        format!("consilium patient show {id}"),
        format!("consilium consent put {id} --fhir f --mapping m --paper p --yes"),
        format!("consilium consent put {id} --base break-glass-only --share-with b.example --purpose TREAT --up-to N"),
        format!("consilium consent put {id} --base deny --replaces {id}"),
        format!("consilium consent put {id} --base all-normal --deny clinician@b.example"),
        format!("consilium consent revoke {id} --yes"),
        format!("consilium consent list {id}"),
        format!(
            "consilium consent check {id} --reader spiffe://b.example/clinician/c --purpose TREAT --kind Observation --level R"
        ),
        format!("consilium emergency declare {id} --reason danger --read {id} --read {id}:2 --acting f --yes"),
        format!("consilium emergency declare {id} --reason danger --read {id} --out f"),
        format!("consilium emergency review {id} --verdict not-justified --note f"),
        format!("consilium access log {id} --since 3:{root} --names --html f"),
        format!("consilium --output json access decision {transaction}"),
    ];
    for line in good {
        assert!(parses(&line), "{line}");
    }
    let bad = [
        format!("consilium patient accept {id} --identity spiffe://a.example/patient/{id} --relation self"),
        format!("consilium patient care {id} --evidence f"),
        format!("consilium patient care {id} --ended --until +1d --evidence f"),
        format!("consilium consent put {id}"),
        format!("consilium consent put {id} --fhir f"),
        format!("consilium consent put {id} --fhir f --mapping m --base deny"),
        format!("consilium consent put {id} --fhir f --mapping m --share-with b.example"),
        format!("consilium consent put {id} --base deny --up-to N"),
        format!("consilium consent put {id} --base deny --share-with b.example --purpose treat"),
        format!("consilium emergency declare {id}"),
        format!("consilium emergency declare {id} --reason danger --out f"),
        format!("consilium emergency review {id}"),
        format!("consilium access log {id} --since {root}"),
        format!("consilium access decision {id}"),
    ];
    for line in bad {
        assert!(!parses(&line), "{line}");
    }
}

fn parses(line: &str) -> bool {
    Cli::try_parse_from(line.split_whitespace()).is_ok()
}

#[test]
fn commands_of_governance_and_membership_parse() {
    let good = [
        "consilium governance propose admit --part p --stake 5 --reason r --expires 12h --yes",
        "consilium governance propose --yes suspend a.example",
        "consilium governance propose rotate-ca a.example --bundle f --without-overlap",
        "consilium governance propose add-node a.example --name n1 --peer h:1 --client h:2 --vote-key f.pub",
        "consilium governance propose replace-node a.example/n1 --peer h:1 --vote-key f.pub",
        "consilium governance propose retire-node 3",
        "consilium governance propose allot-stake a.example 0",
        "consilium governance propose set-parameter epoch_ms=60000 quorum=2/3",
        "consilium governance propose access-policy --file f",
        "consilium governance propose lift-penalty 1",
        "consilium governance propose activate-protocol 2 --height 1000",
        "consilium governance vote 3 approve --yes",
        "consilium governance vote 3 reject",
        "consilium --output json governance list --all",
        "consilium validators epoch",
        "consilium validators epoch 0",
        "consilium validators keys",
        "consilium validators keys 3 --jwk f",
        "consilium validators evidence f",
        "consilium validators evidence f --leaf 0101010101010101010101010101010101010101010101010101010101010101",
        "consilium validators maintenance a.example/n1 --from 2026-11-21T22:00:00Z --for 2h",
        "consilium validators maintenance 4 --for 7d",
        "consilium stake delegate --to spiffe://a.example/node/n1 5",
        "consilium stake redelegate --from 1 --to b.example/n1 5",
        "consilium stake show",
        "consilium member invite --member a.example --node n1 --out f",
        "consilium member join --invitation f --dir d --listen-client 127.0.0.1:1",
        "consilium node register --name n2 --peer h:1 --client h:2 --dir d",
        "consilium node replace 3 --dir d --yes",
        "consilium node replace a.example/n1 --vote-key f.pub --out i",
        "consilium node retire 3",
    ];
    for line in good {
        assert!(parses(line), "{line}");
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let bad = [
        "consilium governance propose",
        "consilium governance propose suspend",
        "consilium governance propose set-parameter",
        "consilium governance propose suspend a.example --expires 1m",
        "consilium governance propose suspend a.example --expires 90d",
        "consilium governance propose activate-protocol 2",
        "consilium governance vote 3 abstain",
        "consilium governance vote approve",
        "consilium validators maintenance 4",
        "consilium validators maintenance 4 --for 8d",
        "consilium validators release n1",
        "consilium validators evidence f --leaf 01",
        "consilium stake delegate --to 1 0",
        "consilium stake delegate 5",
        "consilium stake undelegate --from 0 5",
        "consilium node register --name n2 --peer h:1 --client h:2",
        "consilium node replace 3",
        "consilium node replace 3 --dir d --vote-key f.pub --out i",
        "consilium node replace 3 --vote-key f.pub",
        "consilium node replace 3 --dir d --out i",
    ];
    for line in bad {
        assert!(!parses(line), "{line}");
    }
}

pub(crate) fn submitted() -> SubmittedView {
    SubmittedView { transaction_id: "ab".repeat(32), height: 7, outcome: "OUTCOME_APPLIED", receipt_verified: true }
}

#[test]
fn scripts_get_a_submitted_transaction() {
    json::snapshot::check("submitted", &submitted());
}

#[test]
fn an_endpoint_that_cannot_be_is_wrong_usage() {
    assert!(parses("consilium --endpoints 127.0.0.1:7401,[::1]:7401 status"));
    for bad in ["https://127.0.0.1:7401", "127.0.0.1", "::1", "a:1,b"] {
        let refused = Cli::try_parse_from(["consilium", "--endpoints", bad, "status"]).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.to_string().contains("for '--endpoints <HOST:PORT>'"), "{refused}");
    }
}
