//! `consilium emergency due`: the reviews of emergencies that a member owes.

use clap::Args;
use consilium_client::pb;
use consilium_proto::ids::TimeMs;
use consilium_proto::names::MemberId;
use serde::Serialize;

use crate::named::ensure_member;
use crate::text::{counted, time_ms};
use crate::{CliError, Context};

/// Arguments of `emergency due`.
#[derive(Debug, Args)]
pub(crate) struct DueArgs {
    /// The hospital [default: the own one]
    #[arg(value_name = "MEMBER")]
    pub(crate) member: Option<MemberId>,
}

/// Which reviews a member owes, proven: those that were declared first, first.
#[derive(Serialize)]
struct DueView {
    member: String,
    reviews: Vec<DueReviewView>,
    /// How many more are not listed: they are overdue.
    dropped: u64,
}

#[derive(Serialize)]
struct DueReviewView {
    emergency: String,
    due: String,
    /// By the time of the newest certified block.
    overdue: bool,
}

/// Runs `consilium emergency due`.
pub(super) async fn run(args: DueArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let member = args.member.unwrap_or_else(|| client.identity().spiffe_id().member().clone());
    ensure_member(&client, &member).await?;
    let due = client.reviews_due(&member).await?.unwrap_or_default();
    let now = client.certified_head().await?.header.time;
    ctx.print(&DueView::new(&member, &due, now), DueView::text)
}

impl DueView {
    fn new(member: &MemberId, due: &pb::ReviewsDueState, now: TimeMs) -> Self {
        let one = |due: &pb::ReviewDue| DueReviewView {
            emergency: hex::encode(&due.emergency_id),
            due: time_ms(due.due_ms),
            overdue: due.due_ms <= now.0,
        };
        Self { member: member.to_string(), reviews: due.reviews.iter().map(one).collect(), dropped: due.dropped }
    }

    fn text(&self) -> String {
        let reviews = counted(self.reviews.len() as u64 + self.dropped, "review", "reviews");
        let mut lines = vec![format!("{} owes {reviews}", self.member)];
        lines.extend(self.reviews.iter().map(|review| match review.overdue {
            true => format!("emergency {}: OVERDUE since {}", review.emergency, review.due),
            false => format!("emergency {}: due {}", review.emergency, review.due),
        }));
        if self.dropped > 0 {
            lines.push(format!("{} older ones, which are overdue, are not listed", self.dropped));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::json;

    #[test]
    fn what_is_owed_says_what_is_overdue() {
        let due = |id, due_ms| pb::ReviewDue { emergency_id: vec![id; 16].into(), due_ms };
        let due = pb::ReviewsDueState { reviews: vec![due(3, 86_400_000), due(4, 86_401_000)], dropped: 1 };
        let view = DueView::new(&"a.example".parse().unwrap(), &due, TimeMs(86_400_000));
        json::snapshot::check("reviews-due", &view);
        let lines = [
            "a.example owes 3 reviews".to_owned(),
            format!("emergency {}: OVERDUE since 1970-01-02T00:00:00Z", "03".repeat(16)),
            format!("emergency {}: due 1970-01-02T00:00:01Z", "04".repeat(16)),
            "1 older ones, which are overdue, are not listed".to_owned(),
        ];
        assert_eq!(view.text(), lines.join("\n"));
        let nothing = DueView::new(&"a.example".parse().unwrap(), &pb::ReviewsDueState::default(), TimeMs(1));
        assert_eq!(nothing.text(), "a.example owes 0 reviews");
    }
}
