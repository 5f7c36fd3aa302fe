//! The text of an access policy as a file: the very bytes that are in force or proposed, for
//! `consilium policy check` and `consilium policy test`.

use std::path::Path;

use consilium_client::{Client, ClientError, files};
use consilium_policy::DEFAULT_POLICY;
use consilium_proto::hash::sha256;
use consilium_proto::transaction::Topic;
use serde::Serialize;

use crate::context::write_stdout;
use crate::{CliError, Context};

/// Standard output, as a file.
const STDOUT: &str = "-";

/// A text that was written.
#[derive(Serialize)]
struct WrittenView {
    file: String,
    bytes: usize,
    sha256: String,
    /// Of the policy in force; null if it is proposed, or the default one.
    version: Option<u32>,
    /// The proposal that it is from; null if it is the default one.
    proposal: Option<u64>,
}

/// Writes the policy in force.
pub(super) async fn in_force(file: &Path, client: &Client, ctx: &Context) -> Result<(), CliError> {
    let (text, version, proposal) = match client.proven_access_policy().await? {
        Some(policy) => (policy.text, Some(policy.version), Some(policy.proposal)),
        None => (DEFAULT_POLICY.to_owned(), None, None),
    };
    write(&text, file, (version, proposal), ctx)
}

/// Writes the policy that a proposal would bring into force.
pub(super) async fn proposed(number: u64, file: &Path, client: &Client, ctx: &Context) -> Result<(), CliError> {
    let proposal = client.proven_proposal(number).await?.proposal;
    let topic = proposal.topic.as_ref().ok_or_else(|| ClientError::contradiction("the proposal has no topic"))?;
    match Topic::parse(topic).map_err(ClientError::from)? {
        Topic::AccessPolicy(text) => write(&text, file, (None, Some(number)), ctx),
        other => Err(CliError::failed(format!("proposal {number} sets no access policy: {}", super::summary(&other)))),
    }
}

fn write(
    text: &str,
    file: &Path,
    (version, proposal): (Option<u32>, Option<u64>),
    ctx: &Context,
) -> Result<(), CliError> {
    if file == Path::new(STDOUT) {
        return write_stdout(text.as_bytes());
    }
    files::write_new(file, text.as_bytes(), files::SECRET_MODE)?;
    let sha256 = hex::encode(sha256(&[text.as_bytes()]));
    let view = WrittenView { file: file.display().to_string(), bytes: text.len(), sha256, version, proposal };
    ctx.print(&view, WrittenView::text)
}

impl WrittenView {
    fn text(&self) -> String {
        let which = match (self.version, self.proposal) {
            (Some(version), _) => format!("access policy {version}, which is in force"),
            (None, Some(number)) => format!("the access policy of proposal {number}"),
            (None, None) => "the default access policy, which is in force".to_owned(),
        };
        format!("{}: {which}, {} bytes, SHA-256 {}", self.file, self.bytes, self.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn what_was_written_says_where_it_is_from() {
        let view = |version, proposal| WrittenView {
            file: "now.cedar".into(),
            bytes: 9,
            sha256: "05".repeat(32),
            version,
            proposal,
        };
        json::snapshot::check("policy-file", &view(Some(2), Some(7)));
        let text = |version, proposal| view(version, proposal).text();
        assert!(text(Some(2), Some(7)).starts_with("now.cedar: access policy 2, which is in force, 9 bytes"));
        assert!(text(None, Some(8)).starts_with("now.cedar: the access policy of proposal 8, 9 bytes"));
        assert!(text(None, None).starts_with("now.cedar: the default access policy, which is in force"));
    }
}
