//! How long each test takes, from its first use of the harness to its end.

use std::thread;
use std::time::Instant;

use xtask::test_times;

/// Dropped as the test's thread ends.
struct Clock(Instant);

impl Drop for Clock {
    fn drop(&mut self) {
        // The runner names a test's thread after the test. Threads that a test starts have other
        // names.
        if let Some(test) = thread::current().name().filter(|name| name.contains("::")) {
            test_times::note(test, self.0.elapsed());
        }
    }
}

thread_local! {
    static CLOCK: Clock = Clock(Instant::now());
}

/// Starts this test's clock, unless it runs.
pub fn start() {
    CLOCK.with(|_| ());
}
