//! The macro that makes a plugin of a crate.

/// Makes the crate a plugin that serves with a handler. Call it once, in the root of a crate of type `cdylib`.
///
/// | call | Upper is |
/// | --- | --- |
/// | `export!(Upper)` | a [`StreamHandler`](crate::StreamHandler) |
/// | `export!(stream_request = Upper)` | a [`StreamRequestHandler`](crate::StreamRequestHandler) |
/// | `export!(datagram = Upper)` | a [`DatagramHandler`](crate::DatagramHandler) |
/// | `export!(datagram_request = Upper)` | a [`DatagramRequestHandler`](crate::DatagramRequestHandler) |
///
/// The first two make a plugin for addresses that carry streams, `tcp://` and `unix://`; the others one for `udp://` and `unixgram://`.
///
/// ```
/// # use wharf_guest::{Address, Connection, Datagram, DatagramHandler, Result, ServerHooks, StreamHandler};
/// # #[derive(Default)]
/// # struct Upper;
/// # impl StreamHandler for Upper {
/// #     fn handle(&mut self, _: &mut Connection) -> Result { Ok(()) }
/// # }
/// # impl DatagramHandler for Upper {
/// #     fn handle(&mut self, _: &mut Datagram) -> Result { Ok(()) }
/// # }
/// # impl ServerHooks for Upper {}
/// wharf_guest::export!(Upper);
/// # mod with_manifest {
/// # use super::Upper;
/// wharf_guest::export!(Upper, manifest = "doc/upper.toml");
/// # }
/// # mod with_hooks {
/// # use super::Upper;
/// wharf_guest::export!(datagram = Upper, hooks = Upper);
/// # }
/// # fn main() {}
/// ```
///
/// - `manifest = "FILE"` puts the text of FILE, whose path is relative to the crate's `Cargo.toml`, into the plugin, as the custom section
///   `wharf:manifest`. What the operator writes into the file beside the plugin goes before it, key by key. It may ask for
///   loopback addresses alone and for no grant.
/// - `hooks = TYPE` exports TYPE's [`ServerHooks`](crate::ServerHooks) as well. Without it, the plugin has none, and the host doesn't
///   look for them.
///
/// With both, `manifest` comes first. On a native target the macro only checks its arguments, so that a plugin's unit tests can
/// be built there.
#[macro_export]
macro_rules! export {
    ($handler:ty $(, manifest = $manifest:literal)? $(, hooks = $hooks:ty)? $(,)?) => {
        $crate::export!(stream = $handler $(, manifest = $manifest)? $(, hooks = $hooks)?);
    };
    ($kind:ident = $handler:ty $(, manifest = $manifest:literal)? $(, hooks = $hooks:ty)? $(,)?) => {
        $crate::__export_handler!($kind, $handler);
        $($crate::__export_manifest!($manifest);)?
        $($crate::__export_hooks!($hooks);)?
    };
}

/// The words before `=`. Each leads to one of the contract's two interfaces.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_handler {
    (stream, $handler:ty) => {
        $crate::__export_stream_handler!($handler);
    };
    (stream_request, $handler:ty) => {
        $crate::__export_stream_handler!($crate::__private::StreamRequests<$handler>);
    };
    (datagram, $handler:ty) => {
        $crate::__export_datagram_handler!($handler);
    };
    (datagram_request, $handler:ty) => {
        $crate::__export_datagram_handler!($crate::__private::DatagramRequests<$handler>);
    };
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_stream_handler {
    ($handler:ty) => {
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

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_datagram_handler {
    ($handler:ty) => {
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

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_hooks {
    ($hooks:ty) => {
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

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_manifest {
    ($path:literal) => {
        const _: () = {
            const TEXT: &[u8] = ::std::include_bytes!(::std::concat!(::std::env!("CARGO_MANIFEST_DIR"), "/", $path));

            #[used]
            #[unsafe(link_section = "wharf:manifest")]
            static MANIFEST: [u8; TEXT.len()] =
                *::std::include_bytes!(::std::concat!(::std::env!("CARGO_MANIFEST_DIR"), "/", $path));
        };
    };
}

// A native build has no host to export to, and two plugins in one test binary would export the same names.

#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_stream_handler {
    ($handler:ty) => {
        const _: $crate::__private::Session<$handler, $crate::Connection> = $crate::__private::Session::new();
    };
}

#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_datagram_handler {
    ($handler:ty) => {
        const _: $crate::__private::Session<$handler, $crate::Datagram> = $crate::__private::Session::new();
    };
}

#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_hooks {
    ($hooks:ty) => {
        const _: fn() = $crate::__private::service_actions::<$hooks>;
    };
}

#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_manifest {
    ($path:literal) => {
        const _: &[u8] = ::std::include_bytes!(::std::concat!(::std::env!("CARGO_MANIFEST_DIR"), "/", $path));
    };
}
