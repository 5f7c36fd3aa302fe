//! Waiting for a condition, with a deadline: the only place that sleeps.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

/// Asks again and again until the answer is `Ok`, at most for `deadline`.
///
/// # Errors
/// The last answer, with what was waited for.
#[allow(clippy::disallowed_methods, reason = "the one place of the tests that waits")]
pub fn eventually<T, E: Display>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> Result<T, E>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(value) => return Ok(value),
            Err(e) if start.elapsed() >= deadline => anyhow::bail!("{what}: not within {deadline:?}: {e}"),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// The same for conditions that need the network.
///
/// # Errors
/// The last answer, with what was waited for.
pub async fn eventually_async<T, E, F, Fut>(what: &str, deadline: Duration, mut ask: F) -> anyhow::Result<T>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let start = Instant::now();
    let mut last = String::from("no answer at all");
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, ask()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(e)) => last = e.to_string(),
            Err(_) => {}
        }
        if start.elapsed() >= deadline {
            anyhow::bail!("{what}: not within {deadline:?}: {last}");
        }
        tokio::time::sleep(POLL).await;
    }
}
