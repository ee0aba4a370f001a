//! What the tests have of xtask: the toolchains that it found or installed, and the commands of a README.

#![forbid(unsafe_code)]

pub mod checkout;
pub mod debian;
pub mod readme;
pub mod step;
pub mod toolchain;
