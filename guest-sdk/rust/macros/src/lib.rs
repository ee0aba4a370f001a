//! The attribute `#[wharf_guest::main]`. The crate `wharf-guest` re-exports and documents it.

#![forbid(unsafe_code)]

use proc_macro::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};

/// Makes a function the handler of a plugin. Documented in `wharf_guest`.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    let added = match Function::parse(item.clone()) {
        Ok(function) => function.exported(options),
        Err((span, text)) => compile_error(span, text),
    };
    // The function stays as it is, after an error too, so that the compiler checks the rest of it.
    item.into_iter().chain(added).collect()
}

type Error = (Span, &'static str);

/// A function that serves requests.
struct Function {
    name: Ident,
    /// `stream` or `datagram`, by the type of its parameter.
    kind: &'static str,
}

const SHAPE: &str = "`#[wharf_guest::main]` goes on `fn NAME(connection: Connection)` or \
    `fn NAME(datagram: Datagram)`, which returns nothing or a `Result<(), E>`";
const ASYNC: &str = "a handler is no `async fn`: it may block, and the host serves other clients meanwhile";
const GENERIC: &str = "a handler has no type parameters";
const REFERENCE: &str = "a handler takes its `Connection` or `Datagram` by value";

impl Function {
    fn parse(item: TokenStream) -> Result<Self, Error> {
        let mut tokens = item.into_iter();
        loop {
            match tokens.next() {
                Some(TokenTree::Ident(word)) => match &*word.to_string() {
                    "fn" => break,
                    "async" => return Err((word.span(), ASYNC)),
                    "pub" | "crate" | "const" | "extern" => {}
                    _ => return Err((word.span(), SHAPE)),
                },
                // What may stand before `fn`: attributes, `pub(crate)`, an ABI.
                Some(_) => {}
                None => return Err((Span::call_site(), SHAPE)),
            }
        }
        let Some(TokenTree::Ident(name)) = tokens.next() else { return Err((Span::call_site(), SHAPE)) };
        match tokens.next() {
            Some(TokenTree::Group(parameters)) => Ok(Self { kind: kind(&parameters)?, name }),
            Some(other) => Err((other.span(), GENERIC)),
            None => Err((name.span(), SHAPE)),
        }
    }

    /// `::wharf_guest::__main!(KIND, NAME, OPTIONS…);`
    fn exported(self, options: TokenStream) -> TokenStream {
        let span = self.name.span();
        let comma = || TokenTree::from(Punct::new(',', Spacing::Alone));
        let mut arguments: Vec<TokenTree> = vec![Ident::new(self.kind, span).into(), comma(), self.name.into()];
        if !options.is_empty() {
            arguments.push(comma());
            arguments.extend(options);
        }
        call(&["wharf_guest", "__main"], arguments.into_iter().collect(), span)
    }
}

/// The kind of request that the one parameter stands for.
fn kind(parameters: &Group) -> Result<&'static str, Error> {
    let mut tokens: Vec<TokenTree> = parameters.stream().into_iter().collect();
    let is = |token: &TokenTree, char| matches!(token, TokenTree::Punct(punct) if punct.as_char() == char);
    if tokens.last().is_some_and(|token| is(token, ',')) {
        tokens.pop();
    }
    if let Some(reference) = tokens.iter().find(|token| is(token, '&')) {
        return Err((reference.span(), REFERENCE));
    }
    match tokens.last() {
        Some(TokenTree::Ident(word)) if !tokens.iter().any(|token| is(token, ',')) => match &*word.to_string() {
            "Connection" => Ok("stream"),
            "Datagram" => Ok("datagram"),
            _ => Err((word.span(), SHAPE)),
        },
        _ => Err((parameters.span(), SHAPE)),
    }
}

fn compile_error(span: Span, text: &str) -> TokenStream {
    let mut text = proc_macro::Literal::string(text);
    text.set_span(span);
    call(&["core", "compile_error"], TokenTree::from(text).into(), span)
}

/// `::PATH!(ARGUMENTS);`, in the place of `span`.
fn call(path: &[&str], arguments: TokenStream, span: Span) -> TokenStream {
    let mut tokens = Vec::new();
    let punct = |char, spacing| TokenTree::from(Punct::new(char, spacing));
    for part in path {
        tokens.extend([punct(':', Spacing::Joint), punct(':', Spacing::Alone)]);
        tokens.push(Ident::new(part, span).into());
    }
    tokens.extend([punct('!', Spacing::Alone), Group::new(Delimiter::Parenthesis, arguments).into()]);
    tokens.push(punct(';', Spacing::Alone));
    for token in &mut tokens {
        token.set_span(span);
    }
    tokens.into_iter().collect()
}
