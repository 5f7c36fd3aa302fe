//! What a representative speaks for: some of a patient's records, and some purposes. The custodian says
//! so that has accepted it, for its own records.

use super::Asked;
use crate::error::{FieldError, length_in};
use crate::limits::GRANT_KINDS_MAX;
use crate::pb::{Confidentiality, PatientAcceptance, RepresentativeScope};
use crate::purpose;
use crate::transaction::check_kind;

/// Of what a consent speaks that binds a custodian.
#[derive(Debug, Clone, PartialEq)]
pub enum Reach {
    /// Of everything.
    Whole,
    /// Of what is in one of these.
    Within(Vec<RepresentativeScope>),
}

impl Reach {
    /// Whether it speaks of a request.
    #[must_use]
    pub fn covers(&self, asked: &Asked<'_>) -> bool {
        match self {
            Self::Whole => true,
            Self::Within(scopes) => scopes.iter().any(|scope| scope.covers(asked)),
        }
    }
}

impl RepresentativeScope {
    /// Checks one that is to be said.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), FieldError> {
        length_in("kinds", self.kinds.len(), 0, GRANT_KINDS_MAX)?;
        length_in("purposes", self.purposes.len(), 0, GRANT_KINDS_MAX)?;
        self.kinds.iter().try_for_each(|kind| check_kind(kind).map_err(|e| e.within("kinds")))?;
        self.purposes.iter().try_for_each(|p| purpose::parse("purposes", *p).map(|_| ()))?;
        super::parse_ceiling(self.ceiling)?;
        match self.limits_records() || !self.purposes.is_empty() {
            true => Ok(()),
            false => Err(FieldError::malformed("kinds", "limit nothing, as the rest does: leave the scope out")),
        }
    }

    /// Whether it leaves any records out.
    #[must_use]
    pub fn limits_records(&self) -> bool {
        !self.kinds.is_empty() || self.ceiling() != Confidentiality::Unspecified
    }

    /// Whether records of a kind and confidentiality are in it.
    #[must_use]
    pub fn holds(&self, kind: &str, confidentiality: Confidentiality) -> bool {
        let ceiling = self.ceiling();
        (self.kinds.is_empty() || self.kinds.iter().any(|own| own == kind))
            && (ceiling == Confidentiality::Unspecified || confidentiality as i32 <= ceiling as i32)
    }

    fn covers(&self, asked: &Asked<'_>) -> bool {
        self.holds(asked.record.kind, asked.record.confidentiality)
            && (self.purposes.is_empty() || self.purposes().any(|own| purpose::covers(own, asked.purpose)))
    }
}

impl PatientAcceptance {
    /// Whether it lets read records of a kind and confidentiality.
    #[must_use]
    pub fn reads(&self, kind: &str, confidentiality: Confidentiality) -> bool {
        self.may_read && self.scope.as_ref().is_none_or(|scope| scope.holds(kind, confidentiality))
    }

    /// Whether it lets read all records, and so what tells of all of them.
    #[must_use]
    pub fn reads_all(&self) -> bool {
        self.may_read && self.scope.as_ref().is_none_or(|scope| !scope.limits_records())
    }

    /// Whether it lets sign consents about everything, and so end what others have signed.
    #[must_use]
    pub fn consents_to_all(&self) -> bool {
        self.may_consent && self.scope.is_none()
    }
}

#[cfg(test)]
mod tests;
