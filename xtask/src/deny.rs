//! What the crates that this is made of may be: `deny.toml`, asked by cargo-deny.

use std::time::Duration;

use crate::checkout::Checkout;
use crate::tool::Tool;
use crate::{left_out, step};

const DENY: Tool = Tool { name: "deny", version: "0.20.2" };

/// RustSec's database is a few MB.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// Licences, sources and duplicates in each workspace, and known vulnerabilities where RustSec's database can be had.
pub fn deny(checkout: &Checkout) -> Result<(), String> {
    DENY.obtain(checkout)?;
    check(checkout)
}

/// As [`deny`], as one check of many: a machine that can't have cargo-deny is told so, and goes on.
pub fn deny_if_possible(checkout: &Checkout) -> Result<(), String> {
    match DENY.obtain(checkout) {
        Ok(()) => check(checkout),
        Err(reason) => {
            left_out::note(&format!("the dependencies' licences, sources and duplicates: {reason}"));
            Ok(())
        }
    }
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
            "known vulnerabilities of the dependencies: RustSec's database can't be fetched from github.com",
        );
    }
    let parts: &[&str] = match fetched {
        Ok(()) => &["licenses", "bans", "sources", "advisories"],
        Err(_) => &["licenses", "bans", "sources"],
    };
    // One file serves three workspaces, of which only the first has every duplicate, and only the last every exception.
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
