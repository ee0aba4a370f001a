//! The longest of the tests, for as long as asked for.

use std::ffi::OsString;

use crate::checkout::Checkout;
use crate::plugins;
use crate::step;

const TEST: &str = "hostile::soak::everything_at_once_costs_nobody_a_session";
const USAGE: &str =
    "soak takes `--minutes N`, 1 to 10080 (10 if it is left out), and `--seed N`, which repeats what was done";

/// # Errors
/// An argument that is none, or a session lost.
pub fn soak(checkout: &Checkout, arguments: &[OsString]) -> Result<(), String> {
    let (mut minutes, mut seed) = (10_u64, None);
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        let number = arguments.next().and_then(|number| number.to_str()?.parse().ok());
        match (name.to_str(), number) {
            (Some("--minutes"), Some(number @ 1..=10_080)) => minutes = number,
            (Some("--seed"), Some(number)) => seed = Some(number),
            _ => return Err(USAGE.to_owned()),
        }
    }
    plugins::build(checkout)?;
    let mut test = checkout.cargo();
    test.args(["test", "--release", "--workspace", "--test", "wharf", "--", "--exact", TEST, "--nocapture"]);
    test.env("WHARF_SOAK_SECONDS", (minutes * 60).to_string());
    if let Some(seed) = seed {
        test.env("WHARF_SEED", seed.to_string());
    }
    step::run_for_output(&format!("soaking for {minutes} min"), &mut test)
}
