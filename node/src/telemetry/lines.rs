//! Writes log lines from a thread of their own, so that a pipe that nobody reads, or a disk that
//! hangs, holds up that thread and nothing else. What waits is bounded in lines and bytes, and what
//! all lines take is bounded in bytes a minute; what does not fit is counted and told later.

use std::io::{self, Write};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for the thread.
const LINES_MAX: usize = 8_192;
/// Bytes of them.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// How often it is said what was left out.
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// Errors are written up to so much of a minute's bytes beyond the others.
const ERRORS_BEYOND: u64 = 4;

/// Lines that were not written since the last report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// The queue was full, or writing failed.
    pub(super) slow: u64,
    /// They would have been more than a minute's bytes.
    pub(super) volume: u64,
}

enum Job {
    Line(Vec<u8>),
    /// Says when all before it is written.
    Tell(Sender<()>),
}

#[derive(Debug)]
struct Shared {
    queued_bytes: AtomicUsize,
    slow: AtomicU64,
    volume: AtomicU64,
    spent: Mutex<Spent>,
    per_minute: NonZeroU64,
}

/// Bytes of the present minute, which leak away evenly.
#[derive(Debug)]
struct Spent {
    bytes: u64,
    at: Instant,
}

/// The queue. Cheap to clone; the thread ends with the last of them.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: Sender<Job>,
    shared: Arc<Shared>,
}

impl Spent {
    fn spend(&mut self, bytes: u64, (per_minute, bound): (NonZeroU64, u64), now: Instant) -> bool {
        let millis = now.saturating_duration_since(self.at).as_millis();
        let leaked = u128::from(per_minute.get()).saturating_mul(millis) / 60_000;
        let leaked = u64::try_from(leaked).unwrap_or(u64::MAX);
        if leaked > 0 {
            self.bytes = self.bytes.saturating_sub(leaked);
            self.at = now;
        }
        let fits = self.bytes.saturating_add(bytes) <= bound;
        if fits {
            self.bytes = self.bytes.saturating_add(bytes);
        }
        fits
    }
}

impl Lines {
    /// Starts the thread, which calls `report` about twice a minute.
    ///
    /// # Errors
    /// If the system has no thread.
    pub(super) fn start(
        stream: impl Write + Send + 'static,
        per_minute: NonZeroU64,
        report: impl Fn(Lost) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, jobs) = bounded(LINES_MAX);
        let shared = Arc::new(Shared {
            queued_bytes: AtomicUsize::new(0),
            slow: AtomicU64::new(0),
            volume: AtomicU64::new(0),
            spent: Mutex::new(Spent { bytes: 0, at: Instant::now() }),
            per_minute,
        });
        let writer = Writer { stream, shared: Arc::clone(&shared), report };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(&jobs))?;
        Ok(Self { queue, shared })
    }

    fn write(&self, line: &[u8], is_error: bool) {
        let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let per_minute = self.shared.per_minute;
        let beyond = if is_error { per_minute.get() / ERRORS_BEYOND } else { 0 };
        let bound = per_minute.get().saturating_add(beyond);
        let mut spent = self.shared.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = spent.spend(bytes, (per_minute, bound), Instant::now());
        drop(spent);
        if !fits {
            return lost(&self.shared.volume, "volume");
        }
        self.queue(line.to_vec());
    }

    fn queue(&self, line: Vec<u8>) {
        let bytes = line.len();
        if self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > BYTES_MAX {
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return lost(&self.shared.slow, "slow");
        }
        match self.queue.try_send(Job::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                lost(&self.shared.slow, "slow");
            }
        }
    }

    /// Writes one more line, if any, and waits until all is written, for at most `within`. Says
    /// whether it was.
    pub(super) fn finish(&self, line: Option<&str>, within: Duration) -> bool {
        if let Some(line) = line {
            self.queue(format!("{line}\n").into_bytes());
        }
        let (tell, told) = bounded(1);
        let until = Instant::now() + within;
        self.queue.send_deadline(Job::Tell(tell), until).is_ok() && told.recv_deadline(until).is_ok()
    }
}

fn lost(counter: &AtomicU64, reason: &'static str) {
    counter.fetch_add(1, Ordering::Relaxed);
    metrics::counter!("consilium_log_lines_left_out_total", "reason" => reason).increment(1);
}

struct Writer<S, R> {
    stream: S,
    shared: Arc<Shared>,
    report: R,
}

impl<S: Write, R: Fn(Lost)> Writer<S, R> {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut reported = Instant::now();
        loop {
            match jobs.recv_timeout(REPORT_EVERY) {
                Ok(Job::Line(line)) => self.line(&line),
                Ok(Job::Tell(tell)) => {
                    // Who has waited long enough is gone.
                    let _ = tell.try_send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // With room in the queue, that what it says gets there, too.
            if reported.elapsed() >= REPORT_EVERY && jobs.len() < LINES_MAX / 2 {
                reported = Instant::now();
                self.tell();
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        self.shared.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
        if self.stream.write_all(line).and_then(|()| self.stream.flush()).is_err() {
            lost(&self.shared.slow, "slow");
        }
    }

    fn tell(&self) {
        let slow = self.shared.slow.swap(0, Ordering::Relaxed);
        let volume = self.shared.volume.swap(0, Ordering::Relaxed);
        (self.report)(Lost { slow, volume });
    }
}

/// One line: the formatter writes it at once.
#[derive(Debug)]
pub(super) struct Line<'a> {
    lines: &'a Lines,
    is_error: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.write(line, self.is_error);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, is_error: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        Line { lines: self, is_error: *metadata.level() == Level::ERROR }
    }
}

#[cfg(test)]
mod tests;
