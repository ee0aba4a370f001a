//! Which toolchain compiles Rust to wasm here, and how to come by one.

use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use crate::checkout::Checkout;
use crate::debian::{self, Debian};
use crate::{left_out, step};

/// rustup's target: a component whose std has stdout, clocks and the rest of WASI 0.2.
const RUSTUP_TARGET: &str = "wasm32-wasip2";
/// Some 25 MB to fetch. Where the network drops packets, rustup would retry for long.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);
const FORCE: &str = "WHARF_WASM_TOOLCHAIN";

/// Where it is told which toolchain made the plugins that were built last: its name, for tests of
/// what depends on it.
const BUILT_BY: &str = "target/guests/built-by";

/// Set for tests that are run when everything written in Rust was built.
pub const PLUGINS_ARE_BUILT: &str = "WHARF_PLUGINS_ARE_BUILT";

pub enum Toolchain {
    /// The active toolchain, with its std for wasm32-wasip2.
    Rustup,
    Debian(Debian),
}

impl Toolchain {
    pub fn target(&self) -> &'static str {
        match self {
            Self::Rustup => RUSTUP_TARGET,
            Self::Debian(_) => debian::TARGET,
        }
    }

    /// What `WHARF_WASM_TOOLCHAIN` calls it.
    pub fn name(&self) -> &'static str {
        self.family().name()
    }

    fn family(&self) -> Family {
        match self {
            Self::Rustup => Family::Rustup,
            Self::Debian(_) => Family::Debian,
        }
    }

    /// Has every xtask and every test that `command` starts use this toolchain, and no other.
    pub fn forced_on<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(FORCE, self.name())
    }

    /// Notes that it made the plugins that are there.
    ///
    /// # Errors
    /// The note can't be written.
    pub fn has_built(&self, checkout: &Checkout) -> Result<(), String> {
        let file = checkout.path(BUILT_BY);
        fs::write(&file, self.name()).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// The name of the toolchain that made the plugins that are there; none if nothing says so.
    pub fn of_built(checkout: &Checkout) -> Option<String> {
        fs::read_to_string(checkout.path(BUILT_BY)).ok()
    }

    /// A cargo that can build for [`Self::target`].
    pub fn cargo(&self, checkout: &Checkout) -> Command {
        match self {
            Self::Rustup => checkout.cargo(),
            Self::Debian(debian) => debian.cargo(checkout),
        }
    }

    /// What its `cargo build` must be told beside the target.
    pub fn build_flags(&self) -> &'static [&'static str] {
        match self {
            Self::Rustup => &[],
            Self::Debian(_) => debian::BUILD_FLAGS,
        }
    }

    /// The one that is installed, if there is one: nothing is fetched.
    pub fn installed(checkout: &Checkout) -> Option<Self> {
        let family = forced(env::var(FORCE).ok().as_deref()).ok()?;
        if family != Some(Family::Debian) && std_installed(checkout) {
            return Some(Self::Rustup);
        }
        Debian::installed(checkout).ok().filter(|_| family != Some(Family::Rustup)).map(Self::Debian)
    }

    /// Takes the first way that leads to a toolchain, and says which and why.
    pub fn obtain(checkout: &Checkout) -> Result<Self, String> {
        Self::obtain_of(forced(env::var(FORCE).ok().as_deref())?, checkout)
    }

    /// The toolchains that the tests are to run with: the one that [`Self::obtain`] gives, and the
    /// other one, if that is installed. With `install`, it is installed where that is possible.
    /// What is left out is noted.
    ///
    /// # Errors
    /// There is none, and none can be had.
    pub fn all(checkout: &Checkout, install: bool) -> Result<Vec<Self>, String> {
        let mut all = vec![Self::obtain(checkout)?];
        if forced(env::var(FORCE).ok().as_deref())?.is_some() {
            return Ok(all);
        }
        let other = match all[0].family() {
            Family::Rustup => Family::Debian,
            Family::Debian => Family::Rustup,
        };
        let is_here = match other {
            Family::Rustup => std_installed(checkout),
            Family::Debian => Debian::installed(checkout).is_ok(),
        };
        let name = other.name();
        let without = |why: &str| {
            left_out::note(&format!("the tests with plugins by {name}'s wasm toolchain"), why);
        };
        if !(is_here || install) {
            without(&format!("it is not installed; {FORCE}={name} would install it if that can be"));
            return Ok(all);
        }
        match Self::obtain_of(Some(other), checkout) {
            Ok(toolchain) => all.push(toolchain),
            Err(_) => without("it can't be had here"),
        }
        Ok(all)
    }

    fn obtain_of(family: Option<Family>, checkout: &Checkout) -> Result<Self, String> {
        let facts = Facts::gather(checkout);
        for way in ways(family, &facts) {
            match way.take(checkout) {
                Ok(toolchain) => return Ok(toolchain),
                Err(reason) => step::say(&format!("wasm toolchain: that failed: {reason}")),
            }
        }
        Err(none(family, &facts))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Family {
    Rustup,
    Debian,
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Rustup => "rustup",
            Self::Debian => "debian",
        }
    }
}

