//! The validator set: who certifies blocks, with which power, and when the
//! power is enough. Integer arithmetic in 128 bits: no sum can overflow.

use crate::error::{FieldError, fixed, in_range, length_in};
use crate::hash::{Hash, sha256};
use crate::ids::{NodeId, VotingPower};
use crate::limits::{VALIDATORS_MAX, VOTING_POWER_MAX};
use crate::pb;
use crate::signing::{SignatureAlgorithm, VerifyingKey};

/// The share of the voting power that a certificate must exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    numerator: u32,
    denominator: u32,
}

impl Quorum {
    /// A quorum of more than `numerator / denominator`.
    ///
    /// # Errors
    /// If the fraction is below two thirds, where two quorums could have nothing but
    /// liars in common though less than a third of the power lies; or not below one.
    pub fn new(numerator: u32, denominator: u32) -> Result<Self, FieldError> {
        let enough = u64::from(numerator) * 3 >= u64::from(denominator) * 2;
        if denominator == 0 || denominator > 1_000 || !enough || numerator >= denominator {
            return Err(FieldError::malformed("quorum", "must be at least 2/3 and below 1, denominator at most 1000"));
        }
        Ok(Self { numerator, denominator })
    }

    /// Numerator and denominator.
    #[must_use]
    pub fn fraction(self) -> (u32, u32) {
        (self.numerator, self.denominator)
    }

    /// Whether `power` of `total` is enough.
    #[must_use]
    pub fn reached(self, power: u128, total: u128) -> bool {
        power * u128::from(self.denominator) > total * u128::from(self.numerator)
    }
}

/// One seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// The node.
    pub id: NodeId,
    /// Its power.
    pub power: VotingPower,
    /// P-256 key that signs its votes.
    pub key: VerifyingKey,
}

/// The validators of a height, ascending by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorSet {
    validators: Vec<Validator>,
    total: u128,
    quorum: Quorum,
}

impl ValidatorSet {
    /// Builds a set; the order of `validators` does not matter.
    ///
    /// # Errors
    /// If it is empty or too large, an id stands twice, or a power is 0 or too high.
    pub fn new(mut validators: Vec<Validator>, quorum: Quorum) -> Result<Self, FieldError> {
        length_in("validators", validators.len(), 1, VALIDATORS_MAX)?;
        validators.sort_by_key(|v| v.id);
        if validators.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(FieldError::malformed("validators", "holds an id twice"));
        }
        for v in &validators {
            in_range("validators.power", v.power.0, 1, VOTING_POWER_MAX)?;
        }
        let total = validators.iter().map(|v| u128::from(v.power.0)).sum();
        Ok(Self { validators, total, quorum })
    }

    /// The seat of a node.
    #[must_use]
    pub fn seat(&self, id: NodeId) -> Option<&Validator> {
        self.validators.binary_search_by_key(&id, |v| v.id).ok().map(|i| &self.validators[i])
    }

    /// All seats, ascending by id.
    #[must_use]
    pub fn seats(&self) -> &[Validator] {
        &self.validators
    }

    /// The share of the power that certifies.
    #[must_use]
    pub fn quorum(&self) -> Quorum {
        self.quorum
    }

    /// Sum of all powers.
    #[must_use]
    pub fn total_power(&self) -> u128 {
        self.total
    }

    /// Whether `power` is enough for a certificate.
    #[must_use]
    pub fn is_quorum(&self, power: u128) -> bool {
        self.quorum.reached(power, self.total)
    }

    /// SHA-256 over "consilium/validators/v1", the quorum (4 + 4 bytes) and,
    /// for each seat ascending by id, id (8), power (8) and encoded key.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut bytes = Vec::with_capacity(32 + self.validators.len() * 82);
        bytes.extend_from_slice(b"consilium/validators/v1");
        bytes.extend_from_slice(&self.quorum.numerator.to_be_bytes());
        bytes.extend_from_slice(&self.quorum.denominator.to_be_bytes());
        for v in &self.validators {
            bytes.extend_from_slice(&v.id.0.to_be_bytes());
            bytes.extend_from_slice(&v.power.0.to_be_bytes());
            bytes.extend_from_slice(&v.key.to_bytes());
        }
        Hash::from_bytes(sha256(&[&bytes]))
    }
}

impl TryFrom<&pb::ValidatorSet> for ValidatorSet {
    type Error = FieldError;

    fn try_from(m: &pb::ValidatorSet) -> Result<Self, FieldError> {
        let seat = |seat: &pb::Seat| {
            let point = fixed::<65>("seats.vote_key", &seat.vote_key)?;
            let key = VerifyingKey::from_raw(SignatureAlgorithm::Es256, &point)
                .map_err(|_| FieldError::malformed("seats.vote_key", "is not an uncompressed P-256 key"))?;
            Ok(Validator { id: NodeId(seat.validator), power: VotingPower(seat.power), key })
        };
        let seats = m.seats.iter().map(seat).collect::<Result<_, FieldError>>()?;
        Self::new(seats, Quorum::new(m.quorum_numerator, m.quorum_denominator)?)
    }
}

impl From<&ValidatorSet> for pb::ValidatorSet {
    fn from(set: &ValidatorSet) -> Self {
        let seat = |v: &Validator| pb::Seat {
            validator: v.id.0,
            power: v.power.0,
            vote_key: bytes::Bytes::copy_from_slice(v.key.raw()),
        };
        Self {
            seats: set.seats().iter().map(seat).collect(),
            quorum_numerator: set.quorum.numerator,
            quorum_denominator: set.quorum.denominator,
        }
    }
}

#[cfg(test)]
mod tests;
