//! Gathers lines for some milliseconds and writes them together: a write costs more than making a line does. Warnings and
//! errors are written at once, with all that waited before them.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line waits for others.
const GATHER: Duration = Duration::from_millis(50);
/// Bytes that wait at most: whoever adds more writes them itself, and waits where nobody reads.
const FULL: usize = 256 << 10;

/// The way to where lines go. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Gathered(Arc<Shared>);

struct Shared {
    waiting: Mutex<Vec<u8>>,
    more: Condvar,
    out: Mutex<Out>,
}

struct Out {
    to: Box<dyn Write + Send>,
    /// Kept for its room.
    lines: Vec<u8>,
}

impl Gathered {
    /// Starts the thread that writes to `to` what has waited.
    ///
    /// # Errors
    /// Whatever keeps a thread from being started.
    pub(crate) fn start(to: impl Write + Send + 'static) -> io::Result<Self> {
        let out = Out { to: Box::new(to), lines: Vec::new() };
        let shared = Arc::new(Shared { waiting: Mutex::default(), more: Condvar::new(), out: Mutex::new(out) });
        let gathered = Self(shared);
        let writer = gathered.clone();
        std::thread::Builder::new().name(String::from("log-lines")).spawn(move || writer.run())?;
        Ok(gathered)
    }

    fn run(&self) {
        loop {
            let waiting = self.0.more.wait_while(lock(&self.0.waiting), |waiting| waiting.is_empty());
            drop(waiting.unwrap_or_else(PoisonError::into_inner));
            std::thread::sleep(GATHER);
            self.write_out();
        }
    }

    /// Writes what waits.
    pub(crate) fn write_out(&self) {
        // Held until it is written, so that lines stay in their order.
        let mut out = lock(&self.0.out);
        let Out { to, lines } = &mut *out;
        std::mem::swap(lines, &mut *lock(&self.0.waiting));
        // There is nowhere to tell of lines that can't be written.
        let _ = to.write_all(lines);
        lines.clear();
        lines.shrink_to(2 * FULL);
    }

    fn add(&self, line: &[u8], at_once: bool) {
        let mut waiting = lock(&self.0.waiting);
        let first = waiting.is_empty();
        waiting.extend_from_slice(line);
        let full = waiting.len() >= FULL;
        drop(waiting);
        if at_once || full {
            self.write_out();
        } else if first {
            self.0.more.notify_one();
        }
    }
}

/// What a panic elsewhere left is lines all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lines of one event.
pub(crate) struct Lines<'a> {
    to: &'a Gathered,
    at_once: bool,
}

impl Write for Lines<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.to.add(line, self.at_once);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Gathered {
    type Writer = Lines<'a>;

    fn make_writer(&'a self) -> Lines<'a> {
        Lines { to: self, at_once: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Lines<'a> {
        Lines { to: self, at_once: *metadata.level() <= Level::WARN }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Tells of each write.
    struct Told(Sender<String>);

    impl Write for Told {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8_lossy(lines).into_owned()).map_err(io::Error::other)?;
            Ok(lines.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn lines_are_written_in_their_order_and_none_is_lost() {
        let (told, heard) = channel();
        let gathered = Gathered::start(Told(told)).unwrap();
        let mut expected = String::new();
        for number in 0..20_000 {
            let line = format!("{number}\n");
            gathered.add(line.as_bytes(), number % 5_000 == 4_999);
            expected.push_str(&line);
        }
        gathered.write_out();
        let writes: Vec<String> = heard.try_iter().collect();
        assert_eq!(writes.concat(), expected);
        assert!(writes.len() < 2_000, "{} writes are nearly as many as lines", writes.len());
    }

    #[test]
    fn a_line_alone_is_written_soon_and_one_that_matters_at_once_with_those_before_it() {
        let (told, heard) = channel();
        let gathered = Gathered::start(Told(told)).unwrap();
        gathered.add(b"alone\n", false);
        assert_eq!(heard.recv_timeout(SOON).unwrap(), "alone\n");
        gathered.add(b"before\n", false);
        gathered.add(b"matters\n", true);
        let mut lines = String::new();
        while !lines.ends_with("matters\n") {
            // It is there already; all the thread may have done is to write the first by itself.
            lines.push_str(&heard.try_recv().unwrap());
        }
        assert_eq!(lines, "before\nmatters\n");
    }

    #[test]
    fn more_than_may_wait_is_written_by_whoever_adds_it() {
        let (told, heard) = channel();
        let gathered = Gathered::start(Told(told)).unwrap();
        gathered.add(&[b'x'; FULL], false);
        assert_eq!(heard.try_recv().unwrap().len(), FULL);
    }
}
