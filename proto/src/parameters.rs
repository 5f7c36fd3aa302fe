//! The parameters of a ledger: limits and thresholds that all nodes apply, set
//! by the genesis document and changed by governance. Parsed and bounded here,
//! so that no value that could stop a network ever gets into force.

use crate::error::{FieldError, in_range};
use crate::limits::{VALIDATORS_MAX, VOTING_POWER_MAX};
use crate::pb;
use crate::validators::Quorum;

/// A share of stake that must be exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Above the line.
    pub numerator: u32,
    /// Below it.
    pub denominator: u32,
}

/// Least share 1/n, and the words for less.
type Least = (u64, &'static str);
const HALF: Least = (2, "must be at least 1/2 and below 1, denominator at most 1000");
const QUARTER: Least = (4, "must be at least 1/4 and below 1, denominator at most 1000");

impl Share {
    fn parse(field: &str, numerator: u32, denominator: u32, least: Least) -> Result<Self, FieldError> {
        let (least, problem) = least;
        let at_least = u64::from(numerator) * least >= u64::from(denominator);
        if denominator == 0 || denominator > 1_000 || !at_least || numerator >= denominator {
            return Err(FieldError::malformed(field, problem));
        }
        Ok(Self { numerator, denominator })
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

/// Checked parameters. See `Parameters` in genesis.proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Transactions in a block.
    pub block_transactions_max: u32,
    /// Bytes of a block.
    pub block_bytes_max: u32,
    /// Allowed clock difference, milliseconds.
    pub clock_skew_max_ms: u64,
    /// Share of power that certifies.
    pub quorum: Quorum,
    /// Length of an epoch, milliseconds of block time.
    pub epoch_ms: u64,
    /// Blocks of an epoch, at most.
    pub epoch_blocks: u64,
    /// Seats.
    pub max_validators: u32,
    /// Seats of one member.
    pub max_seats_per_member: u32,
    /// Stake that a candidate's own member must delegate to it.
    pub min_self_delegation: u64,
    /// The power of a member's seats stays below this share.
    pub power_cap: (u32, u32),
    /// By how much a challenger's stake must exceed, percent.
    pub hysteresis_percent: u32,
    /// Epochs until withdrawn stake is free.
    pub unbonding_epochs: u32,
    /// Blocks in which a validator must be seen once.
    pub miss_window_blocks: u64,
    /// Share of missed windows above which a validator is jailed, percent.
    pub jail_missed_percent: u32,
    /// Share of the self-delegated stake that double signing costs, percent.
    pub equivocation_cut_percent: u32,
    /// Blocks after which leadership is handed on; 0: never.
    pub rotation_blocks: u64,
    /// Share of all active stake that accepts a proposal.
    pub governance_quorum: Share,
    /// Share of the others' active stake that suspends a member.
    pub suspension_quorum: Share,
    /// Nodes that a member may have without a proposal.
    pub nodes_per_member_max: u32,
}

impl TryFrom<&pb::Parameters> for Parameters {
    type Error = FieldError;

    fn try_from(m: &pb::Parameters) -> Result<Self, FieldError> {
        in_range("block_transactions_max", m.block_transactions_max.into(), 1, 10_000)?;
        in_range("block_bytes_max", m.block_bytes_max.into(), 64 * 1024, 16 * 1024 * 1024)?;
        in_range("clock_skew_max_ms", m.clock_skew_max_ms, 100, 600_000)?;
        in_range("epoch_ms", m.epoch_ms, 1_000, 30 * 24 * 3_600 * 1_000)?;
        in_range("epoch_blocks", m.epoch_blocks, 4, 1_000_000_000)?;
        in_range("max_validators", m.max_validators.into(), 1, VALIDATORS_MAX as u64 / 2)?;
        in_range("max_seats_per_member", m.max_seats_per_member.into(), 1, 16)?;
        in_range("min_self_delegation", m.min_self_delegation, 0, VOTING_POWER_MAX)?;
        in_range("hysteresis_percent", m.hysteresis_percent.into(), 0, 100)?;
        in_range("unbonding_epochs", m.unbonding_epochs.into(), 0, 10_000)?;
        in_range("miss_window_blocks", m.miss_window_blocks, 4, 1_000_000)?;
        in_range("jail_missed_percent", m.jail_missed_percent.into(), 1, 100)?;
        in_range("equivocation_cut_percent", m.equivocation_cut_percent.into(), 0, 100)?;
        in_range("rotation_blocks", m.rotation_blocks, 0, 1_000_000_000)?;
        in_range("nodes_per_member_max", m.nodes_per_member_max.into(), 1, 16)?;
        Ok(Self {
            block_transactions_max: m.block_transactions_max,
            block_bytes_max: m.block_bytes_max,
            clock_skew_max_ms: m.clock_skew_max_ms,
            quorum: Quorum::new(m.quorum_numerator, m.quorum_denominator)?,
            epoch_ms: m.epoch_ms,
            epoch_blocks: m.epoch_blocks,
            max_validators: m.max_validators,
            max_seats_per_member: m.max_seats_per_member,
            min_self_delegation: m.min_self_delegation,
            power_cap: power_cap(m.power_cap_numerator, m.power_cap_denominator)?,
            hysteresis_percent: m.hysteresis_percent,
            unbonding_epochs: m.unbonding_epochs,
            miss_window_blocks: m.miss_window_blocks,
            jail_missed_percent: m.jail_missed_percent,
            equivocation_cut_percent: m.equivocation_cut_percent,
            rotation_blocks: m.rotation_blocks,
            governance_quorum: Share::parse(
                "governance_numerator",
                m.governance_numerator,
                m.governance_denominator,
                HALF,
            )?,
            suspension_quorum: Share::parse(
                "suspension_numerator",
                m.suspension_numerator,
                m.suspension_denominator,
                QUARTER,
            )?,
            nodes_per_member_max: m.nodes_per_member_max,
        })
    }
}

impl From<&Parameters> for pb::Parameters {
    fn from(p: &Parameters) -> Self {
        let Parameters {
            block_transactions_max,
            block_bytes_max,
            clock_skew_max_ms,
            quorum,
            epoch_ms,
            epoch_blocks,
            max_validators,
            max_seats_per_member,
            min_self_delegation,
            power_cap: (power_cap_numerator, power_cap_denominator),
            hysteresis_percent,
            unbonding_epochs,
            miss_window_blocks,
            jail_missed_percent,
            equivocation_cut_percent,
            rotation_blocks,
            governance_quorum,
            suspension_quorum,
            nodes_per_member_max,
        } = *p;
        let (quorum_numerator, quorum_denominator) = quorum.fraction();
        Self {
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
            governance_numerator: governance_quorum.numerator,
            governance_denominator: governance_quorum.denominator,
            suspension_numerator: suspension_quorum.numerator,
            suspension_denominator: suspension_quorum.denominator,
            nodes_per_member_max,
        }
    }
}

fn power_cap(numerator: u32, denominator: u32) -> Result<(u32, u32), FieldError> {
    let at_most_a_third = u64::from(numerator) * 3 <= u64::from(denominator);
    if numerator == 0 || denominator > 1_000 || !at_most_a_third {
        let problem = "must be above 0 and at most 1/3, denominator at most 1000";
        return Err(FieldError::malformed("power_cap_numerator", problem));
    }
    Ok((numerator, denominator))
}

/// What `network init` proposes where nobody asks for something else.
#[must_use]
pub const fn recommended_parameters() -> pb::Parameters {
    pb::Parameters {
        block_transactions_max: 1_000,
        block_bytes_max: 4 * 1024 * 1024,
        clock_skew_max_ms: 5_000,
        quorum_numerator: 2,
        quorum_denominator: 3,
        epoch_ms: 3_600_000,
        epoch_blocks: 1_000_000,
        max_validators: 7,
        max_seats_per_member: 2,
        min_self_delegation: 1,
        power_cap_numerator: 1,
        power_cap_denominator: 3,
        hysteresis_percent: 10,
        unbonding_epochs: 24,
        miss_window_blocks: 64,
        jail_missed_percent: 50,
        equivocation_cut_percent: 20,
        rotation_blocks: 100_000,
        governance_numerator: 2,
        governance_denominator: 3,
        suspension_numerator: 1,
        suspension_denominator: 3,
        nodes_per_member_max: 3,
    }
}

#[cfg(test)]
mod tests {
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
}
