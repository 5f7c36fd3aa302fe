//! Consents that stay in force beside one that is put. A later one takes the place of an earlier one
//! only if it says so, which a FHIR Consent cannot: whoever puts it is told.

use consilium_client::access_log::KnownConsent;
use consilium_client::{Client, ClientError};
use consilium_proto::ids::{PatientPseudonym, TimeMs};
use consilium_proto::names::{Role, SpiffeId};
use tonic::Code;

use crate::CliError;
use crate::text::time_ms;

/// What is said of the consents of the same signer; nothing to who may not know of the patient.
pub(super) async fn warnings(client: &Client, patient: PatientPseudonym) -> Result<Vec<String>, CliError> {
    match client.patient_rows(patient).await {
        Err(ClientError::Status { code: Code::NotFound, .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
        Ok(rows) => Ok(of_signer(client.identity().spiffe_id(), &rows.consents, rows.header.time)),
    }
}

/// Of paper the member is the signer, whoever files it.
fn of_signer(signer: &SpiffeId, consents: &[KnownConsent], now: TimeMs) -> Vec<String> {
    let name = signer.to_string();
    let same = |consent: &&KnownConsent| match signer.role() {
        Role::Patient => consent.state.author == name,
        _ => consent.state.paper_member == signer.member().as_str(),
    };
    let in_force = consents.iter().filter(|consent| consent.grant.period.contains(now));
    in_force.filter(same).map(|consent| words(consent, signer)).collect()
}

fn words(consent: &KnownConsent, signer: &SpiffeId) -> String {
    let whose = match signer.role() {
        Role::Patient => "of this identity".to_owned(),
        _ => format!("on paper of {}", signer.member()),
    };
    let (id, signed) = (consent.id, time_ms(consent.state.signed_ms));
    format!("consent {id} {whose}, signed {signed}, stays in force beside this one; --replaces {id} replaces it")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_client::pb;
    use consilium_proto::consent::{Grant, Period};
    use consilium_proto::ids::ConsentId;
    use consilium_proto::pb::ConsentBase;

    use super::*;

    const CLERK: &str = "spiffe://a.example/service/ehr";
    const ANNA: &str = "spiffe://a.example/patient/0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

    fn consent(id: u8, (author, paper_member): (&str, &str), to: u64) -> KnownConsent {
        let (author, paper_member) = (author.into(), paper_member.into());
        let state = pb::ConsentState { author, paper_member, signed_ms: 1_000, ..Default::default() };
        let period = Period { from: TimeMs(0), to: TimeMs(to) };
        KnownConsent { id: ConsentId([id; 16]), state, grant: Grant { period, ..Grant::of_base(ConsentBase::Deny) } }
    }

    /// Ids of the consents that are named.
    fn named(signer: &str) -> Vec<String> {
        let consents = [
            consent(1, (ANNA, ""), 0),
            consent(2, (ANNA, ""), 5_000),
            consent(3, ("spiffe://a.example/clinician/c-1", "a.example"), 5_001),
            consent(4, ("spiffe://b.example/service/ehr", "b.example"), 0),
        ];
        let warnings = of_signer(&signer.parse().unwrap(), &consents, TimeMs(5_000));
        warnings.iter().map(|warning| warning.split(' ').nth(1).unwrap().to_owned()).collect()
    }

    #[test]
    fn who_signs_again_is_told_of_its_own_consents_in_force() {
        assert_eq!(named(ANNA), ["01".repeat(16)], "the other one has ended");
        assert_eq!(named(CLERK), ["03".repeat(16)], "a colleague's paper, and nobody else's");
        assert_eq!(named("spiffe://c.example/service/ehr"), [""; 0]);
    }

    #[test]
    fn the_warning_says_how_to_replace_it() {
        let warning = &of_signer(&CLERK.parse().unwrap(), &[consent(7, ("", "a.example"), 0)], TimeMs(1))[0];
        let id = "07".repeat(16);
        assert_eq!(
            *warning,
            format!(
                "consent {id} on paper of a.example, signed 1970-01-01T00:00:01Z, stays in force beside this one; \
                 --replaces {id} replaces it"
            )
        );
    }
}
