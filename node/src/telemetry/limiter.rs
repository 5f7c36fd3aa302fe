//! Leaves out lines that come again and again. Most of what a node logs somebody else brings about:
//! a stranger's handshake, a peer's junk. Whoever does so ten thousand times a second gets no more
//! lines than who does it twice a minute, and one line that says how many there were.
//!
//! A line is of a place in the code and of whom it is about, if it says so in a field: each of these
//! has a bucket, and so has each place for itself, since who comes under many names gets no more
//! for it. Lines at debug and trace, which somebody asked for, pass.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// Target of the lines that say what was left out.
pub(super) const REPORTS: &str = "consilium_node::telemetry";
/// Lines like each other, about the same one.
const ALIKE: Rate = Rate { at_once: 20, every: Duration::from_secs(6) };
/// The same for errors, which are the node's own matters.
const ALIKE_ERRORS: Rate = Rate { at_once: 100, every: Duration::from_secs(6) };
/// Lines of one place in the code, about whomever.
const OF_PLACE: Rate = Rate { at_once: 400, every: Duration::from_millis(300) };
/// Buckets that are kept; one that was not used for longest goes for a new one.
const BUCKETS_MAX: usize = 1_024;
/// Characters of a field or a text that are looked at.
const LOOKED_AT: usize = 200;

/// So many lines at once, and one more every so often.
#[derive(Debug, Clone, Copy)]
struct Rate {
    at_once: u32,
    every: Duration,
}

/// When it will be full of tokens again: the more it lies ahead, the emptier it is.
#[derive(Debug, Clone, Copy)]
struct Bucket(Instant);

impl Bucket {
    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let full_at = self.0.max(now);
        let room = rate.every * rate.at_once.saturating_sub(1);
        if full_at.saturating_duration_since(now) > room {
            return false;
        }
        self.0 = full_at + rate.every;
        true
    }
}

/// What was left out at one place of the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// How many.
    pub(super) lines: u64,
    /// Whose log it is.
    pub(super) target: &'static str,
    /// The first of them, as far as its text goes.
    pub(super) like: String,
}

/// One line, as far as it matters here.
#[derive(Debug, Clone, Copy)]
struct Line<'a, Place> {
    place: Place,
    target: &'static str,
    is_error: bool,
    about: &'a str,
    text: &'a str,
}

#[derive(Debug)]
struct OfPlace {
    bucket: Bucket,
    left_out: Option<LeftOut>,
}

/// Buckets by place in the code, generic for tests.
#[derive(Debug)]
struct Buckets<Place> {
    hasher: RandomState,
    alike: HashMap<u64, Bucket>,
    places: HashMap<Place, OfPlace>,
}

impl<Place: Hash + Eq + Clone> Buckets<Place> {
    fn new() -> Self {
        Self { hasher: RandomState::new(), alike: HashMap::new(), places: HashMap::new() }
    }

    /// Whether the line is written; otherwise it is counted.
    fn admit(&mut self, line: &Line<'_, Place>, now: Instant) -> bool {
        let rate = if line.is_error { ALIKE_ERRORS } else { ALIKE };
        let key = self.hasher.hash_one((&line.place, line.about, shape(line.text)));
        if self.alike.len() >= BUCKETS_MAX && !self.alike.contains_key(&key) {
            let fullest = self.alike.iter().min_by_key(|(_, bucket)| bucket.0).map(|(key, _)| *key);
            fullest.and_then(|key| self.alike.remove(&key));
        }
        let place = self.places.entry(line.place.clone());
        let place = place.or_insert_with(|| OfPlace { bucket: Bucket(now), left_out: None });
        let admitted = self.alike.entry(key).or_insert(Bucket(now)).take(rate, now) && place.bucket.take(OF_PLACE, now);
        if !admitted {
            let like = || line.text.to_owned();
            let left_out = || LeftOut { lines: 0, target: line.target, like: like() };
            let left_out = place.left_out.get_or_insert_with(left_out);
            left_out.lines = left_out.lines.saturating_add(1);
        }
        admitted
    }

    fn left_out(&mut self) -> Vec<LeftOut> {
        self.places.values_mut().filter_map(|place| place.left_out.take()).collect()
    }
}

/// A text without its numbers, addresses and hashes: what lines of one kind have in common.
fn shape(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.flat_map(|word| [word, " "]).collect()
}

/// Without the port, which is another one for each connection; of IPv6 the network, since anybody
/// has any number of addresses in it.
fn without_port(about: String) -> String {
    let address = about.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| about.parse());
    match address {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => address.segments()[..4].iter().map(|segment| format!("{segment:x}:")).collect(),
        },
        Err(_) => about,
    }
}

/// The fields of a line that are looked at.
#[derive(Debug, Default)]
struct Fields {
    text: String,
    about: String,
    /// An address says less than a name.
    named: bool,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.text = bounded(value),
            "peer" | "identity" | "alarm" | "thread" => {
                self.about = bounded(value);
                self.named = true;
            }
            "address" if !self.named => self.about = without_port(bounded(value)),
            _ => {}
        }
    }
}

/// The beginning of what it writes.
fn bounded(value: &dyn fmt::Debug) -> String {
    struct Bounded(String);
    impl Write for Bounded {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for character in text.chars() {
                if self.0.len() >= LOOKED_AT {
                    return Err(fmt::Error);
                }
                self.0.push(character);
            }
            Ok(())
        }
    }
    let mut text = Bounded(String::new());
    // An error says that there is more.
    let _ = write!(text, "{value:?}");
    text.0
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Limiter(Arc<Mutex<Buckets<Identifier>>>);

impl Default for Limiter {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Buckets::new())))
    }
}

impl Limiter {
    /// What was left out since the last time.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).left_out()
    }

    fn admits(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == REPORTS {
            return true;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line {
            place: metadata.callsite(),
            target: metadata.target(),
            is_error: *metadata.level() == Level::ERROR,
            about: &fields.about,
            text: &fields.text,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).admit(&line, Instant::now())
    }
}

impl<S> Filter<S> for Limiter {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let admitted = self.admits(event);
        if !admitted {
            metrics::counter!("consilium_log_lines_left_out_total", "reason" => "repeated").increment(1);
        }
        admitted
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

#[cfg(test)]
mod tests;
