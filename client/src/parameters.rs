//! A ledger's parameters by their names in genesis.proto: read, set, compared.
//! Whether a value is in its range is for [`consilium_proto::parameters`].

use consilium_proto::pb;

use crate::error::ClientError;

/// One list of the fields for everything here. A field that is missing in it
/// does not compile: the message is taken apart without `..`.
macro_rules! fields {
    ($($name:ident: $type:ty),+ $(,)?) => {
        /// Names and values, in the order of genesis.proto.
        #[must_use]
        pub fn values(parameters: &pb::Parameters) -> Vec<(&'static str, u64)> {
            let pb::Parameters { $($name),+ } = *parameters;
            vec![$((stringify!($name), <u64 as From<$type>>::from($name))),+]
        }

        /// Sets a number by its name; `None` if there is no such parameter.
        fn set_number(parameters: &mut pb::Parameters, key: &str, value: &str) -> Option<bool> {
            match key {
                $(stringify!($name) => Some(value.parse::<$type>().map(|v| parameters.$name = v).is_ok()),)+
                _ => None,
            }
        }
    };
}

fields! {
    block_transactions_max: u32,
    block_bytes_max: u32,
    clock_skew_max_ms: u64,
    quorum_numerator: u32,
    quorum_denominator: u32,
    epoch_ms: u64,
    epoch_blocks: u64,
    max_validators: u32,
    max_seats_per_member: u32,
    min_self_delegation: u64,
    power_cap_numerator: u32,
    power_cap_denominator: u32,
    hysteresis_percent: u32,
    unbonding_epochs: u32,
    miss_window_blocks: u64,
    jail_missed_percent: u32,
    equivocation_cut_percent: u32,
    rotation_blocks: u64,
    governance_numerator: u32,
    governance_denominator: u32,
    suspension_numerator: u32,
    suspension_denominator: u32,
    nodes_per_member_max: u32,
}

/// Parameters that are fractions: `quorum=2/3` sets numerator and denominator.
const FRACTIONS: [&str; 4] = ["quorum", "power_cap", "governance", "suspension"];

/// Sets a parameter by its name; fractions also as `quorum=2/3`.
///
/// # Errors
/// An unknown name, or a value that is no number of the field's size.
pub fn set(parameters: &mut pb::Parameters, key: &str, value: &str) -> Result<(), ClientError> {
    let not_a_number = || ClientError::Usage(format!("parameter {key}: {value:?} is not a number in range"));
    if FRACTIONS.contains(&key) {
        let (numerator, denominator) = value.split_once('/').ok_or_else(not_a_number)?;
        set(parameters, &format!("{key}_numerator"), numerator)?;
        return set(parameters, &format!("{key}_denominator"), denominator);
    }
    match set_number(parameters, key, value) {
        Some(true) => Ok(()),
        Some(false) => Err(not_a_number()),
        None => Err(ClientError::Usage(format!("unknown parameter {key:?}; see `consilium governance rules`"))),
    }
}

/// Sets parameters given as `name=value`.
///
/// # Errors
/// As [`set`]; also for a text without `=`.
pub fn set_all<'a>(
    parameters: &mut pb::Parameters,
    settings: impl IntoIterator<Item = &'a String>,
) -> Result<(), ClientError> {
    for setting in settings {
        let (key, value) =
            setting.split_once('=').ok_or_else(|| ClientError::Usage(format!("{setting:?} is not NAME=VALUE")))?;
        set(parameters, key, value)?;
    }
    Ok(())
}

/// Name, value before, value after, of each parameter that differs.
#[must_use]
pub fn changes(before: &pb::Parameters, after: &pb::Parameters) -> Vec<(&'static str, u64, u64)> {
    let pairs = values(before).into_iter().zip(values(after));
    pairs.filter(|(old, new)| old != new).map(|((name, old), (_, new))| (name, old, new)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::parameters::recommended_parameters;

    use super::*;

    #[test]
    fn every_parameter_is_set_by_its_name_and_only_it() {
        for (name, value) in values(&recommended_parameters()) {
            let mut changed = recommended_parameters();
            set(&mut changed, name, &(value + 1).to_string()).unwrap();
            assert_eq!(changes(&recommended_parameters(), &changed), [(name, value, value + 1)]);
        }
    }

    #[test]
    fn fractions_stand_for_two_and_mistakes_are_named() {
        let mut parameters = recommended_parameters();
        set_all(&mut parameters, &["quorum=3/4".to_owned(), "epoch_ms=60000".to_owned()]).unwrap();
        let expected = [("quorum_numerator", 2, 3), ("quorum_denominator", 3, 4), ("epoch_ms", 3_600_000, 60_000)];
        assert_eq!(changes(&recommended_parameters(), &parameters), expected);
        for bad in ["quorum=3", "epoch_ms=a", "epoch_ms", "epoch=3", "max_validators=99999999999", "quorum=1/x"] {
            assert!(set_all(&mut parameters, &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
