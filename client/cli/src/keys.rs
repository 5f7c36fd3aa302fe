//! `consilium keys`: makes keys. Files are new, mode 0600, and never shown.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use consilium_proto::envelope::SearchKey;
use consilium_proto::keys::{EncryptionPrivateKey, KemId};
use consilium_proto::signing::{SignatureAlgorithm, SigningKey};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{CliError, Context};
use consilium_client::ClientError;
use consilium_client::files::{self, SECRET_MODE};
use consilium_client::membership::folder::{make_vote_key, public_path};

/// Which key to make.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// Which key to make.
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

/// Which key to make.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// An Ed25519 key that signs transactions (PKCS#8 PEM)
    Signing(OutArgs),
    /// A key that opens records
    Encryption {
        /// Where to.
        #[command(flatten)]
        out: OutArgs,
        /// Key encapsulation mechanism
        #[arg(long, value_enum, default_value_t = Kem::XWing)]
        kem: Kem,
    },
    /// A P-256 key that signs a node's votes (PKCS#8 PEM), and FILE.pub for the genesis
    Vote(OutArgs),
    /// The network's key for pseudonyms and search tags (64 hexadecimal digits)
    Search(OutArgs),
}

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct OutArgs {
    /// New file
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Key encapsulation mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kem {
    /// X25519 with ML-KEM-768: safe against quantum computers, too.
    XWing,
    /// X25519 alone.
    X25519,
    /// P-256, for recipients with HSMs.
    #[value(name = "p-256")]
    P256,
}

#[derive(Serialize)]
struct Made<'a> {
    key: &'a Path,
    public: Option<PathBuf>,
    /// Hexadecimal.
    fingerprint: Option<String>,
}

/// Runs `consilium keys`.
pub(crate) fn run(args: &KeysArgs, ctx: &Context) -> Result<(), CliError> {
    let made = match &args.command {
        KeysCommand::Signing(out) => signing(&out.out)?,
        KeysCommand::Encryption { out, kem } => encryption(&out.out, *kem)?,
        KeysCommand::Vote(out) => vote(&out.out)?,
        KeysCommand::Search(out) => search(&out.out)?,
    };
    ctx.print(&made, |made| {
        let mut text = format!("key: {}\n", made.key.display());
        if let Some(public) = &made.public {
            text += &format!("public part: {}\n", public.display());
        }
        if let Some(fingerprint) = &made.fingerprint {
            text += &format!("fingerprint: {fingerprint}\n");
        }
        text
    })
}

fn signing(out: &Path) -> Result<Made<'_>, ClientError> {
    let key = SigningKey::generate(SignatureAlgorithm::Ed25519)?;
    files::write_new(out, key.to_pem()?.as_bytes(), SECRET_MODE)?;
    Ok(Made { key: out, public: None, fingerprint: Some(hex::encode(key.verifying_key().fingerprint())) })
}

fn encryption(out: &Path, kem: Kem) -> Result<Made<'_>, ClientError> {
    let kem = match kem {
        Kem::XWing => KemId::XWing,
        Kem::X25519 => KemId::X25519HkdfSha256,
        Kem::P256 => KemId::P256HkdfSha256,
    };
    let key = EncryptionPrivateKey::generate(kem)?;
    files::write_new(out, key.to_pem()?.as_bytes(), SECRET_MODE)?;
    Ok(Made { key: out, public: None, fingerprint: Some(hex::encode(key.public_key().fingerprint())) })
}

fn vote(out: &Path) -> Result<Made<'_>, ClientError> {
    make_vote_key(out)?;
    Ok(Made { key: out, public: Some(public_path(out)), fingerprint: None })
}

fn search(out: &Path) -> Result<Made<'_>, ClientError> {
    let key = SearchKey::generate()?;
    let text = Zeroizing::new(hex::encode(key.expose()) + "\n");
    files::write_new(out, text.as_bytes(), SECRET_MODE)?;
    Ok(Made { key: out, public: None, fingerprint: None })
}

#[cfg(test)]
mod tests;
