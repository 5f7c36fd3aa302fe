//! Threads that must not end while the node runs.

use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::fault::Fault;
use crate::{contained, telemetry};

/// Longest wait for the threads to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked whether they have.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

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
    /// their library. No other thread waits for them meanwhile, least of all one of the
    /// blocking pool, which others may keep busy.
    pub(super) async fn join(self) {
        let ended = async {
            while !self.handles.iter().all(JoinHandle::is_finished) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if tokio::time::timeout(STOP_LIMIT, ended).await.is_err() {
            let running = self.handles.iter().filter(|handle| !handle.is_finished());
            let names: Vec<_> = running.map(|handle| handle.thread().name().unwrap_or("unnamed").to_owned()).collect();
            tracing::warn!(threads = names.join(", "), "threads do not end");
        }
        self.handles.into_iter().filter(JoinHandle::is_finished).for_each(|handle| drop(handle.join()));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn threads_are_joined_while_the_blocking_pool_is_busy() {
        let (release, busy) = std::sync::mpsc::channel::<()>();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().max_blocking_threads(1).build().unwrap();
        let ended = runtime.block_on(async {
            tokio::task::spawn_blocking(move || busy.recv().is_err());
            let (mut threads, _failed) = Threads::new();
            let (done, ended) = std::sync::mpsc::channel();
            let work = move || done.send(()).map_err(|_| Fault::Stopped("test"));
            threads.start("short", work).unwrap();
            threads.join().await;
            ended.try_recv()
        });
        assert_eq!(ended, Ok(()));
        drop(release);
    }
}
