//! The methods of an inherent impl that the host calls: how they are marked, and what they look like.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Attribute, Error, FnArg, ImplItemFn, LitStr, Meta, Result, ReturnType, Signature, Type};

/// Take the attributes of these names off a method, in their order. They are the macro's alone, the compiler does not
/// know them.
pub(crate) fn take_markers(function: &mut ImplItemFn, names: &[&str]) -> Vec<(String, Attribute)> {
    let mut markers = Vec::new();
    function.attrs.retain(|attr| {
        let name = attr.path().get_ident().map(ToString::to_string);
        match name.filter(|name| names.contains(&name.as_str())) {
            Some(name) => {
                markers.push((name, attr.clone()));
                false
            }
            None => true,
        }
    });
    markers
}

/// The string in a marker's parentheses; none when it has no parentheses.
pub(crate) fn text(marker: &Attribute, example: &str) -> Result<Option<LitStr>> {
    match &marker.meta {
        Meta::Path(_) => Ok(None),
        Meta::List(_) => match marker.parse_args() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Error::new_spanned(marker, format!("write `{example}`"))),
        },
        Meta::NameValue(_) => Err(Error::new_spanned(marker, format!("write `{example}`"))),
    }
}

/// What the host calls is there always, and is called in one way.
pub(crate) fn check(function: &ImplItemFn, example: &str) -> Result<()> {
    let signature = &function.sig;
    if let Some(keyword) = &signature.asyncness {
        return Err(crate::handler::waits(keyword));
    }
    if let Some(keyword) = &signature.unsafety {
        return Err(Error::new_spanned(
            keyword,
            format!("the server calls this: write `{example}`"),
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &signature.generics,
            format!("the server calls this, without generics: write `{example}`"),
        ));
    }
    if let Some(attr) = function
        .attrs
        .iter()
        .find(|attr| attr.path().is_ident("cfg"))
    {
        return Err(Error::new_spanned(
            attr,
            "the server calls this in every build: leave `cfg` out",
        ));
    }
    match signature.receiver() {
        Some(receiver) if receiver.reference.is_some() && receiver.colon_token.is_none() => Ok(()),
        Some(receiver) => Err(wrong(receiver, example)),
        None => Err(wrong(&signature.ident, example)),
    }
}

/// What a method takes beside `self`.
pub(crate) fn arguments(signature: &Signature) -> impl Iterator<Item = &FnArg> {
    let inputs = signature.inputs.iter();
    inputs.filter(|input| matches!(input, FnArg::Typed(_)))
}

/// It takes nothing beside `self`.
pub(crate) fn takes_nothing(signature: &Signature, example: &str) -> Result<()> {
    match arguments(signature).next() {
        Some(argument) => Err(wrong(argument, example)),
        None => Ok(()),
    }
}

/// What it returns, which is something.
pub(crate) fn returned<'a>(signature: &'a Signature, example: &str) -> Result<&'a Type> {
    match &signature.output {
        ReturnType::Type(_, ty) => Ok(ty),
        ReturnType::Default => Err(wrong(&signature.ident, example)),
    }
}

/// The error about a signature.
pub(crate) fn wrong(at: impl quote::ToTokens, example: &str) -> Error {
    Error::new_spanned(at, format!("the server calls this: write `{example}`"))
}

/// Where the compiler reports what is wrong with the type. The names are the macro's, also when the impl comes from
/// another macro.
pub(crate) fn at(ty: &impl Spanned) -> Span {
    ty.span().resolved_at(Span::call_site())
}
