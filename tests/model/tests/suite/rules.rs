//! Without each rule the model finds what that rule is there for, where it finds nothing with
//! all of them.

use consilium_model::network::{COUNTED_STAYS, LEADERS_HAVE, Network, ONE_CERTIFICATE, ONE_EXECUTED, ONE_IN_A_TERM};
use consilium_model::rules::{CandidateCheck, Liar, Rules, Scope};

const ALL: Rules = Rules::AS_CODED;
/// All execute the same here, with all rules.
const NEVER_ELECTED: Scope = Scope::of(3, 2).with(Liar::NEVER_ELECTED);

/// Without the rule something is found, and not with it.
#[track_caller]
fn breaks(rules: Rules, scope: Scope, name: &'static str) {
    assert_eq!(Network::new(ALL, scope).find(name), None, "{name}, with all rules");
    let path = Network::new(rules, scope).find(name).unwrap_or_else(|| panic!("never: {name}"));
    println!("{name}: not after {:?}", path.into_actions());
}

#[test]
fn grants_unchecked() {
    breaks(Rules { mandates: false, ..ALL }, Scope::of(2, 1).with(Liar::NEVER_ELECTED), ONE_EXECUTED);
}

#[test]
fn two_grants_in_a_term() {
    breaks(Rules { one_grant: false, ..ALL }, NEVER_ELECTED, ONE_EXECUTED);
}

#[test]
fn candidates_that_are_behind() {
    breaks(Rules { up_to_date: false, ..ALL }, NEVER_ELECTED, ONE_EXECUTED);
}

#[test]
fn candidates_that_contradict() {
    breaks(Rules { candidates: CandidateCheck::Off, ..ALL }, Scope::of(2, 2), LEADERS_HAVE);
}

#[test]
fn entries_by_index_and_term() {
    breaks(Rules { chained: false, ..ALL }, Scope::of(1, 1), ONE_IN_A_TERM);
}

#[test]
fn acknowledged_entries_replaced_in_the_term() {
    breaks(Rules { keeps_acknowledged: false, ..ALL }, Scope::of(1, 1), ONE_IN_A_TERM);
}

#[test]
fn counted_entries_replaced() {
    breaks(Rules { keeps_counted: false, ..ALL }, Scope::of(2, 1), COUNTED_STAYS);
}

#[test]
fn the_leaders_word() {
    breaks(Rules { counts_itself: false, ..ALL }, Scope::of(1, 1), ONE_IN_A_TERM);
}

#[test]
fn entries_of_earlier_terms_counted_by_themselves() {
    let scope = Scope::of(4, 2).with(Liar::NEVER_ELECTED);
    breaks(Rules { heads_only: false, ..ALL }, scope, ONE_EXECUTED);
}

/// A node whose ledger is lost executes again, and knows by the guard alone what it voted for.
#[test]
fn two_votes_at_a_height() {
    let scope = Scope { forgets: true, ..Scope::of(2, 1) };
    breaks(Rules { votes_once: false, ..ALL }, scope, ONE_CERTIFICATE);
}

#[test]
fn a_leader_by_half() {
    breaks(Rules { grant_quorum: 2, ..ALL }, NEVER_ELECTED, ONE_EXECUTED);
}

#[test]
fn counted_by_half() {
    breaks(Rules { ack_quorum: 2, ..ALL }, Scope::of(1, 1), ONE_IN_A_TERM);
    breaks(Rules { ack_quorum: 2, ..ALL }, NEVER_ELECTED, ONE_EXECUTED);
}

#[test]
fn a_certificate_by_half() {
    breaks(Rules { vote_quorum: 2, ..ALL }, Scope::of(2, 1), ONE_CERTIFICATE);
}

/// What no rule but another one shows: each of them is needed against a leader that lies, and
/// changes nothing while none leads; and no vote is given twice unless a ledger is lost.
#[test]
fn where_rules_change_nothing() {
    let chain = Rules { chained: false, keeps_acknowledged: false, keeps_counted: false, ..ALL };
    let rules = Rules { candidates: CandidateCheck::Off, counts_itself: false, ..chain };
    for name in [ONE_EXECUTED, COUNTED_STAYS, LEADERS_HAVE, ONE_CERTIFICATE] {
        assert_eq!(Network::new(rules, NEVER_ELECTED).find(name), None, "{name}");
    }
    let rules = Rules { votes_once: false, ..ALL };
    assert_eq!(Network::new(rules, Scope::of(2, 2)).find(ONE_CERTIFICATE), None);
}
