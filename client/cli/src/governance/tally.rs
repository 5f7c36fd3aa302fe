//! Tallies: the arithmetic in words, and what one more ballot makes of it.

use consilium_proto::pb;

use crate::text::table;

/// A tally, checked by the SDK, with a member's say added or changed.
pub(crate) fn with(mut tally: pb::Tally, member: &str, choice: pb::BallotChoice) -> pb::Tally {
    for line in tally.lines.iter_mut().filter(|line| line.member == member) {
        match line.choice() {
            pb::BallotChoice::Approve => tally.approving = tally.approving.saturating_sub(line.stake),
            pb::BallotChoice::Reject => tally.rejecting = tally.rejecting.saturating_sub(line.stake),
            pb::BallotChoice::Unspecified => {}
        }
        line.set_choice(choice);
        match choice {
            pb::BallotChoice::Approve => tally.approving = tally.approving.saturating_add(line.stake),
            pb::BallotChoice::Reject => tally.rejecting = tally.rejecting.saturating_add(line.stake),
            pb::BallotChoice::Unspecified => {}
        }
    }
    tally
}

/// The arithmetic and who has said what; while the vote is `open`, also what
/// is left to do.
pub(crate) fn text(tally: &pb::Tally, open: bool) -> String {
    let outlook = if open { format!(": {}", outlook(tally)) } else { String::new() };
    let pb::Tally { approving, rejecting, total, numerator, denominator, needed, lines } = tally;
    let head = format!(
        "accepted with more than {numerator}/{denominator} of {total} stake: {needed} or more\n\
         in favour {approving}, against {rejecting}{outlook}\n\n"
    );
    let rows = lines.iter().map(|line| {
        let says = match line.choice() {
            pb::BallotChoice::Unspecified => "-",
            pb::BallotChoice::Approve => "approve",
            pb::BallotChoice::Reject => "reject",
        };
        vec![line.member.clone(), line.stake.to_string(), says.to_owned()]
    });
    head + &table(&["MEMBER", "STAKE", "SAYS"], rows)
}

fn outlook(tally: &pb::Tally) -> String {
    match tally.needed.saturating_sub(tally.approving) {
        0 => "that is enough".to_owned(),
        left if u128::from(tally.rejecting) + u128::from(tally.needed) > u128::from(tally.total) => {
            format!("{left} more are not left: it cannot be accepted")
        }
        left => format!("{left} more are needed"),
    }
}
