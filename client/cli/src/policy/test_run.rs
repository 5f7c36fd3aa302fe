//! `consilium policy test`: what a policy decides of example requests, and where that is not what
//! was expected.

use std::path::Path;

use consilium_policy::{Policies, RecursionFault};
use consilium_proto::access::permits;
use serde::Serialize;

use super::example::{Example, ground_name};
use crate::words;

/// Whose decisions are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Expectations {
    /// Those of the default policy, of the examples that come with the program.
    DefaultPolicy,
    /// Those that the examples' file says.
    Examples,
    /// Those of another text.
    OtherPolicy,
}

impl Expectations {
    pub(super) const fn of(examples: Option<&Path>, against: Option<&Path>) -> Self {
        match (examples, against) {
            (_, Some(_)) => Self::OtherPolicy,
            (Some(_), None) => Self::Examples,
            (None, None) => Self::DefaultPolicy,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::DefaultPolicy => {
                "expected is what the default policy decides, which need not be the one in force \
                 (consilium governance rules --policy FILE, and --against FILE here)"
            }
            Self::Examples => "expected is what the file of examples says",
            Self::OtherPolicy => "expected is what the other text decides",
        }
    }
}

/// What a policy decides of all examples.
#[derive(Serialize)]
pub(super) struct TestView {
    examples: usize,
    expected_by: Expectations,
    /// How many were decided otherwise than expected.
    differences: usize,
    results: Vec<ResultView>,
}

/// What it decides of one.
#[derive(Serialize)]
struct ResultView {
    name: String,
    as_expected: bool,
    expected: &'static str,
    /// Null: on whatever ground.
    expected_ground: Option<&'static str>,
    decision: &'static str,
    /// An AccessGround of access.proto.
    ground: &'static str,
    words: String,
    /// Of the policy, that decided it; none where the floor has denied, or no rule permits.
    rules: Vec<String>,
}

impl TestView {
    /// # Errors
    /// A fault of this machine.
    pub(super) fn of(
        policies: &Policies,
        examples: &[Example],
        expected_by: Expectations,
    ) -> Result<Self, RecursionFault> {
        let results = examples.iter().map(|example| ResultView::of(policies, example));
        let results = results.collect::<Result<Vec<_>, _>>()?;
        let differences = results.iter().filter(|result| !result.as_expected).count();
        Ok(Self { examples: results.len(), expected_by, differences, results })
    }

    pub(super) const fn differences(&self) -> usize {
        self.differences
    }

    /// The differences; with `all`, what was decided as expected, too.
    pub(super) fn text(&self, all: bool) -> String {
        let shown = self.results.iter().filter(|result| all || !result.as_expected);
        let mut lines: Vec<String> = shown.map(ResultView::text).collect();
        lines.push(match self.differences {
            0 => format!("{} examples, all decided as expected", self.examples),
            number => format!("{} examples, {number} of them decided otherwise than expected", self.examples),
        });
        lines.push(self.expected_by.words().to_owned());
        lines.join("\n")
    }
}

impl ResultView {
    fn of(policies: &Policies, example: &Example) -> Result<Self, RecursionFault> {
        let facts = example.facts();
        let ground = policies.decide(&facts)?;
        Ok(Self {
            name: example.name.clone(),
            as_expected: example.expected.is_met_by(ground),
            expected: decision(example.expected.permit),
            expected_ground: example.expected.ground.map(ground_name),
            decision: decision(permits(ground)),
            ground: ground_name(ground),
            words: words::ground(ground),
            rules: policies.rules_that_decide(&facts)?,
        })
    }

    fn text(&self) -> String {
        let mark = if self.as_expected { "as expected" } else { "DIFFERS" };
        let by = match self.rules.is_empty() {
            true => String::new(),
            false => format!(" (rule {})", self.rules.join(", ")),
        };
        let expected = match (self.as_expected, self.expected_ground) {
            (true, _) => String::new(),
            (false, None) => format!("\n  expected: {}", self.expected),
            (false, Some(ground)) => format!("\n  expected: {} {ground}", self.expected),
        };
        format!("{mark}: {}{expected}\n  decided:  {} {}{by}; {}", self.name, self.decision, self.ground, self.words)
    }
}

const fn decision(permit: bool) -> &'static str {
    if permit { "permit" } else { "deny" }
}
