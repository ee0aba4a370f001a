//! Handlers in other languages, and the tools that make them.

mod conformance;
mod dev;
mod every_language;
mod new;
mod python_builds;
mod python_sdk;
mod socketserver_examples;
