//! What a ledger made of patients' rights, judged from its blocks, and how much of it there was.

use crate::chronicle::{Effect, Standing};
use crate::disk::LedgerStore;
use crate::fixture::EMERGENCY_MS;
use crate::invariants::{Violation, i32_permitted, i34_disclosed, i35_answered, i36_linked, i37_labelled};
use crate::stats::Stats;

/// Judges one ledger, and counts what there was.
///
/// # Errors
/// What is wrong first.
pub fn check(ledger: &LedgerStore, effects: &[Effect], stats: &mut Stats) -> Result<(), Violation> {
    let read = i32_permitted::check(ledger, effects, EMERGENCY_MS).map_err(violation("I32 permitted"))?;
    let handed_on = i34_disclosed::check(ledger, effects).map_err(violation("I34 disclosed"))?;
    let answered = i35_answered::check(ledger, effects).map_err(violation("I35 answered"))?;
    i36_linked::check(ledger, effects).map_err(violation("I36 linked"))?;
    let blinded = i37_labelled::check(ledger, effects).map_err(violation("I37 labelled"))?;
    let left = |effect: &&Effect| matches!(effect.decided, Some(Standing::Left { successor: Some(_), .. }));
    let left = effects.iter().filter(left).count() as u64;
    for (event, count) in [
        ("hospitals that left to a successor", left),
        ("records permitted to be read", read.permitted),
        ("records denied", read.denied),
        ("records permitted in emergencies", read.in_emergency),
        ("records permitted to patients", read.by_patients),
        ("records permitted by label", read.by_label.0),
        ("records denied by label", read.by_label.1),
        ("records labelled", blinded.labelled),
        ("salts put", blinded.salts),
        ("keepers of salts", blinded.keepers),
        ("queries", read.queries),
        ("wraps added for readers", read.kept.wraps),
        ("wraps added by deputies", read.kept.by_deputies),
        ("wraps added for custody keys", read.kept.rewraps),
        ("wraps owed and asked for", read.kept.owed),
        ("disclosures by two persons", handed_on.confirmed),
        ("entries sealed", handed_on.sealed),
        ("petitions answered", answered),
    ] {
        stats.add(event, count);
    }
    Ok(())
}

fn violation(invariant: &'static str) -> impl FnOnce(String) -> Violation {
    move |what| Violation { invariant, what }
}
