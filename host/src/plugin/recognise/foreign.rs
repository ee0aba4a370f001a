//! What a file that can't be served was made for, or wants that is not here.

use wasmparser::{Validator, WasmFeatures};

use super::survey::Survey;
use super::{WASI_0_1, shortened, shown};
use crate::sandbox::{PACKAGE, VERSION};

/// A core module that was made for something else, as one of its imports shows.
struct Sign {
    import: fn(&str, &str) -> bool,
    made: &'static str,
    remedy: &'static str,
}

const SIGNS: [Sign; 14] = [
    Sign {
        import: |module, name| module == "wasi" && name == "thread-spawn",
        made: "a program with threads",
        remedy: "build it for one thread, as each session has",
    },
    Sign {
        import: |module, _| module == "wbg" || module.starts_with("__wbindgen_") || module.ends_with(".js"),
        made: "built for JavaScript by wasm-bindgen",
        remedy: "build it for wasm32-wasip2 with the crate wharf-guest: `wharf new NAME --lang rust`",
    },
    Sign {
        import: |module, _| matches!(module, "gojs" | "go"),
        made: "built for JavaScript by Go",
        remedy: "build it with GOOS=wasip1 GOARCH=wasm: `wharf new NAME --lang go`",
    },
    Sign {
        import: |module, name| module == "env" && name == "abort",
        // A C program can want a function of this name, too.
        made: "built for JavaScript, as AssemblyScript does",
        remedy: "build it with `--use abort=` and the contract's exports: `wharf new NAME --lang assemblyscript`",
    },
    Sign {
        import: |module, name| {
            let system = ["emscripten_", "_emscripten_", "__syscall_", "invoke_", "_embind_"];
            let minified = module == "a" && name.len() <= 3;
            minified || module == "env" && system.iter().any(|prefix| name.starts_with(prefix))
        },
        made: "built for JavaScript by emscripten",
        remedy: "build it for WASI, with `zig cc` or the WASI SDK: `wharf new NAME --lang c`",
    },
    Sign {
        import: |module, _| module == "js_code" || module.starts_with("./") && module.ends_with(".uninstantiated.mjs"),
        made: "built for JavaScript by Kotlin",
        remedy: "Kotlin needs garbage-collected types, which this host does not have; write it in another language: `wharf new --help`",
    },
    Sign {
        import: |module, _| module == "dart2wasm",
        made: "built for JavaScript by Dart",
        remedy: "Dart needs garbage-collected types, which this host does not have; write it in another language: `wharf new --help`",
    },
    Sign {
        import: |module, name| module.starts_with("extism:") || module == "env" && name.starts_with("extism_"),
        made: "an Extism plugin, which is called with bytes and has no connection",
        remedy: "build it without Extism's PDK, for wasm32-wasip2 and with the contract's exports: `wharf new NAME --lang rust`",
    },
    Sign {
        import: |module, name| module == "env" && name.starts_with("proxy_"),
        made: "a proxy-wasm filter, which lives in a proxy such as Envoy",
        remedy: "build it without the proxy-wasm SDK, for wasm32-wasip2 and with the contract's exports: `wharf new NAME --lang rust`",
    },
    Sign {
        import: |module, _| module == "wapc",
        made: "a waPC guest, which is called with bytes and has no connection",
        remedy: "build it without waPC's SDK, for wasm32-wasip2 and with the contract's exports: `wharf new NAME --lang rust`",
    },
    Sign {
        import: |module, _| module.starts_with("fastly_"),
        made: "a program for Fastly Compute, which answers HTTP requests",
        remedy: "build it without Fastly's SDK, for wasm32-wasip2 and with the contract's exports: `wharf new NAME --lang rust`",
    },
    Sign {
        import: |module, _| module.starts_with("spin-") || module.starts_with("spin_") || module == "fermyon:spin",
        made: "an application for Spin, which answers HTTP requests",
        remedy: "build it without Spin's SDK, for wasm32-wasip2 and with the contract's exports: `wharf new NAME --lang rust`",
    },
    Sign {
        import: |module, name| {
            let sockets = ["sock_open", "sock_bind", "sock_listen", "sock_connect", "sock_getaddrinfo"];
            module.starts_with("wasix_") || module == WASI_0_1 && sockets.contains(&name)
        },
        made: "a program with sockets of WasmEdge's or WASIX's",
        remedy: "its client is its stdin and stdout here; build it for wasm32-wasip1 without sockets of its own",
    },
    Sign {
        import: |module, _| module == "wasi_unstable",
        made: "a program for the WASI before 0.1",
        remedy: "build it with a toolchain of today",
    },
];

/// What a core module is that is no plugin, and what to do: told by its sections and imports. None
/// where nothing tells.
pub(super) fn origin(survey: &Survey) -> Option<String> {
    let has = |section: &str| survey.sections.iter().any(|name| name == section);
    if has("linking") {
        return Some("an object file, which is not linked yet; link it, as a compiler does without -c".to_owned());
    }
    if has("dylink.0") || has("dylink") {
        return Some("a shared library, which is no program of its own; link it statically".to_owned());
    }
    SIGNS.iter().find_map(|sign| {
        let (module, name) = survey.core_imports.iter().find(|(module, name)| (sign.import)(module, name))?;
        Some(format!("{} (it imports {}.{}); {}", sign.made, shown(module), shown(name), sign.remedy))
    })
}

