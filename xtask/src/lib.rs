//! What the tests have of xtask: the toolchains that it found or installed, the commands of a
//! README, and where they note what they leave out and how long they took.

#![forbid(unsafe_code)]

pub mod checkout;
pub mod debian;
pub mod left_out;
pub mod readme;
pub mod slow;
pub mod step;
pub mod test_times;
pub mod toolchain;
