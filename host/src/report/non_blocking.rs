//! A writer of lines that never waits for its reader: a log or events that nobody reads stop
//! nothing.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

/// The most that waits for its reader, in bytes; as much again is being written. Lines that come
/// then are lost, and counted.
const BOUND: usize = 1 << 20;
/// What is kept of that room once it was used.
const KEPT: usize = 16 << 10;
/// How soon a reader is tried again whose descriptor does not block. Others share it, and choose
/// that.
const AGAIN: Duration = Duration::from_millis(10);

/// A descriptor with a thread of its own that writes to it, begun with the first line: most
/// children of a host say nothing.
pub struct NonBlockingWriter {
    thread: &'static str,
    /// As write(2). Not through std's handles: their locks would be held while it blocks.
    write: fn(&[u8]) -> rustix::io::Result<usize>,
    /// Told, by the outlet's own thread, how many lines were lost once others get through again.
    lost: fn(u64),
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

struct Queue {
    lines: Vec<u8>,
    lost: u64,
    writer: Writer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    Absent,
    Waiting,
    Writing,
}

impl NonBlockingWriter {
    pub const fn new(thread: &'static str, write: fn(&[u8]) -> rustix::io::Result<usize>, lost: fn(u64)) -> Self {
        let queue = Mutex::new(Queue { lines: Vec::new(), lost: 0, writer: Writer::Absent });
        Self { thread, write, lost, queue, filled: Condvar::new(), emptied: Condvar::new() }
    }

    /// Has `line` written, which ends in a newline, in its turn. Returns at once.
    pub fn line(&'static self, line: &[u8]) {
        let mut queue = self.queue();
        if queue.lines.len() + line.len() > BOUND {
            queue.lost += 1;
            return;
        }
        queue.lines.extend_from_slice(line);
        match queue.writer {
            Writer::Writing => {}
            Writer::Waiting => self.filled.notify_one(),
            Writer::Absent => {
                let thread = thread::Builder::new().name(self.thread.to_owned()).spawn(|| self.carry());
                if thread.is_ok() {
                    queue.writer = Writer::Writing;
                } else {
                    // A machine that gives no thread: better late than not at all.
                    let lines = std::mem::take(&mut queue.lines);
                    drop(queue);
                    self.write(&lines);
                }
            }
        }
    }

    /// Waits until all is written, but no longer than `limit`.
    pub fn flush(&self, limit: Duration) {
        let busy = |queue: &mut Queue| queue.writer == Writer::Writing || !queue.lines.is_empty();
        drop(self.emptied.wait_timeout_while(self.queue(), limit, busy));
    }

    fn carry(&self) {
        let mut taken = Vec::new();
        // What failed to be written, beside what found no room.
        let mut failed = 0;
        loop {
            let mut queue = self.queue();
            while queue.lines.is_empty() {
                queue.writer = Writer::Waiting;
                self.emptied.notify_all();
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            queue.writer = Writer::Writing;
            std::mem::swap(&mut queue.lines, &mut taken);
            let lost = std::mem::take(&mut queue.lost);
            drop(queue);
            failed += lost;
            match self.write(&taken) {
                0 if failed > 0 => (self.lost)(std::mem::take(&mut failed)),
                more => failed += more,
            }
            taken.clear();
            taken.shrink_to(KEPT);
        }
    }

    /// How many of these lines could not be written.
    fn write(&self, lines: &[u8]) -> u64 {
        let mut rest = lines;
        while !rest.is_empty() {
            match (self.write)(rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => thread::sleep(AGAIN),
                Err(_) => break,
            }
        }
        rest.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for &'static NonBlockingWriter {
    /// Takes one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// A reader of one outlet: each write waits for a word from the test, which may be an error,
    /// and is then handed over.
    struct Reader {
        words: Mutex<Receiver<rustix::io::Result<()>>>,
        writes: Sender<Vec<u8>>,
    }

    impl Reader {
        fn new() -> (Self, Sender<rustix::io::Result<()>>, Receiver<Vec<u8>>) {
            let ((word, words), (writes, written)) = (channel(), channel());
            (Self { words: Mutex::new(words), writes }, word, written)
        }

        fn read(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
            self.words.lock().unwrap().recv().unwrap_or(Err(Errno::PIPE))?;
            self.writes.send(bytes.to_owned()).unwrap();
            Ok(bytes.len())
        }
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_once_the_reader_reads() {
        static READER: OnceLock<Reader> = OnceLock::new();
        static OUTLET: NonBlockingWriter = NonBlockingWriter::new(
            "a-test",
            |bytes| READER.get().unwrap().read(bytes),
            |lost| {
                OUTLET.line(format!("lost {lost}\n").as_bytes());
            },
        );
        let (reader, word, written) = Reader::new();
        let _ = READER.set(reader);
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        // More than fits into the two buffers, whatever the writer has taken of it by now.
        let lines = 4 * BOUND / line.len();
        for _ in 0..lines {
            OUTLET.line(&line);
        }
        OUTLET.flush(Duration::ZERO);
        let (mut through, mut told) = (0, None);
        while told.is_none() {
            word.send(Ok(())).unwrap();
            let bytes = written.recv_timeout(LONG).unwrap();
            told = bytes.strip_prefix(b"lost ").map(|n| String::from_utf8_lossy(n).trim().parse::<usize>().unwrap());
            through += bytes.len() / line.len();
        }
        assert!((BOUND / line.len()..=2 * BOUND / line.len()).contains(&through), "{through} lines");
        assert_eq!(through + told.unwrap(), lines);
    }

    #[test]
    fn what_can_not_be_written_is_lost_and_what_comes_later_is_not() {
        static READER: OnceLock<Reader> = OnceLock::new();
        static OUTLET: NonBlockingWriter = NonBlockingWriter::new(
            "a-test",
            |bytes| READER.get().unwrap().read(bytes),
            |lost| OUTLET.line(format!("lost {lost}\n").as_bytes()),
        );
        let (reader, word, written) = Reader::new();
        let _ = READER.set(reader);
        word.send(Err(Errno::NOSPC)).unwrap();
        OUTLET.line(b"one\n");
        OUTLET.flush(LONG);
        for error in [Errno::INTR, Errno::AGAIN] {
            word.send(Err(error)).unwrap();
        }
        (0..2).for_each(|_| word.send(Ok(())).unwrap());
        OUTLET.line(b"two\n");
        assert_eq!(written.recv_timeout(LONG).unwrap(), b"two\n");
        assert_eq!(written.recv_timeout(LONG).unwrap(), b"lost 1\n");
        OUTLET.flush(LONG);
    }
}
