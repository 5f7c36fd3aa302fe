//! Members and identities that a person names in what is about to be signed. A name with a slip in it
//! is nobody's: a denial of it would deny nobody, and a permit would wait for somebody to take the
//! name. So each is held against the ledger first.

use std::collections::BTreeSet;

use clap::Args;
use consilium_client::Client;
use consilium_proto::consent::{Grant, Grantee};
use consilium_proto::names::{MemberId, SpiffeId};

use crate::CliError;
use crate::confirm::Consent;

/// From how alike two names are, 0 to 1, the one may be a slip of the other.
const ALIKE: f64 = 0.7;
/// Up to how many names a hint lists all that there are.
const LISTED_MAX: usize = 12;

/// Whether names may be signed that nobody bears yet.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Unknown {
    /// Take identities that have never enrolled, too. A mistyped one is nobody's
    #[arg(long)]
    pub(crate) allow_unknown: bool,
}

impl Unknown {
    /// Where nobody is asked, what is not known must have been allowed.
    pub(crate) fn allow(self, strangers: &[SpiffeId]) -> Result<(), CliError> {
        match strangers {
            [] => Ok(()),
            _ if self.allow_unknown => Ok(()),
            [first, ..] => Err(CliError::failed(format!("nobody has ever enrolled as {first}")).hint(
                "look at the spelling; if it is right, pass --allow-unknown: it holds once that identity enrols",
            )),
        }
    }

    /// The same where a person is asked, who reads [`strangers_words`] first.
    pub(crate) fn allow_unless_asked(self, ask: Consent, strangers: &[SpiffeId]) -> Result<(), CliError> {
        if ask.yes { self.allow(strangers) } else { Ok(()) }
    }
}

/// What a person should know of identities that nobody bears yet.
pub(crate) fn strangers_words(strangers: &[SpiffeId]) -> Vec<String> {
    let told = |id: &SpiffeId| format!("NOBODY has ever enrolled as {id}: mistyped, it would be about nobody");
    strangers.iter().map(told).collect()
}

/// Names that were written down.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    members: BTreeSet<MemberId>,
    identities: BTreeSet<SpiffeId>,
}

impl Named {
    /// A member.
    pub(crate) fn member(mut self, id: &MemberId) -> Self {
        self.members.insert(id.clone());
        self
    }

    /// An identity, and with it its member.
    pub(crate) fn identity(mut self, id: &SpiffeId) -> Self {
        self.members.insert(id.member().clone());
        self.identities.insert(id.clone());
        self
    }

    /// All that a consent names: whom it is about, and who wrote what it is about.
    pub(crate) fn of_grant(grant: &Grant) -> Self {
        let mut named = Self::default();
        for rule in &grant.rules {
            for grantee in &rule.grantees {
                named = match grantee {
                    Grantee::Identity(id) => named.identity(id),
                    Grantee::Role(member, _) | Grantee::Member(member) => named.member(member),
                };
            }
            // A grant that was parsed holds nothing else there.
            named.members.extend(rule.author_members.iter().filter_map(|id| id.parse().ok()));
            named = rule.authors.iter().filter_map(|id| id.parse().ok()).fold(named, |named, id| named.identity(&id));
        }
        named
    }

    /// Refuses members that there are not, and answers with the identities that have never enrolled.
    pub(crate) async fn strangers(self, client: &Client) -> Result<Vec<SpiffeId>, CliError> {
        if self == Self::default() {
            return Ok(Vec::new());
        }
        let roster = client.roster().await?;
        for id in self.members.iter().filter(|id| !roster.contains(id)) {
            // One that was removed is no slip, and may still be denied.
            if client.proven_member(id.as_str()).await?.is_none() {
                return Err(no_member(id, &roster));
            }
        }
        let mut strangers = Vec::new();
        for id in self.identities {
            if !client.has_enrolled(&id).await? {
                strangers.push(id);
            }
        }
        Ok(strangers)
    }
}

