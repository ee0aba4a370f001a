//! The types of a component's functions, in words that can be compared with the contract's.

use wasmparser::component_types::{
    ComponentDefinedType, ComponentEntityType, ComponentItem, ComponentValType, VariantCase,
};
use wasmparser::types::Types;

const ERROR_CODE: &str =
    "variant{timed-out, connection-reset, broken-pipe, message-too-large, not-permitted, other(string)}";
const ADDRESS: &str = "variant{inet(record{ip: string, port: u16}), unix(option<string>)}";

/// The types of all that a handler may import from the contract.
pub(super) fn type_of(function: &str) -> Option<String> {
    Some(match function {
        "recv" => format!("(u32) -> result<list<u8>, {ERROR_CODE}>"),
        "send" => format!("(list<u8>) -> result<_, {ERROR_CODE}>"),
        "shutdown" => format!("(enum{{read, write, both}}) -> result<_, {ERROR_CODE}>"),
        "set-timeout" => "(option<u64>)".to_owned(),
        "client-address" | "server-address" => format!("() -> {ADDRESS}"),
        "start-tls" => format!("() -> result<_, {ERROR_CODE}>"),
        "send-to" => format!("(list<u8>, {ADDRESS}) -> result<_, {ERROR_CODE}>"),
        _ => return None,
    })
}

/// An instance's exports by name.
type Exports<'t> = &'t wasmparser::collections::IndexMap<String, ComponentItem>;

pub(super) fn instance(types: &Types, ty: ComponentEntityType) -> Option<Exports<'_>> {
    let ComponentEntityType::Instance(id) = ty else { return None };
    Some(&types[id].exports)
}

/// A function's type in words, names of its parameters left out; none if it is no function, or an async one.
pub(super) fn function(types: &Types, ty: ComponentEntityType) -> Option<String> {
    let ComponentEntityType::Func(id) = ty else { return None };
    let function = &types[id];
    if function.async_ {
        return None;
    }
    let params: Vec<String> = function.params.iter().map(|(_, ty)| value(types, *ty)).collect();
    let result = function.result.map(|ty| format!(" -> {}", value(types, ty))).unwrap_or_default();
    Some(format!("({}){result}", params.join(", ")))
}

/// A type in words, as far as the contract has such; what it has not is a `?`.
fn value(types: &Types, ty: ComponentValType) -> String {
    let of = |ty: &Option<ComponentValType>| ty.map_or("_".to_owned(), |ty| value(types, ty));
    let id = match ty {
        ComponentValType::Primitive(primitive) => return primitive.to_string(),
        ComponentValType::Type(id) => id,
    };
    match &types[id] {
        ComponentDefinedType::Primitive(primitive) => primitive.to_string(),
        ComponentDefinedType::Record(record) => {
            let fields: Vec<_> =
                record.fields.iter().map(|(name, ty)| format!("{name}: {}", value(types, *ty))).collect();
            format!("record{{{}}}", fields.join(", "))
        }
        ComponentDefinedType::Variant(variant) => {
            let case = |(name, case): (&wasmparser::names::KebabString, &VariantCase)| match case.ty {
                Some(ty) => format!("{name}({})", value(types, ty)),
                None => name.to_string(),
            };
            format!("variant{{{}}}", variant.cases.iter().map(case).collect::<Vec<_>>().join(", "))
        }
        ComponentDefinedType::List { element, .. } => format!("list<{}>", value(types, *element)),
        ComponentDefinedType::Enum(names) => {
            format!("enum{{{}}}", names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        ComponentDefinedType::Option { ty, .. } => format!("option<{}>", value(types, *ty)),
        ComponentDefinedType::Result { ok, err, .. } => match err {
            None => format!("result<{}>", of(ok)),
            Some(_) => format!("result<{}, {}>", of(ok), of(err)),
        },
        _ => "?".to_owned(),
    }
}
