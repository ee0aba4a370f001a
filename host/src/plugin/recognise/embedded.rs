//! The component of a core module that has its component type in it, made by wit-component.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::sync::LazyLock;

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER;
use wasmparser::{BinaryReader, Parser, Payload};
use wit_component::ComponentEncoder;
use wit_parser::decoding::{decode, decode_world};

use super::WASI_0_1;

/// The most packages that component types may name. What toolchains make names some ten.
const PACKAGES: usize = 256;

/// Makes the component of a core module that says which one it is.
///
/// # Errors
/// Why none can be made, in one line.
pub(super) fn component_of(module: &[u8]) -> Result<Vec<u8>, String> {
    let made = orderly(module).and_then(|()| {
        let encoded = || -> Result<Vec<u8>, String> {
            ComponentEncoder::default()
                .validate(true)
                .module(module)
                .and_then(|encoder| encoder.adapter(WASI_0_1, ADAPTER))
                .and_then(|mut encoder| encoder.encode())
                .map_err(|error| format!("{error:#}"))
        };
        // Of a damaged component type it takes more for granted than a file should be believed.
        catch_unwind(encoded).unwrap_or_else(|_| Err("its component type is damaged".to_owned()))
    });
    made.map_err(|error| format!("no component can be made of this module: {error}").replace('\n', " "))
}

/// Packages by their names, and the names of those that each needs.
type Needs = BTreeMap<String, BTreeSet<String>>;

/// Whether the packages that a module's component types name can be put into an order, each after
/// those that it needs. wit-component begins with that, and where there is none it goes in circles
/// until its stack is full, which would end the host.
fn orderly(module: &[u8]) -> Result<(), String> {
    static ADAPTERS: LazyLock<Needs> = LazyLock::new(|| needs(ADAPTER).expect("the adapter is not damaged"));
    let mut left = needs(module)?;
    for (package, needed) in &*ADAPTERS {
        left.entry(package.clone()).or_default().extend(needed.iter().cloned());
    }
    if left.len() > PACKAGES {
        return Err(format!(
            "its component type names {} packages, and {PACKAGES} is the most that it may",
            left.len()
        ));
    }
    while !left.is_empty() {
        let ready: Vec<String> =
            left.iter().filter(|(_, needs)| needs.is_empty()).map(|(name, _)| name.clone()).collect();
        if ready.is_empty() {
            let names: Vec<String> = left.into_keys().collect();
            return Err(format!(
                "packages of its component type need each other in a circle: {}",
                super::shortened(&names)
            ));
        }
        for name in ready {
            left.remove(&name);
            for needs in left.values_mut() {
                needs.remove(&name);
            }
        }
    }
    Ok(())
}

fn needs(module: &[u8]) -> Result<Needs, String> {
    let mut all = Needs::new();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CustomSection(section) = payload.map_err(|error| error.to_string())? else { continue };
        if section.name().starts_with("component-type") {
            let data = section.data();
            let named =
                catch_unwind(|| named(data)).unwrap_or_else(|_| Err("its component type is damaged".to_owned()))?;
            for (package, needed) in named {
                all.entry(package).or_default().extend(needed);
            }
        }
    }
    Ok(all)
}

/// What one section names, read as wit-component reads it.
fn named(section: &[u8]) -> Result<Needs, String> {
    let old_world = || {
        let mut reader = BinaryReader::new(section, 0);
        // The format before today's: its number, the encoding of strings, and the world's name in
        // front.
        let _ = (reader.read_u8()?, reader.read_u8()?, reader.read_string()?);
        Ok::<_, wasmparser::BinaryReaderError>(reader.original_position())
    };
    let decoded = match section.first() {
        Some(3) => {
            let world = old_world().map_err(|error| error.to_string())?;
            decode(&section[world..]).map(|decoded| decoded.resolve().clone())
        }
        _ => decode_world(section).map(|(resolve, _)| resolve),
    };
    let resolve = decoded.map_err(|error| format!("{error:#}"))?;
    let name = |id| resolve.packages[id].name.to_string();
    let packages = resolve.packages.iter().map(|(id, _)| id);
    Ok(packages.map(|id| (name(id), resolve.package_direct_deps(id).map(name).collect())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_need_each_other_in_a_circle_are_refused() {
        // One letter of a package's name is another: two packages, each of which needs the other.
        let damaged = include_bytes!("../../../../fuzz/corpus/recognise/circle.wasm");
        let error = component_of(damaged).unwrap_err();
        assert!(error.contains("need each other in a circle"), "{error}");
        assert!(component_of(include_bytes!("../../../../fuzz/corpus/recognise/upper-zig.wasm")).is_ok());
    }
}
