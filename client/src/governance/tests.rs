use super::*;

fn tally() -> pb::Tally {
    let line = |member: &str, stake, choice: pb::BallotChoice| pb::TallyLine {
        member: member.into(),
        stake,
        choice: choice.into(),
    };
    pb::Tally {
        approving: 40,
        rejecting: 25,
        total: 100,
        numerator: 2,
        denominator: 3,
        needed: 67,
        lines: vec![
            line("a.example", 40, pb::BallotChoice::Approve),
            line("b.example", 25, pb::BallotChoice::Reject),
            line("c.example", 35, pb::BallotChoice::Unspecified),
        ],
    }
}

#[test]
fn a_tally_must_add_up() {
    assert_eq!(check_tally(&tally()), Ok(()));
    let spoils: [fn(&mut pb::Tally); 6] = [
        |t| t.approving = 41,
        |t| t.rejecting = 0,
        |t| t.total = 99,
        |t| t.needed = 66,
        |t| t.denominator = 0,
        |t| t.lines[2].stake = u64::MAX,
    ];
    for spoil in spoils {
        let mut bad = tally();
        spoil(&mut bad);
        assert!(check_tally(&bad).is_err(), "{bad:?}");
    }
}
