//! What the crates that this is made of may be: `deny.toml`, asked by cargo-deny.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::checkout::Checkout;
use crate::tool::Tool;
use crate::{left_out, step, yanked};

const DENY: Tool = Tool { program: "cargo-deny", version: "0.20.2", options: &[] };

/// RustSec's database is a few MB.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// Licences, sources and duplicates in each workspace, and known vulnerabilities where RustSec's
/// database can be had.
pub fn deny(checkout: &Checkout) -> Result<(), String> {
    no_crate_is_yanked(checkout)?;
    DENY.obtain(checkout)?;
    check(checkout)
}

/// As [`deny`], as one check of many: a machine that can't have cargo-deny is told so, and goes on.
pub fn deny_if_possible(checkout: &Checkout) -> Result<(), String> {
    no_crate_is_yanked(checkout)?;
    match DENY.obtain(checkout) {
        Ok(()) => check(checkout),
        Err(reason) => {
            left_out::note("the dependencies' licences, sources and duplicates", &reason);
            Ok(())
        }
    }
}

/// The workspaces' lock files.
const LOCKS: [&str; 3] = ["Cargo.lock", "bench/Cargo.lock", "fuzz/Cargo.lock"];

/// That no locked crate was yanked, as far as cargo knows: it is asked to bring its knowledge up to
/// date, which it does where it reaches the registry. cargo-deny asks as well, but only together
/// with RustSec's database.
fn no_crate_is_yanked(checkout: &Checkout) -> Result<(), String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let mut unknown = 0;
    for lock in LOCKS {
        let mut update = checkout.cargo();
        update.args(["update", "--quiet", "--dry-run", "--manifest-path"]);
        update.arg(checkout.path(lock).with_extension("toml"));
        // Where it can't, what it knew before is what there is.
        let _ = step::run_within(&format!("asking the registry of {lock}"), FETCH_LIMIT, &mut update);
        let text = fs::read_to_string(checkout.path(lock)).map_err(|error| format!("{lock}: {error}"))?;
        let caches = home.as_deref().map(yanked::caches).unwrap_or_default();
        let known = yanked::look_up(yanked::locked(&text), &caches);
        if let Some(yanked::Locked { name, version }) = known.yanked.first() {
            return Err(format!("{lock}: {name} {version} was yanked: `cargo update {name}` takes another"));
        }
        unknown += known.unknown;
    }
    if unknown > 0 {
        left_out::note("whether crates were yanked", &format!("cargo has no entry of {unknown} locked ones"));
    }
    Ok(())
}

fn check(checkout: &Checkout) -> Result<(), String> {
    let deny = |manifest: &str| {
        let mut deny = DENY.command(checkout);
        deny.arg("--config").arg(checkout.path("deny.toml")).arg("--manifest-path").arg(checkout.path(manifest));
        deny
    };
    let fetched =
        step::run_within("fetching RustSec's advisories", FETCH_LIMIT, deny("Cargo.toml").args(["fetch", "db"]));
    if fetched.is_err() {
        left_out::note(
            "known vulnerabilities of the dependencies",
            "RustSec's database can't be fetched from github.com",
        );
    }
    let parts: &[&str] = match fetched {
        Ok(()) => &["licenses", "bans", "sources", "advisories"],
        Err(_) => &["licenses", "bans", "sources"],
    };
    // One file serves three workspaces, of which only the first has every duplicate, and only the
    // last every exception.
    for (manifest, duplicates) in
        [("Cargo.toml", "--deny"), ("bench/Cargo.toml", "--allow"), ("fuzz/Cargo.toml", "--allow")]
    {
        let mut check = deny(manifest);
        check.args(["check", "--hide-inclusion-graph", "--allow", "license-exception-not-encountered"]);
        check.args([duplicates, "unmatched-skip"]).args(parts);
        step::run(&format!("dependencies of {manifest}"), &mut check)?;
    }
    Ok(())
}
