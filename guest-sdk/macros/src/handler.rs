//! The impl that an attribute stands on.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ImplItem, Item, ItemImpl, LitStr, Result, Token, Type};

/// Read `impl TRAIT for T`, refusing what could not become an export.
pub(crate) fn parse(item: TokenStream, attribute: &str, trait_name: &str) -> Result<ItemImpl> {
    let place =
        format!("`#[tulpar::{attribute}]` goes on `impl {trait_name} for YourType {{ .. }}`");
    let item = match syn::parse2::<Item>(item)? {
        Item::Impl(item) => item,
        other => return Err(Error::new_spanned(other, place)),
    };
    match &item.trait_ {
        Some((None, path, _)) if path.segments.last().is_some_and(|s| s.ident == trait_name) => {}
        Some((_, path, _)) => return Err(Error::new_spanned(path, place)),
        None => return Err(Error::new_spanned(&item.self_ty, place)),
    }
    no_generics(&item)?;
    for function in &item.items {
        if let ImplItem::Fn(function) = function
            && let Some(keyword) = &function.sig.asyncness
        {
            return Err(waits(keyword));
        }
    }
    Ok(item)
}

/// Read `impl T`, refusing what could not become an export.
pub(crate) fn parse_inherent(item: TokenStream, attribute: &str) -> Result<ItemImpl> {
    let place = format!("`#[tulpar::{attribute}]` goes on `impl YourType {{ .. }}`");
    let item = match syn::parse2::<Item>(item)? {
        Item::Impl(item) => item,
        other => return Err(Error::new_spanned(other, place)),
    };
    if let Some((_, path, _)) = &item.trait_ {
        return Err(Error::new_spanned(path, place));
    }
    no_generics(&item)?;
    Ok(item)
}

fn no_generics(item: &ItemImpl) -> Result<()> {
    if item.generics.params.is_empty() {
        return Ok(());
    }
    Err(Error::new_spanned(
        &item.generics,
        "a plugin exports one type: name it, without generics",
    ))
}

/// The error about an `async` handler.
pub(crate) fn waits(keyword: &Token![async]) -> Error {
    Error::new(
        keyword.span(),
        "handlers are plain functions: leave `async` out",
    )
}

/// The instance's one value, of the type `__TulparHandler`: an author's own type may be called `Handler`. One without
/// `Default` is reported here alone, at the type.
pub(crate) fn instance(ty: &Type) -> TokenStream {
    let new = quote_spanned! {ty.span()=>
        const NEW: fn() -> #ty = <#ty as ::std::default::Default>::default;
        // Natively nothing calls the export, and a handler without a use would be reported as dead code.
        const _: fn() -> #ty = NEW;
    };
    quote! {
        type __TulparHandler = #ty;

        #new

        ::std::thread_local! {
            static INSTANCE: ::std::cell::RefCell<__TulparHandler> = ::std::cell::RefCell::new(NEW());
        }
    }
}

/// How `private` reaches that value.
pub(crate) fn with() -> TokenStream {
    quote! {
        fn with<R>(f: impl ::std::ops::FnOnce(&mut Self) -> R) -> R {
            INSTANCE.with_borrow_mut(f)
        }
    }
}

/// The name that was given, or the type's.
pub(crate) fn name(given: Option<LitStr>, ty: &Type) -> Result<LitStr> {
    if let Some(given) = given {
        return Ok(given);
    }
    match ungrouped(ty) {
        Type::Path(path) => {
            let last = path.path.segments.last().expect("a path has segments");
            Ok(LitStr::new(&last.ident.to_string(), last.ident.span()))
        }
        _ => Err(Error::new(
            ty.span(),
            "this type has no name of its own: give one with `name = \"..\"`",
        )),
    }
}

/// The type itself, also when it comes from a macro's `$x:ty`.
pub(crate) fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungrouped(&group.elem),
        _ => ty,
    }
}
