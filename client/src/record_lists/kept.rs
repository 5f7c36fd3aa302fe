//! What was kept of a patient's lists, as text: a line `KIND CONFIDENTIALITY COUNT:ROOT` for each
//! list, with the number of the level.

use std::collections::BTreeMap;

use consilium_proto::pb::Confidentiality;

use crate::access_log::KeptLog;

/// What was kept of the lists of a patient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptLists(BTreeMap<(String, i32), KeptLog>);

impl KeptLists {
    /// Nothing is known yet.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// The same with another list.
    #[must_use]
    pub fn with(mut self, kind: &str, confidentiality: Confidentiality, log: KeptLog) -> Self {
        self.0.insert((kind.to_owned(), confidentiality.into()), log);
        self
    }

    pub(super) fn of(&self, kind: &str, confidentiality: Confidentiality) -> KeptLog {
        let kept = self.0.get(&(kind.to_owned(), confidentiality.into()));
        kept.copied().unwrap_or_else(KeptLog::nothing)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Confidentiality)> {
        self.0.keys().map(|(kind, level)| (kind.as_str(), Confidentiality::try_from(*level).unwrap_or_default()))
    }
}

impl std::fmt::Display for KeptLists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|((kind, level), log)| writeln!(f, "{kind} {level} {log}"))
    }
}

/// A line is not of the form `KIND CONFIDENTIALITY COUNT:ROOT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is not KIND CONFIDENTIALITY COUNT:ROOT, such as Observation 4 12:5f0c... with 64 hexadecimal digits")]
pub struct ParseKeptListsError(
    /// From 1.
    pub usize,
);

impl std::str::FromStr for KeptLists {
    type Err = ParseKeptListsError;

    fn from_str(text: &str) -> Result<Self, ParseKeptListsError> {
        (1..).zip(text.lines()).try_fold(Self::nothing(), |kept, (number, line)| {
            let (kind, level, log) = parse_line(line).ok_or(ParseKeptListsError(number))?;
            Ok(kept.with(kind, level, log))
        })
    }
}

fn parse_line(line: &str) -> Option<(&str, Confidentiality, KeptLog)> {
    let mut parts = line.split(' ');
    let (kind, level, log) = (parts.next()?, parts.next()?, parts.next()?);
    let level = Confidentiality::try_from(level.parse::<i32>().ok()?).ok()?;
    let known = level != Confidentiality::Unspecified && !kind.is_empty() && parts.next().is_none();
    Some((kind, level, log.parse().ok()?)).filter(|_| known)
}
