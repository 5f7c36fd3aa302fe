//! All rules are kept. Everything that can happen is looked at.

use std::collections::BTreeSet;

use consilium_model::network::{
    COUNTED_STAYS, LEADERS_HAVE, Network, ONE_CERTIFICATE, ONE_EXECUTED, ONE_IN_A_TERM, SPLIT, STALLED,
};
use consilium_model::rules::{CandidateCheck, Liar, Rules, Scope};
use stateright::Checker;

const ALWAYS: [&str; 5] = [ONE_CERTIFICATE, COUNTED_STAYS, ONE_IN_A_TERM, ONE_EXECUTED, LEADERS_HAVE];

/// Of what must always hold, what does not; and how many states there are.
fn broken(rules: Rules, scope: Scope) -> (BTreeSet<&'static str>, usize) {
    let checker = Network::new(rules, scope).explore();
    let found: BTreeSet<_> = checker.discoveries().into_keys().filter(|name| ALWAYS.contains(name)).collect();
    println!("{} states, not so: {found:?}", checker.unique_state_count());
    (found, checker.unique_state_count())
}

/// A liar that leads whenever it likes. There is one certificate at a height, in a term one
/// entry at an index, and nobody is elected without what is certified; but not all honest
/// nodes execute the same.
#[test]
fn whatever_a_liar_does_there_is_one_certificate() {
    let (found, states) = broken(Rules::AS_CODED, Scope::of(3, 2));
    assert_eq!(found, [ONE_EXECUTED].into());
    assert!(states > 500_000, "{states}");
}

/// The same in logs that are longer, in fewer terms.
#[test]
fn nor_in_longer_logs() {
    assert_eq!(broken(Rules::AS_CODED, Scope::of(2, 3)).0, [ONE_EXECUTED].into());
}

/// The same where it makes up entries of others.
#[test]
fn nor_does_it_matter_what_it_makes_up() {
    let liar = Liar { makes_up: true, ..Liar::BOUNDLESS };
    for (terms, indexes) in [(2, 2), (3, 1)] {
        assert_eq!(broken(Rules::AS_CODED, Scope::of(terms, indexes).with(liar)).0, [ONE_EXECUTED].into());
    }
    let found = broken(Rules::AS_CODED, Scope::of(3, 2).with(liar)).0;
    assert_eq!(found, [ONE_EXECUTED].into());
}

/// The check of candidates once looked at terms, too: whoever had another entry of a later term,
/// and no more, was elected without what is certified, and heard by nobody.
#[test]
fn the_check_of_candidates_does_not_go_by_terms() {
    let rules = Rules { candidates: CandidateCheck::SameTerm, ..Rules::AS_CODED };
    let once = Liar { terms: 1, ..Liar::BOUNDLESS };
    assert_eq!(broken(rules, Scope::of(3, 2).with(once)).0, [ONE_EXECUTED, LEADERS_HAVE].into());
    assert_eq!(broken(Rules::AS_CODED, Scope::of(3, 2).with(once)).0, [ONE_EXECUTED].into());
}

/// A liar that is never elected changes nothing: all execute the same.
#[test]
fn unless_a_liar_leads_all_execute_the_same() {
    for (terms, indexes) in [(3, 2), (4, 3)] {
        let (found, _) = broken(Rules::AS_CODED, Scope::of(terms, indexes).with(Liar::NEVER_ELECTED));
        assert_eq!(found, [].into());
    }
}

/// Nor does one that leads in one term, as long as there is no other.
#[test]
fn within_a_term_all_execute_the_same() {
    assert_eq!(broken(Rules::AS_CODED, Scope::of(1, 3)).0, [].into());
}

/// It is enough to lead once, and to acknowledge one log in each term.
#[test]
fn a_liar_that_led_once_has_two_entries_executed_at_one_index() {
    for liar in [Liar { terms: 1, ..Liar::BOUNDLESS }, Liar { terms: 1, acks_once: true, ..Liar::BOUNDLESS }] {
        let scope = Scope::of(2, 2).with(liar);
        assert_eq!(broken(Rules::AS_CODED, scope).0, [ONE_EXECUTED].into());
        let checker = Network::new(Rules::AS_CODED, scope).explore();
        for name in [SPLIT, STALLED] {
            assert!(checker.discovery(name).is_some(), "{name}");
        }
    }
}

/// Where honest nodes lose log and ledger nothing holds of the order, but certificates do.
#[test]
fn certificates_hold_though_nodes_forget() {
    let scope = Scope { forgets: true, ..Scope::of(2, 1) };
    assert!(!broken(Rules::AS_CODED, scope).0.contains(ONE_CERTIFICATE));
    let scope = Scope { forgets: true, ..Scope::of(2, 2).with(Liar::NEVER_ELECTED) };
    assert!(!broken(Rules::AS_CODED, scope).0.contains(ONE_CERTIFICATE));
}

/// They need no rule but those of the votes.
#[test]
fn certificates_need_no_other_rule() {
    for scope in [Scope { forgets: true, ..Scope::of(1, 1) }, Scope::of(1, 2)] {
        assert!(!broken(Rules::VOTES_ALONE, scope).0.contains(ONE_CERTIFICATE));
    }
}

/// What is left out for the sake of time hides nothing: where all of it is looked at, the same
/// is found.
#[test]
fn what_is_left_out_hides_nothing() {
    let all = Rules::AS_CODED;
    let rules = [
        all,
        Rules { mandates: false, ..all },
        Rules { one_grant: false, ..all },
        Rules { up_to_date: false, ..all },
        Rules { chained: false, ..all },
        Rules { keeps_acknowledged: false, ..all },
        Rules { keeps_counted: false, ..all },
        Rules { heads_only: false, ..all },
        Rules { ack_quorum: 2, ..all },
        Rules { vote_quorum: 2, ..all },
    ];
    let everything = |rules, scope| -> BTreeSet<&'static str> {
        Network::new(rules, scope).explore().discoveries().into_keys().collect()
    };
    for scope in [Scope::of(1, 2), Scope::of(2, 1)] {
        for rules in rules {
            let whole = everything(rules, Scope { reduced: false, ..scope });
            assert_eq!(everything(rules, scope), whole, "{rules:?} {scope:?}");
        }
    }
    for scope in [Scope::of(2, 2), Scope::of(3, 1)].map(|scope| scope.with(Liar { terms: 1, ..scope.liar })) {
        let whole = everything(all, Scope { reduced: false, ..scope });
        assert_eq!(everything(all, scope), whole, "{scope:?}");
    }
}
