//! The book that `docs/` is, built by mdbook into `target/book`.

use crate::checkout::Checkout;
use crate::tool::Tool;
use crate::{left_out, pages, step};

/// Without the server and the watcher of files, which need many more crates.
const MDBOOK: Tool =
    Tool { program: "mdbook", version: "0.5.4", options: &["--no-default-features", "--features", "search"] };

/// Checks every page, then builds the book.
pub fn docs(checkout: &Checkout) -> Result<(), String> {
    pages::check(checkout)?;
    MDBOOK.obtain(checkout)?;
    build(checkout)
}

/// As [`docs`], as one check of many: on a machine that can't have mdbook, the book is left out.
pub fn docs_if_possible(checkout: &Checkout) -> Result<(), String> {
    pages::check(checkout)?;
    match MDBOOK.obtain(checkout) {
        Ok(()) => build(checkout),
        Err(reason) => {
            left_out::note("building the book", &reason);
            Ok(())
        }
    }
}

fn build(checkout: &Checkout) -> Result<(), String> {
    let book = checkout.target_dir().join("book");
    let mut mdbook = MDBOOK.command(checkout);
    mdbook.arg("build").arg(checkout.path("docs")).arg("--dest-dir").arg(&book);
    step::run("building the book", &mut mdbook)?;
    step::say(&format!("the book is {}", book.join("index.html").display()));
    Ok(())
}
