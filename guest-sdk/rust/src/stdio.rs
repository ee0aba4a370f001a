//! Printing on the target whose standard library discards it.
//!
//! On the other targets the macros are the standard library's own.

#[cfg(not(target_os = "unknown"))]
pub use std::{eprintln, println};

/// Nothing to do: the standard library prints a panic's message to standard error.
#[cfg(not(target_os = "unknown"))]
pub(crate) fn report_panics() {}

#[cfg(target_os = "unknown")]
pub use unknown::{print, report_panics};

#[cfg(target_os = "unknown")]
mod unknown {
    use std::fmt::Arguments;
    use std::sync::Once;

    use crate::bindings::stdio::wasi::cli::{stderr, stdout};

    /// WASI takes no more in one blocking write.
    const WRITE_MAX: usize = 4096;

    /// Writes `text` to standard output or to standard error, up to the first failure, which has no
    /// receiver.
    pub fn print(to_stderr: bool, text: Arguments<'_>) {
        let stream = if to_stderr { stderr::get_stderr() } else { stdout::get_stdout() };
        for chunk in text.to_string().as_bytes().chunks(WRITE_MAX) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                return;
            }
        }
    }

    /// Sends a panic's message to standard error.
    pub fn report_panics() {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| std::panic::set_hook(Box::new(|panic| print(true, format_args!("{panic}\n")))));
    }
}

/// `println!` that reaches the operator's log on every target. On `wasm32-wasip2` it is the
/// standard library's own.
#[cfg(target_os = "unknown")]
#[macro_export]
macro_rules! println {
    () => { $crate::__private::print(false, ::std::format_args!("\n")) };
    ($($text:tt)*) => { $crate::__private::print(false, ::std::format_args!("{}\n", ::std::format_args!($($text)*))) };
}

/// `eprintln!` that reaches the operator's log on every target. On `wasm32-wasip2` it is the
/// standard library's own.
#[cfg(target_os = "unknown")]
#[macro_export]
macro_rules! eprintln {
    () => { $crate::__private::print(true, ::std::format_args!("\n")) };
    ($($text:tt)*) => { $crate::__private::print(true, ::std::format_args!("{}\n", ::std::format_args!($($text)*))) };
}