/// Refuses a member that there is not.
pub(crate) async fn ensure_member(client: &Client, id: &MemberId) -> Result<(), CliError> {
    Named::default().member(id).strangers(client).await.map(drop)
}

fn no_member(id: &MemberId, roster: &[MemberId]) -> CliError {
    let error = CliError::failed(format!("{id} is no member of this network"));
    let list = |ids: &[&MemberId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut alike: Vec<(f64, &MemberId)> =
        roster.iter().map(|known| (strsim::jaro_winkler(id.as_str(), known.as_str()), known)).collect();
    alike.retain(|(score, _)| *score >= ALIKE);
    alike.sort_by(|a, b| b.0.total_cmp(&a.0));
    match (alike.first(), roster.len()) {
        (Some((_, nearest)), _) => error.hint(format!("is it {nearest}? `consilium governance members` lists all")),
        (None, ..=LISTED_MAX) => error.hint(format!("members are {}", list(&roster.iter().collect::<Vec<_>>()))),
        (None, _) => error.hint("`consilium governance members` lists all"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::consent::Rule;
    use consilium_proto::names::Role;
    use consilium_proto::pb::{ConsentBase, ConsentEffect};

    use super::*;

    fn member(id: &str) -> MemberId {
        id.parse().unwrap()
    }

    #[test]
    fn a_slip_is_told_with_the_name_that_was_meant() {
        let roster = [member("harbour.example"), member("lakeside.example"), member("st-mary.example")];
        for (slip, meant) in [
            ("lakeside", "lakeside.example"),
            ("lakesied.example", "lakeside.example"),
            ("st-marys.example", "st-mary.example"),
        ] {
            let error = no_member(&member(slip), &roster);
            let hint = format!("is it {meant}? `consilium governance members` lists all");
            assert_eq!(error, CliError::failed(format!("{slip} is no member of this network")).hint(hint));
        }
        let far = no_member(&member("q"), &roster);
        let hint = "members are harbour.example, lakeside.example, st-mary.example";
        assert_eq!(far, CliError::failed("q is no member of this network").hint(hint));
    }

    #[test]
    fn every_name_in_a_consent_is_looked_at() {
        let id: SpiffeId = "spiffe://a.example/clinician/c-1".parse().unwrap();
        let rule = Rule {
            grantees: vec![
                Grantee::Identity(id.clone()),
                Grantee::Role(member("b.example"), Role::Clinician),
                Grantee::Member(member("c.example")),
            ],
            author_members: vec!["d.example".into()],
            authors: vec!["spiffe://e.example/service/ehr".into()],
            ..Rule::of_effect(ConsentEffect::Deny)
        };
        let grant = Grant { rules: vec![rule], ..Grant::of_base(ConsentBase::AllNormal) };
        let named = Named::of_grant(&grant);
        let members: Vec<_> = named.members.iter().map(MemberId::as_str).collect();
        assert_eq!(members, ["a.example", "b.example", "c.example", "d.example", "e.example"]);
        assert_eq!(named.identities.len(), 2);
        assert!(named.identities.contains(&id));
    }

    #[test]
    fn who_is_not_known_is_refused_where_nobody_is_asked() {
        let stranger: SpiffeId = "spiffe://a.example/clinician/c-9999".parse().unwrap();
        let strangers = [stranger];
        let (yes, no) = (Consent { yes: true }, Consent { yes: false });
        let strict = Unknown::default();
        assert!(strict.allow(&strangers).is_err() && strict.allow_unless_asked(yes, &strangers).is_err());
        assert!(strict.allow_unless_asked(no, &strangers).is_ok(), "who is asked reads it");
        assert!(strict.allow(&[]).is_ok());
        assert!(Unknown { allow_unknown: true }.allow_unless_asked(yes, &strangers).is_ok());
        assert!(strangers_words(&strangers)[0].contains("spiffe://a.example/clinician/c-9999"));
    }
}