/// What a core module imports that nothing here gives, and no component type explains. None where
/// there is nothing.
pub(super) fn strays(survey: &Survey, wasm: &[u8]) -> Option<String> {
    // A component's interfaces have a `:`, what its encoder makes up a `[` or a `$`.
    let explained = |module: &str| module == WASI_0_1 || module.contains([':', '[', '$']);
    let strays = survey.core_imports.iter().filter(|(module, _)| !explained(module));
    let strays: Vec<String> = strays.map(|(module, name)| format!("{module}.{name}")).collect();
    let given = format!("a core module is given {WASI_0_1}, and what its component type names");
    // An import of shared memory is rather a sign of threads.
    let stray = || {
        needs(wasm)
            .unwrap_or_else(|| format!("it imports {}, which this host does not have: {given}", shortened(&strays)))
    };
    (!strays.is_empty()).then(stray)
}

/// Whose interfaces a component's imports are, where there is more to say of them than that they
/// are not here: how they begin, and that.
const SYSTEMS: [(&str, &str); 6] = [
    ("fermyon:", "these are Spin's, whose components answer HTTP requests; build it without Spin's SDK"),
    ("spin:", "these are Spin's, whose components answer HTTP requests; build it without Spin's SDK"),
    ("fastly:", "these are Fastly Compute's, whose components answer HTTP requests; build it without Fastly's SDK"),
    ("wasmcloud:", "these are wasmCloud's; build it without wasmCloud's SDK"),
    ("extism:", "these are Extism's; build it without Extism's PDK"),
    ("wasi:http/", "jco and componentize-js put wasi:http into whatever they build, unless told `--disable http`"),
];

/// What there is to say of the system that a component with these imports was made for.
pub(super) fn system(imports: &[String]) -> Option<&'static str> {
    let known = |(prefix, _): &&(&str, &str)| imports.iter().any(|import| import.starts_with(prefix));
    SYSTEMS.iter().find(known).map(|(_, words)| *words)
}

/// What a component imports that this host does not have, told by the names. None where it is not
/// for the names that it can't be linked.
pub(in super::super) fn unmet(imports: &[String]) -> Option<String> {
    let minor = |version: &str| version.rsplit_once('.').map_or(version.to_owned(), |(minor, _)| format!("{minor}."));
    let here = |import: &String| {
        // What a core module imports beside it has been seen before it was compiled.
        let Some((interface, version)) = import.split_once('@') else { return import == WASI_0_1 };
        let package = interface.split('/').next().unwrap_or(interface);
        match package.strip_prefix("wasi:") {
            Some(package) => {
                let known = ["cli", "clocks", "filesystem", "io", "random", "sockets"].contains(&package);
                known && version.starts_with("0.2.")
            }
            None => package == PACKAGE && version.starts_with(&minor(VERSION)),
        }
    };
    let unmet: Vec<String> = imports.iter().filter(|import| !here(import)).cloned().collect();
    let given = format!(
        "a component is given {PACKAGE}@{VERSION}, and of wasi:…@0.2 cli, clocks, filesystem, io, random, sockets"
    );
    let more = system(&unmet).map_or(String::new(), |words| format!("; {words}"));
    (!unmet.is_empty())
        .then(|| format!("it imports {}, which this host does not have: {given}{more}", shortened(&unmet)))
}

/// What of wasm the host leaves out, in words.
fn left_out() -> [(WasmFeatures, &'static str); 7] {
    [
        (WasmFeatures::THREADS | WasmFeatures::SHARED_EVERYTHING_THREADS, "threads (shared memory or atomics)"),
        (WasmFeatures::EXCEPTIONS | WasmFeatures::LEGACY_EXCEPTIONS, "exceptions"),
        (WasmFeatures::GC, "garbage-collected types (as Kotlin, Dart and Java have them)"),
        (WasmFeatures::STACK_SWITCHING, "stack switching"),
        (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes"),
        (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic"),
        (
            WasmFeatures::CM_ASYNC | WasmFeatures::CM_ASYNC_STACKFUL | WasmFeatures::CM_MORE_ASYNC_BUILTINS,
            "async component functions",
        ),
    ]
}

/// What of wasm it needs that the host leaves out. None where that is not why it does not compile.
pub(in super::super) fn needs(wasm: &[u8]) -> Option<String> {
    // What is invalid otherwise, too, may need something before that.
    let valid_until = |features| match Validator::new_with_features(features).validate_all(wasm) {
        Ok(_) => usize::MAX,
        Err(error) => error.offset(),
    };
    let all = left_out().into_iter().fold(WasmFeatures::default(), |all, (features, _)| all | features);
    let end = valid_until(all);
    let needed = left_out().into_iter().filter(|(features, _)| valid_until(all - *features) < end);
    let needed: Vec<&str> = needed.map(|(_, words)| words).collect();
    (!needed.is_empty())
        .then(|| format!("it needs {}, which this host does not have; build it without", needed.join(" and ")))
}
