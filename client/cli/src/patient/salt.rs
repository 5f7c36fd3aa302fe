//! `consilium patient salt`: who keeps the salt under which the own member blinds a patient's labels.

use clap::Args;
use consilium_client::labels::SharedSalt;
use consilium_proto::ids::PatientPseudonym;
use serde::Serialize;

use crate::confirm::Consent;
use crate::{CliError, Context, SubmittedView};

/// Arguments of `patient salt`.
#[derive(Debug, Args)]
pub(crate) struct SaltArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    patient: PatientPseudonym,
    /// A service or clinician of the own member that writes labels or puts consents, beside the
    /// custodian, its deputy, and who reads for the patient; may be repeated
    #[arg(long = "for", value_name = "SPIFFE")]
    keepers: Vec<String>,
    /// Put a new salt, for when nobody keeps the present one any more, or the wrong one does
    #[arg(long)]
    renew: bool,
    #[command(flatten)]
    ask: Consent,
}

#[derive(Serialize)]
struct SaltView {
    /// Salts of the member that this identity keeps.
    salts: usize,
    /// Keys for which they were wrapped now.
    keys: usize,
    /// The last transaction; null if everybody kept them already.
    transaction: Option<SubmittedView>,
}

pub(crate) async fn run(args: SaltArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    if args.renew {
        let about = format!(
            "puts a new salt for the labels of patient {}: what is labelled from then on is denied by every consent \
             that denies labels, until it is put again",
            args.patient
        );
        args.ask.ask(&about, "Put a new salt?")?;
        client.renew_salt(args.patient).await?;
    }
    let SharedSalt { salts, keys, transaction } = client.share_salt(args.patient, &args.keepers).await?;
    let view = SaltView { salts, keys, transaction: transaction.as_ref().map(SubmittedView::new) };
    ctx.print(&view, SaltView::text)
}

impl SaltView {
    fn text(&self) -> String {
        let kept = format!("{} salts, wrapped now for {} keys", self.salts, self.keys);
        let submitted = self.transaction.as_ref().map(SubmittedView::text);
        std::iter::once(kept).chain(submitted).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn what_scripts_get_of_a_salt_that_is_handed_on() {
        let view = SaltView { salts: 1, keys: 3, transaction: Some(crate::tests::submitted()) };
        json::snapshot::check("patient-salt", &view);
        assert!(view.text().starts_with("1 salts, wrapped now for 3 keys\n"));
        let nothing = SaltView { salts: 2, keys: 0, transaction: None };
        assert_eq!(nothing.text(), "2 salts, wrapped now for 0 keys");
    }
}
