//! Logging and metrics. Nothing that is logged or counted may hold record
//! contents, keys, or bytes that a client chose freely without being escaped;
//! JSON lines keep every event on a line of its own.
//!
//! Logging never stops the node and never fills a disk: lines go through a bounded queue to a
//! thread of their own ([`lines`]), and lines that others can provoke again and again are left out
//! and counted ([`limiter`]).

mod limiter;
mod lines;

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::{Directive, FilterExt, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use self::limiter::Limiter;
use self::lines::{Lines, Lost};
use crate::config::{Log, LogFormat};

/// Upper bounds of duration histograms, seconds.
const SECONDS: [f64; 14] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Libraries that write a line for what a stranger sends: their errors alone, unless the filter
/// names them.
const QUIET: [&str; 4] = ["h2", "hyper", "rustls", "tonic"];
/// How long the end of a process waits until its last lines are written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where lines go, once logging has started.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Starts logging to standard error.
///
/// # Errors
/// If the filter does not parse, or the system has no thread for it.
pub fn start_logging(log: &Log) -> Result<(), StartError> {
    let filter = filter(&log.filter)?;
    let error = std::io::stderr();
    // A handle of its own: who writes last words must not wait for a lock that a blocked thread has.
    let own = std::os::fd::AsFd::as_fd(&error).try_clone_to_owned().map_err(StartError::Stream)?;
    let limiter = Limiter::default();
    let reported = limiter.clone();
    let report = move |lost| report(&reported, lost);
    let lines = Lines::start(std::fs::File::from(own), log.bytes_per_minute, report).map_err(StartError::Stream)?;
    let lines = LINES.get_or_init(|| lines);
    let registry = tracing_subscriber::registry();
    let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone());
    match log.format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true).with_filter(filter.and(limiter))).init(),
        LogFormat::Text => registry.with(layer.with_filter(filter.and(limiter))).init(),
    }
    Ok(())
}

/// Why logging does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The filter.
    #[error("configuration key `log.filter`: {0}")]
    Filter(#[from] ParseError),
    /// The stream, or the thread that writes to it.
    #[error("logging to standard error: {0}")]
    Stream(std::io::Error),
}

/// The user's filter, and quiet libraries.
fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let mut filter = EnvFilter::builder().parse(text)?;
    for library in QUIET {
        let named = text.split(',').any(|directive| {
            let rest = directive.trim().strip_prefix(library);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['=', ':', '[']))
        });
        if !named {
            filter = filter.add_directive(format!("{library}=error").parse::<Directive>()?);
        }
    }
    Ok(filter)
}

/// Says what was left out since the last time.
fn report(limiter: &Limiter, lost: Lost) {
    for left_out in limiter.left_out() {
        let limiter::LeftOut { lines, target, like } = left_out;
        tracing::warn!(target: limiter::REPORTS, of = target, like, "left out {lines} lines like this");
    }
    if lost.slow > 0 {
        tracing::warn!(target: limiter::REPORTS, "left out {} lines: nobody read standard error in time", lost.slow);
    }
    if lost.volume > 0 {
        tracing::warn!(target: limiter::REPORTS, "left out {} lines: more than log.bytes_per_minute", lost.volume);
    }
}

/// Writes a line as it is, for people, and waits for a moment until it and all before it are
/// written; whoever has nothing more to say than what is logged passes none.
pub fn last_words(text: Option<&str>) {
    match LINES.get() {
        Some(lines) => {
            lines.finish(text, LAST_WORDS);
        }
        None => text.into_iter().for_each(|text| eprintln!("{text}")),
    }
}

/// Starts the recorder of metrics.
///
/// # Errors
/// If one is running already.
pub fn start_metrics() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?.install_recorder()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn libraries_are_quiet_unless_they_are_named() {
        let quiet = filter("info").unwrap().to_string();
        assert!(QUIET.iter().all(|library| quiet.contains(&format!("{library}=error"))), "{quiet}");
        let asked = filter("h2::proto=trace,tonic=debug,info").unwrap().to_string();
        assert!(!asked.contains("h2=error") && !asked.contains("tonic=error"), "{asked}");
        assert!(asked.contains("hyper=error") && asked.contains("rustls=error"), "{asked}");
        // Another library whose name begins alike.
        assert!(filter("hyper_util=debug").unwrap().to_string().contains("hyper=error"));
        assert!(filter("consilium_node=loud").is_err());
    }
}
