//! A schedule of a service: a method and when it is to be run.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Attribute, Error, Ident, ImplItemFn, LitStr, Result, Type};

use crate::metadata::Line;
use crate::{method, rules, timing};

/// A method that is to be run at times.
pub(crate) struct Schedule {
    pub(crate) method: Ident,
    pub(crate) returned: Type,
    name: LitStr,
    timing: Timing,
}

enum Timing {
    EveryMs(u64),
    Cron(LitStr),
}

impl Schedule {
    /// Read a method with its marker, `every` or `cron`.
    pub(crate) fn new(function: &ImplItemFn, kind: &str, marker: &Attribute) -> Result<Self> {
        let signature = &function.sig;
        let example = format!("fn {}(&mut self) -> Result<()>", signature.ident);
        method::check(function, &example)?;
        method::takes_nothing(signature, &example)?;
        let returned = method::returned(signature, &example)?.clone();

        let example = if kind == "every" {
            timing::EVERY
        } else {
            timing::CRON
        };
        let Some(text) = method::text(marker, example)? else {
            return Err(Error::new_spanned(marker, format!("write `{example}`")));
        };
        let timing = if kind == "every" {
            Timing::EveryMs(timing::every(&text)?)
        } else {
            timing::cron(&text)?;
            Timing::Cron(text)
        };
        let method = signature.ident.clone();
        let name = LitStr::new(&method.unraw().to_string(), method.span());
        rules::name(&name)?;
        Ok(Self {
            method,
            returned,
            name,
            timing,
        })
    }

    /// Its object in the metadata.
    pub(crate) fn line(&self) -> Line {
        let line = Line::named(&self.name);
        match &self.timing {
            Timing::EveryMs(ms) => line.number("every-ms", *ms),
            Timing::Cron(times) => line.text("cron", times),
        }
    }

    /// Its pair in `SCHEDULES`.
    pub(crate) fn constant(&self) -> TokenStream {
        let name = &self.name;
        let timing = match &self.timing {
            Timing::EveryMs(ms) => quote!(EveryMs(#ms)),
            Timing::Cron(times) => quote!(Cron(#times)),
        };
        quote!((#name, ::tulpar::private::Timing::#timing))
    }
}
