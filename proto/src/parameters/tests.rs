#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn the_recommended_ones_parse_and_each_bound_is_named() {
    let parsed = Parameters::try_from(&recommended_parameters()).unwrap();
    assert_eq!(pb::Parameters::from(&parsed), recommended_parameters());
    type Spoil = fn(&mut pb::Parameters);
    let cases: [(&str, Spoil); 6] = [
        ("epoch_ms", |p| p.epoch_ms = 999),
        ("epoch_blocks", |p| p.epoch_blocks = 3),
        ("power_cap_numerator", |p| p.power_cap_numerator = 2),
        ("governance_numerator", |p| p.governance_denominator = 5),
        ("suspension_numerator", |p| p.suspension_denominator = 5),
        ("max_validators", |p| p.max_validators = 0),
    ];
    for (field, spoil) in cases {
        let mut parameters = recommended_parameters();
        spoil(&mut parameters);
        let error = Parameters::try_from(&parameters).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn needed_is_the_least_that_exceeds() {
    let share = Share { numerator: 2, denominator: 3 };
    for total in 0..50 {
        let needed = share.needed(total);
        assert!(share.exceeded_by(needed, total) && !share.exceeded_by(needed - 1, total));
    }
}

#[test]
fn every_parameter_is_set_by_its_name_and_only_it() {
    for (name, value) in values(&recommended_parameters()) {
        let mut changed = recommended_parameters();
        set(&mut changed, name, value + 1).unwrap();
        assert_eq!(differences(&recommended_parameters(), &changed), [(name, value, value + 1)]);
    }
    let mut parameters = recommended_parameters();
    assert!(set(&mut parameters, "epoch", 3).is_err());
    assert!(set(&mut parameters, "max_validators", 1 << 32).is_err());
    assert_eq!(parameters, recommended_parameters());
}
