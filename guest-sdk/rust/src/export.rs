//! The macros that make a plugin of a crate.

/// Makes a function the handler of the plugin. Use it once, in the root of a crate of type
/// `cdylib`.
///
/// The function takes a [`Connection`](crate::Connection), in a plugin for addresses that carry
/// streams, `tcp://` and `unix://`, or a [`Datagram`](crate::Datagram), in one for `udp://` and
/// `unixgram://`. It returns nothing, or a `Result<(), E>` whose error is text or any
/// [`std::error::Error`]. The attribute recognises the two types by these names, so a parameter's
/// type can't be renamed.
///
/// ```
/// #[wharf_guest::main]
/// fn handle(client: wharf_guest::Connection) -> std::io::Result<()> {
///     client.write_all(b"hello, world\n")
/// }
/// ```
///
/// The options of [`export!`](crate::export!) go into its parentheses:
///
/// ```
/// # struct Hooks;
/// # impl wharf_guest::ServerHooks for Hooks {}
/// use wharf_guest::{Datagram, Result};
///
/// #[wharf_guest::main(manifest = "doc/upper.toml", hooks = Hooks)]
/// fn handle(datagram: Datagram) -> Result {
///     datagram.reply(&datagram.packet().to_ascii_uppercase())?;
///     Ok(())
/// }
/// ```
///
/// A handler with fields, `setup` or `finish` implements a trait and is named in `export!` instead.
pub use wharf_guest_macros::main;

/// Makes the crate a plugin whose handler is a type. Use it once, in the root of a crate of type
/// `cdylib`. A handler that is one function needs [`main`](macro@crate::main) alone.
///
/// | call | Upper is a | addresses |
/// | --- | --- | --- |
/// | `export!(Upper)`, `export!(stream = Upper)` | [`StreamHandler`](crate::StreamHandler) | `tcp://`, `unix://` |
/// | `export!(stream_request = Upper)` | [`StreamRequestHandler`](crate::socketserver::StreamRequestHandler) | `tcp://`, `unix://` |
/// | `export!(datagram = Upper)` | [`DatagramHandler`](crate::DatagramHandler) | `udp://`, `unixgram://` |
/// | `export!(datagram_request = Upper)` | [`DatagramRequestHandler`](crate::socketserver::DatagramRequestHandler) | `udp://`, `unixgram://` |
///
/// Options follow in any order:
///
/// - `manifest = "FILE"` puts the text of FILE, a path relative to the crate's `Cargo.toml`, into
///   the plugin, as the custom section `wharf:manifest`. Each key of the operator's file beside the
///   plugin takes precedence. A manifest in the plugin can ask for loopback addresses only, and for
///   no grant.
/// - `hooks = TYPE` exports TYPE's [`ServerHooks`](crate::ServerHooks) as well. Without it the
///   plugin has none, and the host calls none.
///
/// ```
/// # use wharf_guest::{Address, Connection, Datagram, DatagramHandler, Result, ServerHooks, StreamHandler};
/// # #[derive(Default)]
/// # struct Upper;
/// # impl StreamHandler for Upper {
/// #     fn handle(&mut self, _: Connection) -> Result { Ok(()) }
/// # }
/// # impl DatagramHandler for Upper {
/// #     fn handle(&mut self, _: Datagram) -> Result { Ok(()) }
/// # }
/// # impl ServerHooks for Upper {}
/// wharf_guest::export!(Upper);
/// # mod with_manifest {
/// # use super::Upper;
/// wharf_guest::export!(Upper, manifest = "doc/upper.toml");
/// # }
/// # mod with_hooks {
/// # use super::Upper;
/// wharf_guest::export!(datagram = Upper, hooks = Upper, manifest = "doc/upper.toml");
/// # }
/// # fn main() {}
/// ```
///
/// On a native target the macro only checks its arguments, so that the crate's tests can be built
/// there.
#[macro_export]
macro_rules! export {
    (stream = $handler:ty $(, $($options:tt)*)?) => {
        $crate::__export_stream!($handler);
        $crate::__export_options!($($($options)*)?);
    };
    (stream_request = $handler:ty $(, $($options:tt)*)?) => {
        $crate::__export_stream!($crate::__private::StreamRequests<$handler>);
        $crate::__export_options!($($($options)*)?);
    };
    (datagram = $handler:ty $(, $($options:tt)*)?) => {
        $crate::__export_datagram!($handler);
        $crate::__export_options!($($($options)*)?);
    };
    (datagram_request = $handler:ty $(, $($options:tt)*)?) => {
        $crate::__export_datagram!($crate::__private::DatagramRequests<$handler>);
        $crate::__export_options!($($($options)*)?);
    };
    ($kind:ident = $($rest:tt)*) => {
        ::std::compile_error!(::std::concat!(
            "`", ::std::stringify!($kind), "` is no kind of handler: ",
            "there are `stream`, `stream_request`, `datagram` and `datagram_request`",
        ));
    };
    () => {
        ::std::compile_error!("`export!` needs the handler's type, as in `export!(Upper)`");
    };
    ($($stream:tt)*) => {
        $crate::export!(stream = $($stream)*);
    };
}

