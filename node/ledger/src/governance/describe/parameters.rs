//! A change of parameters, field by field.

use consilium_proto::parameters::Parameters;
use consilium_proto::pb;

use crate::view::{StateReader, StoreFault, View};

/// Compares all fields of two `Parameters`; a field that is forgotten here does
/// not compile.
macro_rules! differences {
    ($before:expr, $after:expr, { $($field:ident),* $(,)? }) => {{
        let (before, after): (&pb::Parameters, &pb::Parameters) = ($before, $after);
        let pb::Parameters { $($field: _),* } = before;
        let mut lines = Vec::new();
        $(if before.$field != after.$field {
            lines.push(format!("Sets {} from {} to {}.", stringify!($field), before.$field, after.$field));
        })*
        lines
    }};
}

pub(super) fn changes<R: StateReader>(view: &View<'_, R>, new: &Parameters) -> Result<Vec<String>, StoreFault> {
    Ok(differences(&pb::Parameters::from(&view.parameters()?), &pb::Parameters::from(new)))
}

fn differences(before: &pb::Parameters, after: &pb::Parameters) -> Vec<String> {
    differences!(before, after, {
        block_transactions_max,
        block_bytes_max,
        clock_skew_max_ms,
        quorum_numerator,
        quorum_denominator,
        epoch_ms,
        epoch_blocks,
        max_validators,
        max_seats_per_member,
        min_self_delegation,
        power_cap_numerator,
        power_cap_denominator,
        hysteresis_percent,
        unbonding_epochs,
        miss_window_blocks,
        jail_missed_percent,
        equivocation_cut_percent,
        rotation_blocks,
        governance_numerator,
        governance_denominator,
        suspension_numerator,
        suspension_denominator,
        nodes_per_member_max,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_proto::parameters::recommended_parameters;

    #[test]
    fn every_difference_has_its_line() {
        let before = recommended_parameters();
        let after = pb::Parameters { epoch_ms: 60_000, nodes_per_member_max: 5, ..before };
        let expected = ["Sets epoch_ms from 3600000 to 60000.", "Sets nodes_per_member_max from 3 to 5."];
        assert_eq!(differences(&before, &after), expected);
        assert_eq!(differences(&before, &before), [""; 0]);
    }
}
