use super::*;

fn answer() -> pb::GetStakeResponse {
    let stake = pb::StakeState {
        delegations: vec![pb::Delegation { node: 1, amount: 60 }, pb::Delegation { node: 9, amount: 10 }],
        pending: vec![
            pb::DelegationChange { from: 0, to: 1, amount: 5 },
            pb::DelegationChange { from: 1, to: 9, amount: 6 },
            pb::DelegationChange { from: 9, to: 0, amount: 7 },
        ],
        unbonding: vec![pb::Unbonding { amount: 8, free_epoch: 40 }],
    };
    pb::GetStakeResponse { allotted: 100, free: 17, stake: Some(stake) }
}

#[test]
fn a_members_stake_is_shown_with_what_is_under_way() {
    let names = BTreeMap::from([(1, "a.example/n1".to_owned())]);
    let view = StakeView { member: "a.example".into(), stake: answer() };
    let expected = "a.example: stake 100, of it free 17\n\n\
         ID  NODE          DELEGATED\n1   a.example/n1  60\n9   -             10\n\n\
         at the end of the epoch:\n  5 goes to node 1\n  6 goes from node 1 to node 9\n  \
         7 comes off node 9 and unbonds\n8 unbonds, free from epoch 40 on\n";
    assert_eq!(text(&view, &names), expected);
}

#[test]
fn a_member_without_delegations_is_one_line() {
    let empty = pb::GetStakeResponse { allotted: 5, free: 5, stake: None };
    let view = StakeView { member: "b.example".into(), stake: empty };
    assert_eq!(text(&view, &BTreeMap::new()), "b.example: stake 5, of it free 5\n");
}

#[test]
fn scripts_get_a_members_stake() {
    let view = || StakeView { member: "a.example".into(), stake: answer() };
    json::snapshot::check("stake", &view());
    let changed = ChangedView { transaction: crate::tests::submitted(), stake: view() };
    json::snapshot::check("stake-changed", &changed);
}
