//! The default policy once more, role by role, in plain code: what the text in Cedar must say.

use consilium_proto::access::permits;
use consilium_proto::consent::Said;
use consilium_proto::names::Role;
use consilium_proto::pb::{AccessGround as Ground, Confidentiality, PurposeOfUse as P};
use consilium_proto::purpose::covers;

use crate::case::Case;

/// What the default policy makes of a case.
pub(crate) fn decide(case: &Case) -> Ground {
    let floor = case.facts().floor();
    match permits(floor) && (forbids(case, floor) || !opens(case, floor)) {
        true => Ground::Policy,
        false => floor,
    }
}

fn opens(case: &Case, floor: Ground) -> bool {
    let asks = |said: P| covers(said, case.purpose);
    let by_name = case.consent == Said::Permits { by_name: true };
    let by_consent = matches!(case.consent, Said::BasePermits | Said::Permits { .. });
    let role = case.reader.role();
    if matches!(floor, Ground::Patient | Ground::Representative) && asks(P::Patrqt) {
        return true;
    }
    match role {
        Role::Clinician | Role::Service => {
            let clinician = role == Role::Clinician;
            asks(P::Btg)
                || asks(P::Hmarkt) && by_name
                || asks(P::Pubhlth) && !clinician && is_any(floor, [Ground::Author, Ground::Custodian, Ground::Consent])
                || (asks(P::Treat) || asks(P::Hpaymt) || asks(P::Hoperat))
                    && (is_any(floor, [Ground::Author, Ground::Consent])
                        || floor == Ground::Custodian && (!clinician || case.under_care || by_consent))
        }
        Role::Researcher => asks(P::Hresch) && (floor == Ground::Author || by_consent),
        Role::Patient => asks(P::Patrqt) && (floor == Ground::Author || by_name),
        Role::Device => asks(P::Treat) && case.facts().is_custodian(),
        Role::Node | Role::Admin | Role::Auditor => false,
    }
}

fn forbids(case: &Case, floor: Ground) -> bool {
    let by_name = case.consent == Said::Permits { by_name: true };
    let close = [Ground::Author, Ground::Patient, Ground::Representative, Ground::Emergency];
    let very_restricted = case.confidentiality == Confidentiality::VeryRestricted && !by_name && !is_any(floor, close);
    let overdue = case.overdue > 0 && floor == Ground::Consent && case.reader.role() != Role::Patient;
    very_restricted || overdue
}

fn is_any<const N: usize>(ground: Ground, grounds: [Ground; N]) -> bool {
    grounds.contains(&ground)
}
