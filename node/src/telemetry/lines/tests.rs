#![allow(clippy::unwrap_used)]

use super::*;

const MINUTE: NonZeroU64 = NonZeroU64::new(4 * 1024 * 1024).unwrap();
const LONG: Duration = Duration::from_secs(60);

/// A stream that takes nothing until it is let.
struct Pipe {
    open: Receiver<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Open once its other end is gone.
        let _ = self.open.recv();
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn blocked() -> (Lines, Sender<()>, Arc<Mutex<Vec<u8>>>) {
    let ((opens, open), written) = (bounded(0), Arc::<Mutex<Vec<u8>>>::default());
    let pipe = Pipe { open, written: Arc::clone(&written) };
    (Lines::start(pipe, MINUTE, |_| {}).unwrap(), opens, written)
}

fn text(written: &Mutex<Vec<u8>>) -> String {
    String::from_utf8(written.lock().unwrap().clone()).unwrap()
}

#[test]
fn a_stream_that_nobody_reads_holds_up_nobody() {
    let (lines, opens, written) = blocked();
    for number in 0..20_000 {
        lines.write(format!("{number}\n").as_bytes(), false);
    }
    assert!(!lines.finish(Some("error: never read"), Duration::from_millis(1)));
    let lost = lines.shared.slow.load(Ordering::Relaxed);
    assert!((20_000 - LINES_MAX - 2..=20_001 - LINES_MAX).contains(&usize::try_from(lost).unwrap()), "{lost}");
    drop(opens);
    // What had room is written, in order.
    assert!(lines.finish(None, LONG));
    let text = text(&written);
    assert!(text.starts_with("0\n1\n2\n"), "{}", &text[..20]);
    assert_eq!(text.lines().count() as u64, 20_001 - lost);
    assert_eq!(lines.shared.queued_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn what_waits_is_bounded_in_bytes() {
    let (lines, opens, written) = blocked();
    let large = vec![b'x'; BYTES_MAX / 4];
    for _ in 0..8 {
        lines.queue(large.clone());
    }
    let lost = lines.shared.slow.load(Ordering::Relaxed);
    // The thread may have taken one.
    assert!((3..=4).contains(&lost), "{lost}");
    drop(opens);
    assert!(lines.finish(None, LONG));
    assert_eq!(written.lock().unwrap().len() as u64, (8 - lost) * large.len() as u64);
}

#[test]
fn last_words_come_last() {
    let (lines, opens, written) = blocked();
    drop(opens);
    lines.write(b"one\n", false);
    assert!(lines.finish(Some("error: two"), LONG));
    assert_eq!(text(&written), "one\nerror: two\n");
}

#[test]
fn a_minute_has_so_many_bytes() {
    let (start, per_minute) = (Instant::now(), NonZeroU64::new(60_000).unwrap());
    let mut spent = Spent { bytes: 0, at: start };
    let mut spend =
        |bytes, bound, millis| spent.spend(bytes, (per_minute, bound), start + Duration::from_millis(millis));
    assert!(spend(60_000, 60_000, 0));
    assert!(!spend(1, 60_000, 0));
    // Errors may take more.
    assert!(spend(15_000, 75_000, 0));
    assert!(!spend(1, 75_000, 0));
    // A byte leaks in a millisecond.
    assert!(!spend(1, 60_000, 15_000));
    assert!(spend(1_000, 60_000, 16_000));
    assert!(!spend(1, 60_000, 16_000));
    assert!(spend(60_000, 60_000, 3_600_000));
}

#[test]
fn what_is_lost_is_counted_by_cause() {
    let per_minute = NonZeroU64::new(1024 * 1024).unwrap();
    let lines = Lines::start(io::sink(), per_minute, |_| {}).unwrap();
    let whole = vec![b'x'; 1024 * 1024];
    lines.write(&whole, false);
    let eighth = &whole[..128 * 1024];
    lines.write(eighth, false);
    assert_eq!(lines.shared.volume.load(Ordering::Relaxed), 1);
    lines.write(eighth, true);
    assert_eq!(lines.shared.volume.load(Ordering::Relaxed), 1);
    assert!(lines.finish(None, LONG));
    assert_eq!(lines.shared.slow.load(Ordering::Relaxed), 0);
}
