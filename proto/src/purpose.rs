//! Purposes of use and which one is below which: HL7's value set v3-PurposeOfUse
//! (<http://terminology.hl7.org/CodeSystem/v3-ActReason>), as a closed table.
//!
//! `BTG` and `ERTREAT` are descendants of `TREAT` there. Here nothing but their own names
//! covers them: a grant for treatment must not open an emergency, and a denial of treatment
//! must not be undone by calling it one.

use crate::error::FieldError;
use crate::pb::PurposeOfUse as Purpose;

/// Parses a field.
///
/// # Errors
/// If it is no purpose, naming `field`.
pub fn parse(field: &str, value: i32) -> Result<Purpose, FieldError> {
    let purpose = Purpose::try_from(value).ok().filter(|purpose| *purpose != Purpose::Unspecified);
    purpose.ok_or_else(|| FieldError::malformed(field, "is not a known purpose of use"))
}

/// The code of the value set.
#[must_use]
pub fn code(purpose: Purpose) -> &'static str {
    purpose.as_str_name().trim_start_matches("PURPOSE_OF_USE_")
}

/// The purpose of a code.
#[must_use]
pub fn of_code(code: &str) -> Option<Purpose> {
    let purpose = Purpose::from_str_name(&format!("PURPOSE_OF_USE_{code}"))?;
    (purpose != Purpose::Unspecified).then_some(purpose)
}

/// All purposes, those above before those below.
pub fn all() -> impl Iterator<Item = Purpose> {
    (1..=Purpose::Hmarkt as i32).filter_map(|number| Purpose::try_from(number).ok())
}

/// The purpose right above, if there is one.
#[must_use]
pub const fn parent(purpose: Purpose) -> Option<Purpose> {
    use Purpose as P;
    match purpose {
        P::Unspecified | P::Treat | P::Hpaymt | P::Hoperat | P::Hresch | P::Patrqt | P::Pubhlth | P::Hmarkt => None,
        P::Clintrl | P::Coc | P::Etreat | P::Pophlth | P::Treatds => Some(P::Treat),
        P::Btg | P::Ertreat => Some(P::Etreat),
        P::Clmattch | P::Covauth | P::Coverage | P::Remitadv | P::Pmtds => Some(P::Hpaymt),
        P::Eligdtrm | P::Eligver | P::Enrollm | P::Mildcrg => Some(P::Coverage),
        P::Caremgt
        | P::Donat
        | P::Fraud
        | P::Gov
        | P::Haccred
        | P::Hcompl
        | P::Hdecd
        | P::Hdirect
        | P::Hdm
        | P::Hlegal
        | P::Houtcoms
        | P::Hprgrp
        | P::Hqualimp
        | P::Hsysadmin
        | P::Memadmin
        | P::Milcdm
        | P::Patadmin
        | P::Patsfty
        | P::Perfmsr
        | P::Recordmgt
        | P::Sysdev
        | P::Train
        | P::Mltraining => Some(P::Hoperat),
        P::Labeling | P::Metamgt => Some(P::Hsysadmin),
        P::Htest => Some(P::Sysdev),
        P::Biorch | P::Clintrch | P::Dsrch | P::Poarch | P::Transrch => Some(P::Hresch),
        P::Clintrchnpc | P::Clintrchpc | P::Preclintrch => Some(P::Clintrch),
        P::Famrqt | P::Pwatrny | P::Supnwk => Some(P::Patrqt),
        P::Disaster | P::Threat => Some(P::Pubhlth),
    }
}

/// Whether only its own name covers it.
#[must_use]
pub const fn is_emergency(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Btg | Purpose::Ertreat)
}

/// Whether what is said of one purpose holds for another.
#[must_use]
pub fn covers(said: Purpose, asked: Purpose) -> bool {
    if is_emergency(asked) {
        return said == asked;
    }
    std::iter::successors(Some(asked), |purpose| parent(*purpose)).any(|purpose| purpose == said)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_purpose_has_its_code_and_a_root() {
        assert_eq!(all().count(), 62);
        for purpose in all() {
            assert_eq!((of_code(code(purpose)), parse("p", purpose as i32)), (Some(purpose), Ok(purpose)));
            let above: Vec<_> = std::iter::successors(Some(purpose), |p| parent(*p)).take(5).collect();
            assert!(above.len() <= 3, "{above:?}");
        }
        for unknown in ["", "UNSPECIFIED", "treat", "TREATMENT"] {
            assert_eq!(of_code(unknown), None, "{unknown}");
        }
        assert!(parse("p", 0).is_err() && parse("p", 9).is_err());
    }

    #[test]
    fn what_is_below_is_covered_but_for_emergencies() {
        let covers = |said, asked| covers(of_code(said).unwrap(), of_code(asked).unwrap());
        assert!(covers("TREAT", "TREAT") && covers("TREAT", "COC") && covers("TREAT", "ETREAT"));
        assert!(covers("HRESCH", "CLINTRCHNPC") && covers("CLINTRCH", "CLINTRCHPC"));
        assert!(!covers("COC", "TREAT") && !covers("HPAYMT", "TREAT") && !covers("CLINTRL", "CLINTRCH"));
        for said in ["TREAT", "ETREAT", "ERTREAT"] {
            assert!(!covers(said, "BTG"), "{said}");
        }
        assert!(covers("BTG", "BTG") && covers("ERTREAT", "ERTREAT") && !covers("TREAT", "ERTREAT"));
        assert!(!covers("BTG", "TREAT"));
    }
}
