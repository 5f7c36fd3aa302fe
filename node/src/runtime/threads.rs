//! Threads that must not end while the node runs.

use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::fault::Fault;
use crate::{contained, telemetry};

/// Longest wait for the threads to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The running threads, and where their faults go.
pub(super) struct Threads {
    handles: Vec<JoinHandle<()>>,
    faults: mpsc::Sender<Fault>,
}

impl Threads {
    /// None yet; and the receiving end of the first fault.
    pub(super) fn new() -> (Self, mpsc::Receiver<Fault>) {
        let (faults, failed) = mpsc::channel(1);
        (Self { handles: Vec::new(), faults }, failed)
    }

    /// Starts one.
    ///
    /// # Errors
    /// If the system has no more.
    pub(super) fn start(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<(), Fault> + Send + 'static,
    ) -> Result<(), Fault> {
        let (faults, label) = (self.faults.clone(), name.to_owned());
        let run = move || {
            if let Err(fault) = work() {
                tracing::error!(thread = label, error = %fault, "a thread failed");
                // The first one is told; the node stops for it.
                let _ = faults.try_send(fault);
            }
        };
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        self.handles.push(spawned.map_err(|e| Fault::System(format!("thread {name}: {e}")))?);
        Ok(())
    }

    /// Joins them: the databases must not be in use when the process tears down
    /// their library.
    pub(super) async fn join(self) {
        let joined = tokio::task::spawn_blocking(move || self.handles.into_iter().for_each(|h| drop(h.join())));
        if tokio::time::timeout(STOP_LIMIT, joined).await.is_err() {
            tracing::warn!("a thread does not end");
        }
    }
}

/// Makes a panic of any thread, those of the network among them, end the process
/// with a line that says where: a node that lost a part of itself must not go on. A panic of what
/// is [`contained`] ends a request, is logged and counted.
pub fn end_process_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let cause = panic.payload();
        let cause = cause.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| cause.downcast_ref().cloned());
        let cause = cause.unwrap_or_default();
        if contained::is_contained() {
            metrics::counter!("consilium_requests_panicked_total").increment(1);
            tracing::error!(thread = name, place, cause, "a request panicked: it ends, the node goes on");
            return;
        }
        tracing::error!(thread = name, place, cause, "a thread panicked: the node ends");
        telemetry::last_words(Some(&format!("error: thread {name} panicked at {place}: {cause}; the node ends")));
        std::process::abort();
    }));
}
