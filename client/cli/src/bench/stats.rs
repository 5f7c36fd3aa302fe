//! Counting and presenting. Latencies are microseconds in a histogram of three
//! significant digits.

use std::collections::BTreeMap;
use std::time::Duration;

use consilium_usage::Used;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency that is told apart, microseconds; longer ones count as this.
const LATENCY_US_MAX: u64 = 10 * 60 * 1_000_000;

/// What one client counted.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    latencies_us: Histogram<u64>,
    errors: BTreeMap<String, u64>,
}

/// One line of the result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    /// Concurrent clients.
    pub(crate) clients: usize,
    /// Connections that they shared.
    pub(crate) connections: usize,
    /// Seconds measured, warm-up excluded.
    pub(crate) seconds: f64,
    /// Transactions that took effect.
    pub(crate) transactions: u64,
    /// The same per second.
    pub(crate) per_second: f64,
    /// Median latency, milliseconds.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Answers that do not count, by reason.
    pub(crate) errors: BTreeMap<String, u64>,
    /// CPU time of each server process per transaction, microseconds, by pid.
    pub(crate) server_cpu_us: BTreeMap<u32, f64>,
    /// Context switches of all server processes per transaction.
    pub(crate) server_switches: f64,
    /// Bytes that all server processes have written to disks per transaction; `None`: the system
    /// does not say it of one of them.
    pub(crate) server_written_bytes: Option<f64>,
    /// The most memory that any of the server processes has ever had, since it started; `None`: the
    /// system does not say.
    pub(crate) server_peak_bytes: Option<u64>,
    /// CPU time of this process per transaction, microseconds.
    pub(crate) own_cpu_us: f64,
}

impl Default for Tally {
    fn default() -> Self {
        let latencies_us =
            Histogram::new_with_max(LATENCY_US_MAX, 3).expect("three digits up to ten minutes are allowed");
        Self { latencies_us, errors: BTreeMap::new() }
    }
}

impl Tally {
    /// Counts a transaction that took effect.
    pub(crate) fn success(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX);
        self.latencies_us.saturating_record(us.min(LATENCY_US_MAX));
    }

    /// Counts an answer that does not count.
    pub(crate) fn error(&mut self, reason: impl Into<String>) {
        *self.errors.entry(reason.into()).or_default() += 1;
    }

    /// Adds another client's counts.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.latencies_us.add(&other.latencies_us).expect("histograms of one shape add");
        for (reason, count) in &other.errors {
            *self.errors.entry(reason.clone()).or_default() += count;
        }
    }

    /// Transactions that took effect.
    pub(crate) fn transactions(&self) -> u64 {
        self.latencies_us.len()
    }

    /// The line for a run; what processes used is given for the measured time.
    pub(crate) fn row(
        &self,
        clients: usize,
        connections: usize,
        measured: Duration,
        servers: &BTreeMap<u32, Used>,
        own: Used,
    ) -> Row {
        let count = self.transactions();
        let each = |all: u64| if count == 0 { 0.0 } else { all as f64 / count as f64 };
        let cpu_us = |used: &Used| each(u64::try_from(used.cpu.as_micros()).unwrap_or(u64::MAX));
        let quantile = |q| self.latencies_us.value_at_quantile(q) as f64 / 1000.0;
        Row {
            clients,
            connections,
            seconds: measured.as_secs_f64(),
            transactions: count,
            per_second: count as f64 / measured.as_secs_f64().max(f64::MIN_POSITIVE),
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            errors: self.errors.clone(),
            server_cpu_us: servers.iter().map(|(pid, used)| (*pid, cpu_us(used))).collect(),
            server_switches: each(servers.values().map(|used| used.switches).sum()),
            server_written_bytes: servers.values().map(|used| used.written_bytes).sum::<Option<u64>>().map(each),
            server_peak_bytes: None,
            own_cpu_us: cpu_us(&own),
        }
    }
}

/// Rows as a table for people.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = [
        "CLIENTS",
        "TX/S",
        "P50 MS",
        "P90 MS",
        "P99 MS",
        "SERVER CPU US/TX",
        "SWITCHES/TX",
        "WRITTEN B/TX",
        "PEAK MB",
        "OWN CPU US/TX",
        "ERRORS",
    ];
    let cells = rows.iter().map(|row| {
        let of_servers = |value: f64, digits| match row.server_cpu_us.is_empty() {
            true => "-".to_owned(),
            false => format!("{value:.digits$}"),
        };
        let errors: Vec<String> = row.errors.iter().map(|(reason, count)| format!("{reason}={count}")).collect();
        vec![
            row.clients.to_string(),
            format!("{:.0}", row.per_second),
            format!("{:.1}", row.p50_ms),
            format!("{:.1}", row.p90_ms),
            format!("{:.1}", row.p99_ms),
            of_servers(row.server_cpu_us.values().sum(), 0),
            of_servers(row.server_switches, 1),
            row.server_written_bytes.map_or_else(|| "-".to_owned(), |bytes| of_servers(bytes, 0)),
            row.server_peak_bytes.map_or_else(|| "-".to_owned(), |bytes| (bytes / 1_000_000).to_string()),
            format!("{:.0}", row.own_cpu_us),
            if errors.is_empty() { "none".into() } else { errors.join(" ") },
        ]
    });
    crate::text::table(&head, cells)
}

#[cfg(test)]
mod tests;
