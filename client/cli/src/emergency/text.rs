//! `consilium emergency text`: why somebody has declared an emergency, in words.

use std::path::PathBuf;

use clap::Args;
use consilium_client::emergencies::EmergencyText;
use consilium_client::files;
use consilium_client::identity::load_encryption_key;
use consilium_proto::envelope::SealedText;
use consilium_proto::ids::EmergencyId;
use consilium_proto::keys::EncryptionPrivateKey;
use consilium_proto::transaction::encryption_key_id;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::context::write_stdout;
use crate::{CliError, Context};

/// Arguments of `emergency text`.
#[derive(Debug, Args)]
pub(crate) struct TextArgs {
    /// The emergency
    #[arg(value_name = "EMERGENCY")]
    pub(crate) emergency: EmergencyId,
    /// The private custody key [default: this identity's encryption key, if it is the custodian]
    #[arg(long, value_name = "FILE")]
    pub(crate) custody_key: Option<PathBuf>,
    /// Write the text here instead of to stdout; an existing file is left alone
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// The text of an emergency.
#[derive(Serialize)]
struct TextView {
    emergency: String,
    /// Null: it was declared without, or the text was erased.
    text: Option<String>,
    /// There was one.
    erased: bool,
}

/// Runs `consilium emergency text`.
pub(super) async fn run(args: TextArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let emergency = args.emergency.to_string();
    let sealed = match client.emergency_text(args.emergency).await? {
        EmergencyText::None | EmergencyText::Erased if args.out.is_some() => {
            return Err(CliError::failed(format!("emergency {emergency} has no text (any more)")));
        }
        EmergencyText::None => {
            let view = TextView { emergency, text: None, erased: false };
            return ctx.print(&view, |_| "it was declared without a text".to_owned());
        }
        EmergencyText::Erased => {
            let view = TextView { emergency, text: None, erased: true };
            return ctx.print(&view, |_| "its text was erased, as the node says".to_owned());
        }
        EmergencyText::Sealed(sealed) => sealed,
    };
    let given = args.custody_key.as_deref().map(load_encryption_key).transpose()?;
    let text = open(&sealed, given.as_ref().or(client.identity().encryption_key()), |key| {
        sealed.open(key, (&client.genesis().ledger_id, &args.emergency))
    })?;
    if let Some(path) = &args.out {
        return Ok(files::write_new(path, &text, files::SECRET_MODE)?);
    }
    if ctx.is_json() {
        let text = Some(String::from_utf8_lossy(&text).into_owned());
        return ctx.print(&TextView { emergency, text, erased: false }, |_| String::new());
    }
    write_stdout(&text)
}

/// Opens it, or says which key is needed.
fn open(
    sealed: &SealedText,
    key: Option<&EncryptionPrivateKey>,
    open: impl FnOnce(&EncryptionPrivateKey) -> Result<Zeroizing<Vec<u8>>, consilium_proto::envelope::EnvelopeError>,
) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let needed = sealed.key();
    let key = key.ok_or_else(|| {
        CliError::failed(format!("the text is sealed for the custody key {needed}: give it with --custody-key"))
    })?;
    let given = encryption_key_id(&key.public_key());
    if given != needed {
        let why =
            format!("the text is sealed for the custody key {needed}, and this is {given}: give it with --custody-key");
        return Err(CliError::failed(why));
    }
    open(key).map_err(|_| CliError::failed("the text was not sealed as it should be: it opens with no key"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::ids::LedgerId;
    use consilium_proto::keys::KemId;

    use super::*;
    use crate::json;

    #[test]
    fn scripts_get_the_text_or_why_there_is_none() {
        let view = TextView { emergency: "0e".repeat(16), text: Some("found alone".into()), erased: false };
        json::snapshot::check("emergency-text", &view);
    }

    #[test]
    fn a_wrong_key_is_told_which_one_is_right() {
        let of = (&LedgerId::from_bytes([1; 32]), &EmergencyId([2; 16]));
        let [key, other] = [0; 2].map(|_| EncryptionPrivateKey::generate(KemId::X25519HkdfSha256).unwrap());
        let sealed = SealedText::seal(&key.public_key(), of, b"found alone").unwrap();
        let opened = |key: Option<&EncryptionPrivateKey>| open(&sealed, key, |key| sealed.open(key, of));
        assert_eq!(&opened(Some(&key)).unwrap()[..], b"found alone");
        for wrong in [None, Some(&other)] {
            let error = opened(wrong).unwrap_err().to_string();
            assert!(error.contains(&sealed.key().to_string()), "{error}");
        }
    }
}
