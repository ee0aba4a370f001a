//! The types of a component's functions, compared with the contract's.
//!
//! They are compared part by part, along the contract's, which are small: a component's own may be
//! nested so that they would take gigabytes to write out.

use wasmparser::PrimitiveValType;
use wasmparser::component_types::{ComponentDefinedType, ComponentEntityType, ComponentItem, ComponentValType};
use wasmparser::types::Types;

/// A type of the contract.
pub(super) enum Type {
    Primitive(PrimitiveValType),
    Record(&'static [(&'static str, Type)]),
    Variant(&'static [(&'static str, Option<Type>)]),
    Enum(&'static [&'static str]),
    List(&'static Type),
    Option(&'static Type),
    Result(Option<&'static Type>, Option<&'static Type>),
}

/// A function's type: its parameters without their names, and what it returns.
pub(super) struct Signature {
    params: &'static [Type],
    result: Option<Type>,
}

const STRING: Type = Type::Primitive(PrimitiveValType::String);
const BYTES: Type = Type::List(&Type::Primitive(PrimitiveValType::U8));
const ERROR_CODE: Type = Type::Variant(&[
    ("timed-out", None),
    ("connection-reset", None),
    ("broken-pipe", None),
    ("message-too-large", None),
    ("not-permitted", None),
    ("other", Some(STRING)),
]);
const INET: Type = Type::Record(&[("ip", STRING), ("port", Type::Primitive(PrimitiveValType::U16))]);
const ADDRESS: Type = Type::Variant(&[("inet", Some(INET)), ("unix", Some(Type::Option(&STRING)))]);
const DONE: Option<Type> = Some(Type::Result(None, Some(&ERROR_CODE)));

const RECV: Signature = Signature {
    params: &[Type::Primitive(PrimitiveValType::U32)],
    result: Some(Type::Result(Some(&BYTES), Some(&ERROR_CODE))),
};
const SEND: Signature = Signature { params: &[BYTES], result: DONE };
const SHUTDOWN: Signature = Signature { params: &[Type::Enum(&["read", "write", "both"])], result: DONE };
const SET_TIMEOUT: Signature =
    Signature { params: &[Type::Option(&Type::Primitive(PrimitiveValType::U64))], result: None };
const ASK_ADDRESS: Signature = Signature { params: &[], result: Some(ADDRESS) };
const START_TLS: Signature = Signature { params: &[], result: DONE };
const SEND_TO: Signature = Signature { params: &[BYTES, ADDRESS], result: DONE };

/// A phase of a handler's, and one that is given a packet.
pub(super) const PHASE: Signature = Signature { params: &[], result: Some(Type::Result(None, Some(&STRING))) };
pub(super) const PACKET_PHASE: Signature =
    Signature { params: &[BYTES], result: Some(Type::Result(None, Some(&STRING))) };

/// The types of all that a handler may import from the contract.
pub(super) fn type_of(function: &str) -> Option<&'static Signature> {
    Some(match function {
        "recv" => &RECV,
        "send" => &SEND,
        "shutdown" => &SHUTDOWN,
        "set-timeout" => &SET_TIMEOUT,
        "client-address" | "server-address" => &ASK_ADDRESS,
        "start-tls" => &START_TLS,
        "send-to" => &SEND_TO,
        _ => return None,
    })
}

/// An instance's exports by name.
type ExportedTypes<'t> = &'t wasmparser::collections::IndexMap<String, ComponentItem>;

pub(super) fn instance(types: &Types, ty: ComponentEntityType) -> Option<ExportedTypes<'_>> {
    let ComponentEntityType::Instance(id) = ty else { return None };
    Some(&types[id].exports)
}

/// Whether it is a function of this type, and not an async one.
pub(super) fn is_function(types: &Types, ty: ComponentEntityType, signature: &Signature) -> bool {
    let ComponentEntityType::Func(id) = ty else { return false };
    let function = &types[id];
    !function.async_
        && function.params.len() == signature.params.len()
        && function.params.iter().zip(signature.params).all(|((_, ty), wanted)| is(types, *ty, wanted))
        && are(types, function.result, signature.result.as_ref())
}

fn are(types: &Types, ty: Option<ComponentValType>, wanted: Option<&Type>) -> bool {
    match (ty, wanted) {
        (Some(ty), Some(wanted)) => is(types, ty, wanted),
        (None, None) => true,
        _ => false,
    }
}

/// As deep as the contract's type is, whatever the other one is.
fn is(types: &Types, ty: ComponentValType, wanted: &Type) -> bool {
    let id = match ty {
        ComponentValType::Primitive(primitive) => return matches!(wanted, Type::Primitive(p) if *p == primitive),
        ComponentValType::Type(id) => id,
    };
    match (&types[id], wanted) {
        (ComponentDefinedType::Primitive(primitive), Type::Primitive(wanted)) => primitive == wanted,
        (ComponentDefinedType::Record(record), Type::Record(wanted)) => {
            record.fields.len() == wanted.len()
                && record
                    .fields
                    .iter()
                    .zip(*wanted)
                    .all(|((name, ty), (wanted_name, wanted))| name.as_str() == *wanted_name && is(types, *ty, wanted))
        }
        (ComponentDefinedType::Variant(variant), Type::Variant(wanted)) => {
            variant.cases.len() == wanted.len()
                && variant.cases.iter().zip(*wanted).all(|((name, case), (wanted_name, wanted))| {
                    name.as_str() == *wanted_name && are(types, case.ty, wanted.as_ref())
                })
        }
        (ComponentDefinedType::Enum(names), Type::Enum(wanted)) => {
            names.len() == wanted.len() && names.iter().zip(*wanted).all(|(name, wanted)| name.as_str() == *wanted)
        }
        (ComponentDefinedType::List { element, .. }, Type::List(wanted)) => is(types, *element, wanted),
        (ComponentDefinedType::Option { ty, .. }, Type::Option(wanted)) => is(types, *ty, wanted),
        (ComponentDefinedType::Result { ok, err, .. }, Type::Result(wanted_ok, wanted_err)) => {
            are(types, *ok, *wanted_ok) && are(types, *err, *wanted_err)
        }
        _ => false,
    }
}
