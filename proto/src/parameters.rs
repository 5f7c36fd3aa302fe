//! The parameters of a ledger: limits and thresholds that all nodes apply, set
//! by the genesis document and changed by governance. Parsed and bounded here,
//! so that no value that could stop a network ever gets into force.
//!
//! One table has them all: name, type, range, and what is recommended. A field
//! of genesis.proto that is not in it does not compile.

use crate::error::{FieldError, in_range};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, VALIDATORS_MAX, VOTING_POWER_MAX};
use crate::pb;
use crate::validators::Quorum;

/// Makes [`Parameters`] and everything that goes through its fields. Fractions
/// are two fields of the message and come after the numbers.
macro_rules! parameters {
    (
        numbers { $($(#[$ndoc:meta])* $number:ident: $Number:ident, $min:expr => $max:expr, recommended $value:expr;)+ }
        fractions { $($(#[$fdoc:meta])* $fraction:ident: $Fraction:ty = $top:ident / $bottom:ident,
            by $parse:expr, recommended $over:literal / $under:literal;)+ }
    ) => {
        /// Checked parameters. See `Parameters` in genesis.proto.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Parameters {
            $($(#[$ndoc])* pub $number: $Number,)+
            $($(#[$fdoc])* pub $fraction: $Fraction,)+
        }

        impl TryFrom<&pb::Parameters> for Parameters {
            type Error = FieldError;

            fn try_from(m: &pb::Parameters) -> Result<Self, FieldError> {
                let pb::Parameters { $($number,)+ $($top, $bottom,)+ } = *m;
                $(in_range(stringify!($number), $number.into(), $min, $max)?;)+
                $(let $fraction = $parse(stringify!($top), $top, $bottom)?;)+
                Ok(Self { $($number,)+ $($fraction,)+ })
            }
        }

        impl From<&Parameters> for pb::Parameters {
            fn from(p: &Parameters) -> Self {
                $(let ($top, $bottom) = p.$fraction.fraction();)+
                Self { $($number: p.$number,)+ $($top, $bottom,)+ }
            }
        }

        /// What `network init` proposes where nobody asks for something else.
        #[must_use]
        pub const fn recommended_parameters() -> pb::Parameters {
            pb::Parameters { $($number: $value,)+ $($top: $over, $bottom: $under,)+ }
        }

        /// Names and values.
        #[must_use]
        pub fn values(m: &pb::Parameters) -> Vec<(&'static str, u64)> {
            vec![
                $((stringify!($number), m.$number.into()),)+
                $((stringify!($top), m.$top.into()), (stringify!($bottom), m.$bottom.into()),)+
            ]
        }

        /// Sets a parameter by its name; whether the value is in its range, and
        /// fits the others, is seen when all are parsed.
        ///
        /// # Errors
        /// If there is no such parameter, or it cannot hold the value.
        pub fn set(m: &mut pb::Parameters, name: &str, value: u64) -> Result<(), FieldError> {
            let too_large = |max: u64| FieldError::range(name, 0, max, value);
            match name {
                $(stringify!($number) => m.$number = $Number::try_from(value).map_err(|_| too_large($max))?,)+
                $(
                    stringify!($top) => m.$top = u32::try_from(value).map_err(|_| too_large(u32::MAX.into()))?,
                    stringify!($bottom) => m.$bottom = u32::try_from(value).map_err(|_| too_large(u32::MAX.into()))?,
                )+
                _ => return Err(FieldError::malformed(name, "is not the name of a parameter")),
            }
            Ok(())
        }
    };
}

parameters! {
    numbers {
        /// Transactions in a block.
        block_transactions_max: u32, 1 => BLOCK_TRANSACTIONS_MAX as u64, recommended 1_000;
        /// Bytes of a block.
        block_bytes_max: u32, 64 * 1024 => BLOCK_BYTES_MAX as u64, recommended 4 * 1024 * 1024;
        /// Allowed clock difference, milliseconds.
        clock_skew_max_ms: u64, 100 => 600_000, recommended 5_000;
        /// Length of an epoch, milliseconds of block time.
        epoch_ms: u64, 1_000 => 30 * 24 * 3_600_000, recommended 3_600_000;
        /// Blocks of an epoch, at most.
        epoch_blocks: u64, 4 => 1_000_000_000, recommended 1_000_000;
        /// Seats.
        max_validators: u32, 1 => VALIDATORS_MAX as u64 / 2, recommended 7;
        /// Seats of one member.
        max_seats_per_member: u32, 1 => 16, recommended 2;
        /// Stake that a candidate's own member must delegate to it.
        min_self_delegation: u64, 0 => VOTING_POWER_MAX, recommended 1;
        /// By how much a challenger's stake must exceed, percent.
        hysteresis_percent: u32, 0 => 100, recommended 10;
        /// Epochs until withdrawn stake is free.
        unbonding_epochs: u32, 0 => 10_000, recommended 24;
        /// Blocks in which a validator must be seen once.
        miss_window_blocks: u64, 4 => 1_000_000, recommended 64;
        /// Share of missed windows above which a validator is jailed, percent.
        jail_missed_percent: u32, 1 => 100, recommended 50;
        /// Share of the self-delegated stake that double signing costs, percent.
        equivocation_cut_percent: u32, 0 => 100, recommended 20;
        /// Blocks after which leadership is handed on; 0: never.
        rotation_blocks: u64, 0 => 1_000_000_000, recommended 100_000;
        /// Nodes that a member may have without a proposal.
        nodes_per_member_max: u32, 1 => 16, recommended 3;
        /// How long a declared emergency opens a patient's records, milliseconds.
        emergency_ms: u64, 60_000 => 24 * 3_600_000, recommended 4 * 3_600_000;
        /// Within how long it must be reviewed, milliseconds.
        emergency_review_ms: u64, 3_600_000 => 90 * 24 * 3_600_000, recommended 3 * 24 * 3_600_000;
        /// Whether a consent may forbid emergencies: 0 or 1.
        emergency_denial_binds: u32, 0 => 1, recommended 0;
        /// The base that holds of a patient without a consent, as in `ConsentBase`.
        implicit_consent: u32, 1 => 4, recommended 3;
        /// Within how long a patient's petition must be answered, milliseconds.
        petition_ms: u64, 24 * 3_600_000 => 90 * 24 * 3_600_000, recommended 30 * 24 * 3_600_000;
    }
    fractions {
        /// Share of power that certifies.
        quorum: Quorum = quorum_numerator / quorum_denominator,
            by |_, over, under| Quorum::new(over, under), recommended 2 / 3;
        /// The power of a member's seats stays below this share.
        power_cap: Share = power_cap_numerator / power_cap_denominator,
            by Share::at_most_a_third, recommended 1 / 3;
        /// Share of all active stake that accepts a proposal.
        governance_quorum: Share = governance_numerator / governance_denominator,
            by Share::at_least_half, recommended 2 / 3;
        /// Share of the others' active stake that suspends a member.
        suspension_quorum: Share = suspension_numerator / suspension_denominator,
            by Share::at_least_a_quarter, recommended 1 / 3;
    }
}

/// Name, value before and value after of each parameter that differs.
#[must_use]
pub fn differences(before: &pb::Parameters, after: &pb::Parameters) -> Vec<(&'static str, u64, u64)> {
    let pairs = values(before).into_iter().zip(values(after));
    pairs.filter(|(old, new)| old != new).map(|((name, old), (_, new))| (name, old, new)).collect()
}

/// A share of stake or power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Above the line.
    pub numerator: u32,
    /// Below it.
    pub denominator: u32,
}

impl Share {
    fn at_least_half(field: &str, numerator: u32, denominator: u32) -> Result<Self, FieldError> {
        let problem = "must be at least 1/2 and below 1, denominator at most 1000";
        Self { numerator, denominator }.at_least(2, field, problem)
    }

    fn at_least_a_quarter(field: &str, numerator: u32, denominator: u32) -> Result<Self, FieldError> {
        let problem = "must be at least 1/4 and below 1, denominator at most 1000";
        Self { numerator, denominator }.at_least(4, field, problem)
    }

    fn at_least(self, part: u64, field: &str, problem: &'static str) -> Result<Self, FieldError> {
        let Self { numerator, denominator } = self;
        let enough = u64::from(numerator) * part >= u64::from(denominator);
        let fits = (1..=1_000).contains(&denominator) && enough && numerator < denominator;
        if fits { Ok(self) } else { Err(FieldError::malformed(field, problem)) }
    }

    fn at_most_a_third(field: &str, numerator: u32, denominator: u32) -> Result<Self, FieldError> {
        let fits = numerator != 0 && denominator <= 1_000 && u64::from(numerator) * 3 <= u64::from(denominator);
        let problem = "must be above 0 and at most 1/3, denominator at most 1000";
        if fits { Ok(Self { numerator, denominator }) } else { Err(FieldError::malformed(field, problem)) }
    }

    /// Numerator and denominator.
    #[must_use]
    pub fn fraction(self) -> (u32, u32) {
        (self.numerator, self.denominator)
    }

    /// Whether `part` exceeds this share of `total`.
    #[must_use]
    pub fn exceeded_by(self, part: u128, total: u128) -> bool {
        part * u128::from(self.denominator) > total * u128::from(self.numerator)
    }

    /// The least part of `total` that exceeds this share.
    #[must_use]
    pub fn needed(self, total: u128) -> u128 {
        total * u128::from(self.numerator) / u128::from(self.denominator) + 1
    }
}

#[cfg(test)]
mod tests;
