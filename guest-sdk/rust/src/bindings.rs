//! The code that `wit-bindgen` generates from the contract in `wit/`, a link to the repository's.
//!
//! Each of these worlds is one thing that a plugin may do. The linker unites the worlds that a
//! plugin uses, so a plugin without hooks does not export `server-hooks`, and no combination has to
//! be written.

/// The contract's own world for streams: a connection in, a stream handler out.
pub mod stream {
    wit_bindgen::generate!({
        path: "wit",
        world: "stream-plugin",
        pub_export_macro: true,
        export_macro_name: "export_stream_handler",
    });
}

/// The contract's own world for datagrams: their socket in, a datagram handler out.
pub mod datagram {
    wit_bindgen::generate!({
        path: "wit",
        world: "datagram-plugin",
        with: { "wharf:handler/types@0.1.0": crate::bindings::stream::wharf::handler::types },
        pub_export_macro: true,
        export_macro_name: "export_datagram_handler",
    });
}

/// A server's hooks, for the plugins that export them.
pub mod hooks {
    wit_bindgen::generate!({
        path: "wit",
        inline: r#"
            package wharf:guest;

            world hooks-plugin {
                export wharf:handler/server-hooks@0.1.0;
            }
        "#,
        world: "wharf:guest/hooks-plugin",
        with: { "wharf:handler/types@0.1.0": crate::bindings::stream::wharf::handler::types },
        pub_export_macro: true,
        export_macro_name: "export_server_hooks",
    });
}

/// Standard output and error where Rust's `std` has none. The interfaces of WASI have only the
/// functions that are used: a component imports parts of an interface.
#[cfg(target_os = "unknown")]
pub mod stdio {
    wit_bindgen::generate!({
        inline: r#"
            package wharf:guest;

            world stdio-plugin {
                import wasi:cli/stdout@0.2.0;
                import wasi:cli/stderr@0.2.0;
            }

            package wasi:cli@0.2.0 {
                interface stdout {
                    use wasi:io/streams@0.2.0.{output-stream};
                    get-stdout: func() -> output-stream;
                }
                interface stderr {
                    use wasi:io/streams@0.2.0.{output-stream};
                    get-stderr: func() -> output-stream;
                }
            }

            package wasi:io@0.2.0 {
                interface error {
                    resource error;
                }
                interface streams {
                    use error.{error};
                    variant stream-error {
                        last-operation-failed(error),
                        closed,
                    }
                    resource output-stream {
                        blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
                    }
                }
            }
        "#,
        world: "wharf:guest/stdio-plugin",
        generate_all,
    });
}
