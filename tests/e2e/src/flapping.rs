//! Something that falls away and comes back, again and again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

type Switch = Box<dyn FnMut(bool) + Send>;

/// Goes on as long as it lives; then all is whole.
pub struct Flapping {
    task: JoinHandle<()>,
    /// Nobody switches after the end.
    switch: Arc<Mutex<Option<Switch>>>,
}

impl Flapping {
    /// Calls `switch` with whether to cut, in turns of this length.
    pub(crate) fn start(turn: Duration, switch: impl FnMut(bool) + Send + 'static) -> Self {
        let boxed: Switch = Box::new(switch);
        let switch = Arc::new(Mutex::new(Some(boxed)));
        let turned = Arc::clone(&switch);
        let task = tokio::spawn(async move {
            let (mut turns, mut cut) = (tokio::time::interval(turn), false);
            loop {
                turns.tick().await;
                cut = !cut;
                if let Some(switch) = &mut *turned.lock().unwrap_or_else(PoisonError::into_inner) {
                    switch(cut);
                }
            }
        });
        Self { task, switch }
    }
}

impl Drop for Flapping {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(mut switch) = self.switch.lock().unwrap_or_else(PoisonError::into_inner).take() {
            switch(false);
        }
    }
}
