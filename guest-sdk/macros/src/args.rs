//! The arguments of an attribute: `name = "text"` and `name = ["text", ..]`, separated by commas. Some attributes take
//! the first one without its name.

use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprArray, ExprLit, Ident, Lit, LitStr, Result, Token};

/// An argument that an attribute knows, and how it is written.
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) example: &'static str,
}

/// The arguments as given: each of them known, none given twice.
pub(crate) struct Args {
    known: &'static [Known],
    given: Vec<Arg>,
}

struct Arg {
    name: Ident,
    value: Expr,
}

impl Args {
    /// Read an attribute's arguments. `known` is not empty.
    pub(crate) fn parse(tokens: TokenStream, known: &'static [Known]) -> Result<Self> {
        Self::parse_all(tokens, known, false)
    }

    /// The same, where a string that stands first is the first that is known.
    pub(crate) fn parse_leading(tokens: TokenStream, known: &'static [Known]) -> Result<Self> {
        Self::parse_all(tokens, known, true)
    }

    fn parse_all(tokens: TokenStream, known: &'static [Known], leading: bool) -> Result<Self> {
        let parse = |input: ParseStream<'_>| {
            let mut args = Punctuated::<Arg, Token![,]>::new();
            if leading && input.peek(LitStr) {
                let text: LitStr = input.parse()?;
                args.push(Arg {
                    name: Ident::new(known[0].name, text.span()),
                    value: Expr::Lit(ExprLit {
                        attrs: Vec::new(),
                        lit: Lit::Str(text),
                    }),
                });
                if input.is_empty() {
                    return Ok(args);
                }
                input.parse::<Token![,]>()?;
            }
            if !input.is_empty() && !input.peek(Ident) {
                let example = known[0].example;
                return Err(input.error(format!("name the argument: write `{example}`")));
            }
            args.extend(Punctuated::<Arg, Token![,]>::parse_terminated(input)?);
            Ok(args)
        };
        let mut given = Vec::<Arg>::new();
        for arg in parse.parse2(tokens)? {
            if !known.iter().any(|known| arg.name == known.name) {
                let names: Vec<_> = known.iter().map(|k| format!("`{}`", k.name)).collect();
                let message = format!(
                    "unknown argument `{}`; known here: {}",
                    arg.name,
                    names.join(", ")
                );
                return Err(Error::new(arg.name.span(), message));
            }
            if given.iter().any(|earlier| earlier.name == arg.name) {
                let message = format!("`{}` is given twice", arg.name);
                return Err(Error::new(arg.name.span(), message));
            }
            given.push(arg);
        }
        Ok(Self { known, given })
    }

    /// A string; none when it was not given.
    pub(crate) fn text(&self, name: &str) -> Result<Option<LitStr>> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        string(value)
            .map(Some)
            .ok_or_else(|| self.wrong(value, name, "a string"))
    }

    /// A list of strings; empty when it was not given.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<LitStr>> {
        let Some(value) = self.value(name) else {
            return Ok(Vec::new());
        };
        let Expr::Array(ExprArray { elems, .. }) = value else {
            return Err(self.wrong(value, name, "a list of strings"));
        };
        elems
            .iter()
            .map(|elem| string(elem).ok_or_else(|| self.wrong(elem, name, "a list of strings")))
            .collect()
    }

    fn value(&self, name: &str) -> Option<&Expr> {
        let arg = self.given.iter().find(|arg| arg.name == name)?;
        Some(&arg.value)
    }

    fn wrong(&self, value: &Expr, name: &str, expected: &str) -> Error {
        let known = self.known.iter().find(|known| known.name == name);
        let example = known.map_or(name, |known| known.example);
        Error::new_spanned(value, format!("`{name}` is {expected}: write `{example}`"))
    }
}

impl Parse for Arg {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name: Ident = input.parse()?;
        if !input.peek(Token![=]) {
            let message = format!("`{name}` has a value: write `{name} = ..`");
            return Err(Error::new(name.span(), message));
        }
        input.parse::<Token![=]>()?;
        let value = input.parse()?;
        Ok(Self { name, value })
    }
}

fn string(value: &Expr) -> Option<LitStr> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text.clone()),
        _ => None,
    }
}
