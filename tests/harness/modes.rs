//! A test for each way to serve: every family of sockets with every kind of concurrency.

use super::{CONCURRENCIES, Family};

/// Makes a test of each function for each way to serve, such as `a_function::tcp::thread`. The
/// functions take a family and a concurrency, those of `concurrencies` only the latter.
///
/// ```ignore
/// in_every_mode! {
///     all: any_family;
///     streams: needs_connections, needs_connections_too;
///     datagrams: needs_datagrams;
///     concurrencies: chooses_its_family;
/// }
/// ```
macro_rules! in_every_mode {
    () => {};
    (all: $($name:ident),+; $($rest:tt)*) => {
        $($crate::harness::in_every_mode!(@families $name: Tcp tcp, Udp udp, Unix unix, Unixgram unixgram);)+
        $crate::harness::in_every_mode!($($rest)*);
    };
    (streams: $($name:ident),+; $($rest:tt)*) => {
        $($crate::harness::in_every_mode!(@families $name: Tcp tcp, Unix unix);)+
        $crate::harness::in_every_mode!($($rest)*);
    };
    (datagrams: $($name:ident),+; $($rest:tt)*) => {
        $($crate::harness::in_every_mode!(@families $name: Udp udp, Unixgram unixgram);)+
        $crate::harness::in_every_mode!($($rest)*);
    };
    (concurrencies: $($name:ident),+; $($rest:tt)*) => {
        $(mod $name {
            $crate::harness::in_every_mode!(@concurrencies super::$name);
        })+
        $crate::harness::in_every_mode!($($rest)*);
    };
    (@families $name:ident: $($family:ident $module:ident),+) => {
        mod $name {
            $(mod $module {
                use $crate::harness::Family::$family;

                $crate::harness::in_every_mode!(@concurrencies super::super::$name, $family);
            })+
        }
    };
    (@concurrencies $test:path $(, $family:expr)?) => {
        #[test]
        fn task() {
            $test($($family,)? "task");
        }

        #[test]
        fn serial() {
            $test($($family,)? "serial");
        }

        #[test]
        fn thread() {
            $test($($family,)? "thread");
        }

        #[test]
        fn process() {
            $test($($family,)? "process");
        }
    };
}

pub(crate) use in_every_mode;

/// The function that a test in a mode is of, by the test's full name. None if the test has no mode.
pub fn function_of(test: &str) -> Option<&str> {
    let (function, concurrency) = test.rsplit_once("::")?;
    if !CONCURRENCIES.contains(&concurrency) {
        return None;
    }
    let is_family = |name: &str| Family::ALL.iter().any(|family| format!("{family:?}").to_lowercase() == name);
    match function.rsplit_once("::") {
        Some((function, family)) if is_family(family) => Some(function),
        _ => Some(function),
    }
}