/// The code that `#[wharf_guest::main]` adds: a handler that calls the function.
#[doc(hidden)]
#[macro_export]
macro_rules! __main {
    ($kind:ident, $function:ident $(, $($options:tt)*)?) => {
        const _: () = {
            #[derive(::std::default::Default)]
            struct Function;

            $crate::__impl_handler!($kind, Function, $function);
            $crate::export!($kind = Function $(, $($options)*)?);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __impl_handler {
    (stream, $handler:ident, $function:ident) => {
        impl $crate::StreamHandler for $handler {
            fn handle(&mut self, connection: $crate::Connection) -> $crate::Result {
                $crate::__private::result($function(connection))
            }
        }
    };
    (datagram, $handler:ident, $function:ident) => {
        impl $crate::DatagramHandler for $handler {
            fn handle(&mut self, datagram: $crate::Datagram) -> $crate::Result {
                $crate::__private::result($function(datagram))
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_options {
    () => {};
    (manifest = $path:literal $(, $($rest:tt)*)?) => {
        $crate::__export_manifest!($path);
        $crate::__export_options!($($($rest)*)?);
    };
    (hooks = $hooks:ty $(, $($rest:tt)*)?) => {
        $crate::__export_hooks!($hooks);
        $crate::__export_options!($($($rest)*)?);
    };
    (manifest $($rest:tt)*) => {
        ::std::compile_error!("`manifest` is a path in quotes, as in `manifest = \"upper.toml\"`");
    };
    ($($other:tt)*) => {
        ::std::compile_error!(::std::concat!(
            "`", ::std::stringify!($($other)*), "` is no option: ",
            "there are `manifest = \"FILE\"` and `hooks = TYPE`",
        ));
    };
}

// A native build has no host to export to, and two plugins in one test binary would export the same
// names: there, the macros only check types and paths.

#[doc(hidden)]
#[macro_export]
macro_rules! __export_stream {
    ($handler:ty) => {
        const _: fn() = $crate::__private::is_stream_handler::<$handler>;

        #[cfg(target_family = "wasm")]
        const _: () = {
            ::std::thread_local! {
                static SESSION: $crate::__private::Session<$handler, $crate::Connection> =
                    const { $crate::__private::Session::new() };
            }

            struct Export;

            impl $crate::__private::StreamGuest for Export {
                fn setup() -> ::std::result::Result<(), ::std::string::String> {
                    SESSION.with(|session| session.setup($crate::__private::connection()))
                }
                fn handle() -> ::std::result::Result<(), ::std::string::String> {
                    SESSION.with(|session| session.handle())
                }
                fn finish() -> ::std::result::Result<(), ::std::string::String> {
                    SESSION.with(|session| session.finish())
                }
            }

    $crate::__private::stream::export_stream_handler!(Export with_types_in $crate::__private::stream);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_datagram {
    ($handler:ty) => {
        const _: fn() = $crate::__private::is_datagram_handler::<$handler>;

        #[cfg(target_family = "wasm")]
        const _: () = {
            ::std::thread_local! {
                static SESSION: $crate::__private::Session<$handler, $crate::Datagram> =
                    const { $crate::__private::Session::new() };
            }

            struct Export;

            impl $crate::__private::DatagramGuest for Export {
                fn setup(packet: ::std::vec::Vec<u8>) -> ::std::result::Result<(), ::std::string::String> {
                    SESSION.with(|session| session.setup($crate::__private::datagram(packet)))
                }
                fn handle(_: ::std::vec::Vec<u8>) -> ::std::result::Result<(), ::std::string::String> {
                    SESSION.with(|session| session.handle())
                }
                fn finish() -> ::std::result::Result<(), ::std::string::String> {
                    SESSION.with(|session| session.finish())
                }
            }

    $crate::__private::datagram_world::export_datagram_handler!(Export with_types_in $crate::__private::datagram_world);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hooks {
    ($hooks:ty) => {
        const _: fn() = $crate::__private::service_actions::<$hooks>;

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Export;

            impl $crate::__private::HooksGuest for Export {
                fn verify_request(client: $crate::__private::Address) -> bool {
                    $crate::__private::verify_request::<$hooks>(client)
                }
                fn handle_error(client: $crate::__private::Address, error: ::std::string::String) {
                    $crate::__private::handle_error::<$hooks>(client, error);
                }
                fn service_actions() {
                    $crate::__private::service_actions::<$hooks>();
                }
            }

    $crate::__private::hooks::export_server_hooks!(Export with_types_in $crate::__private::hooks);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_manifest {
    ($path:literal) => {
        const _: &[u8] = ::std::include_bytes!(::std::concat!(::std::env!("CARGO_MANIFEST_DIR"), "/", $path));

        #[cfg(target_family = "wasm")]
        const _: () = {
            const TEXT: &[u8] = ::std::include_bytes!(::std::concat!(::std::env!("CARGO_MANIFEST_DIR"), "/", $path));

            #[used]
            #[unsafe(link_section = "wharf:manifest")]
            static MANIFEST: [u8; TEXT.len()] =
                *::std::include_bytes!(::std::concat!(::std::env!("CARGO_MANIFEST_DIR"), "/", $path));
        };
    };
}