fn forced(value: Option<&str>) -> Result<Option<Family>, String> {
    match value {
        None | Some("") => Ok(None),
        Some("rustup") => Ok(Some(Family::Rustup)),
        Some("debian") => Ok(Some(Family::Debian)),
        Some(other) => Err(format!("{FORCE}={other}: must be `rustup` or `debian`")),
    }
}

/// What is so on this machine, before anything is changed.
struct Facts {
    /// The active toolchain has a std for wasm32-wasip2.
    std_installed: bool,
    rustup: bool,
    /// What is amiss with Debian's packages; none if they are there and recent enough.
    debian_lacks: Option<String>,
    apt: bool,
    root: bool,
}

impl Facts {
    fn gather(checkout: &Checkout) -> Self {
        Self {
            std_installed: std_installed(checkout),
            rustup: step::answer(Command::new("rustup").arg("--version")).is_some(),
            debian_lacks: Debian::installed(checkout).err(),
            apt: step::answer(Command::new("apt-get").arg("--version")).is_some(),
            root: step::answer(Command::new("id").arg("-u")).as_deref() == Some("0"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    InstalledStd,
    InstalledDebian,
    RustupAdd,
    AptInstall,
}

/// The ways worth trying, the best first. What is installed comes before what must be fetched, so
/// that a machine without a network waits for rustup's failure once, not at every build.
fn ways(family: Option<Family>, facts: &Facts) -> Vec<Way> {
    let rustup = family != Some(Family::Debian);
    let debian = family != Some(Family::Rustup);
    [
        (Way::InstalledStd, rustup && facts.std_installed),
        (Way::InstalledDebian, debian && facts.debian_lacks.is_none()),
        (Way::RustupAdd, rustup && facts.rustup),
        (Way::AptInstall, debian && facts.apt && facts.root),
    ]
    .into_iter()
    .filter_map(|(way, open)| open.then_some(way))
    .collect()
}

impl Way {
    fn take(self, checkout: &Checkout) -> Result<Toolchain, String> {
        match self {
            Self::InstalledStd => {
                step::say(&format!("wasm toolchain: the active toolchain has a std for {RUSTUP_TARGET}"));
                Ok(Toolchain::Rustup)
            }
            Self::InstalledDebian => {
                let debian = Debian::installed(checkout)?;
                step::say(&format!("wasm toolchain: Debian's packages, installed ({debian})"));
                Ok(Toolchain::Debian(debian))
            }
            Self::RustupAdd => {
                step::say(&format!(
                    "wasm toolchain: the active toolchain has no std for {RUSTUP_TARGET}, rustup may have one"
                ));
                step::run_within(
                    &format!("adding {RUSTUP_TARGET} with rustup"),
                    RUSTUP_LIMIT,
                    checkout.command("rustup").args(["target", "add", RUSTUP_TARGET]),
                )?;
                // rustup may have served another toolchain than the one whose cargo runs this.
                if std_installed(checkout) {
                    Ok(Toolchain::Rustup)
                } else {
                    Err(format!("rustup added {RUSTUP_TARGET}, but not to the active rustc"))
                }
            }
            Self::AptInstall => {
                step::say("wasm toolchain: Debian's packages, which can build a std, from apt");
                debian::install(checkout, debian::PACKAGES)?;
                let debian = Debian::installed(checkout)?;
                step::say(&format!("wasm toolchain: Debian's packages ({debian})"));
                Ok(Toolchain::Debian(debian))
            }
        }
    }
}

fn std_installed(checkout: &Checkout) -> bool {
    checkout.sysroot().is_some_and(|sysroot| sysroot.join("lib/rustlib").join(RUSTUP_TARGET).join("lib").is_dir())
}

/// The one message for a machine where no way led anywhere.
fn none(family: Option<Family>, facts: &Facts) -> String {
    let ruled_out = "WHARF_WASM_TOOLCHAIN rules it out";
    let rustup = match family {
        Some(Family::Debian) => ruled_out,
        _ if facts.rustup => "tried above",
        _ => "rustup is not here",
    };
    let apt = match (family, facts.apt, facts.root) {
        (Some(Family::Rustup), ..) => ruled_out,
        (_, false, _) => "there is no apt-get here",
        (_, true, false) => "as root, once, for everyone",
        (_, true, true) => "tried above",
    };
    let lacks = facts.debian_lacks.as_deref().unwrap_or("installed");
    format!(
        "no wasm toolchain for Rust. Any one of these will do:
  - a Rust toolchain that brings a std for {RUSTUP_TARGET}, as the active one
  - rustup target add {RUSTUP_TARGET} ({rustup})
  - on Debian 12: apt-get install --no-install-recommends {} ({apt}; now: {lacks})",
        debian::PACKAGES.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Facts =
        Facts { std_installed: false, rustup: false, debian_lacks: Some(String::new()), apt: false, root: false };
    const EVERYTHING: Facts = Facts { std_installed: true, rustup: true, debian_lacks: None, apt: true, root: true };

    #[test]
    fn the_installed_is_used_before_anything_is_fetched() {
        assert_eq!(ways(None, &EVERYTHING), [Way::InstalledStd, Way::InstalledDebian, Way::RustupAdd, Way::AptInstall]);
        assert_eq!(ways(None, &Facts { std_installed: true, ..NOTHING }), [Way::InstalledStd]);
    }

    #[test]
    fn rustup_is_asked_before_debian_is_installed() {
        let facts = Facts { rustup: true, apt: true, root: true, ..NOTHING };
        assert_eq!(ways(None, &facts), [Way::RustupAdd, Way::AptInstall]);
    }

    #[test]
    fn installed_debian_packages_need_no_root() {
        let facts = Facts { debian_lacks: None, apt: true, ..NOTHING };
        assert_eq!(ways(None, &facts), [Way::InstalledDebian]);
    }

    #[test]
    fn apt_is_for_root_alone() {
        assert_eq!(ways(None, &Facts { apt: true, ..NOTHING }), []);
        assert_eq!(ways(None, &Facts { root: true, ..NOTHING }), []);
        assert_eq!(ways(None, &Facts { apt: true, root: true, ..NOTHING }), [Way::AptInstall]);
    }

    #[test]
    fn a_forced_family_leaves_the_other_out() {
        assert_eq!(ways(Some(Family::Rustup), &EVERYTHING), [Way::InstalledStd, Way::RustupAdd]);
        assert_eq!(ways(Some(Family::Debian), &EVERYTHING), [Way::InstalledDebian, Way::AptInstall]);
    }

    #[test]
    fn only_known_families_can_be_forced() {
        assert_eq!(forced(None), Ok(None));
        assert_eq!(forced(Some("")), Ok(None));
        assert_eq!(forced(Some("debian")), Ok(Some(Family::Debian)));
        assert_eq!(forced(Some("rustup")), Ok(Some(Family::Rustup)));
        assert!(forced(Some("nix")).unwrap_err().contains("`rustup` or `debian`"));
    }

    #[test]
    fn the_last_message_names_all_three_ways() {
        let message = none(None, &NOTHING);
        for way in ["brings a std for wasm32-wasip2", "rustup target add wasm32-wasip2", "apt-get install"] {
            assert!(message.contains(way), "{message}");
        }
    }
}
