//! The environment, also for the target whose standard library has none.

#[cfg(not(target_os = "unknown"))]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(target_os = "unknown")]
pub fn variable(name: &str) -> Option<String> {
    let all = bindings::wasi::cli::environment::get_environment();
    all.into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

/// No more of WASI than is used here.
#[cfg(target_os = "unknown")]
mod bindings {
    wit_bindgen::generate!({
        inline: r#"
            package wharf:fixtures;

            world misbehave-udp {
                import wasi:cli/environment@0.2.0;
            }

            package wasi:cli@0.2.0 {
                interface environment {
                    get-environment: func() -> list<tuple<string, string>>;
                }
            }
        "#,
        world: "wharf:fixtures/misbehave-udp",
        generate_all,
    });
}
