//! What the tests have of xtask: the toolchains that it found or installed, the commands of a README, and where
//! what is left out is noted.

#![forbid(unsafe_code)]

pub mod checkout;
pub mod debian;
pub mod left_out;
pub mod readme;
pub mod step;
pub mod toolchain;
