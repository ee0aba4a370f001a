//! Makes one module of a handler's component, where that component is no more than a module with
//! others around it that pass values in and out. `sandbox::module` runs what comes of it: an
//! instance is then one and not four, and a message no call through the component model. Whatever
//! is more stays a component.

mod extract;
mod modules;
mod rewrite;
mod survey;
mod types;

use crate::sandbox::Interface;

/// The largest component that is looked through, in bytes. Those that could be put back are far
/// smaller.
const MAX_COMPONENT_BYTES: usize = 16 << 20;

/// Makes the one module of a component that exports `interface` of this version of the contract.
/// None if it is to stay a component. With `own_adapter`, an adapter of WASI 0.1 in it is the one
/// that this host put there.
pub(super) fn flatten(component: &[u8], interface: Interface, version: &str, own_adapter: bool) -> Option<Vec<u8>> {
    if component.len() > MAX_COMPONENT_BYTES {
        return None;
    }
    let extracted = extract::extract(component, interface, version, own_adapter)?;
    rewrite::rewrite(&extracted, interface == Interface::Datagram)
}
