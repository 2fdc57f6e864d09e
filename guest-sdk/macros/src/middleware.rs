//! `#[tulpar::middleware]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Result;

use crate::args::{Args, Known};
use crate::metadata::Line;
use crate::{handler, rules};

const KNOWN: &[Known] = &[Known {
    name: "name",
    example: r#"name = "ws-auth""#,
}];

/// The impl as it was written, and the export beside it.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let item = handler::parse(item, "middleware", "Middleware")?;
    let args = Args::parse(args, KNOWN)?;

    let ty = &item.self_ty;
    let instance = handler::instance(ty);
    let with = handler::with();
    let name = handler::name(args.text("name")?, ty)?;
    rules::name(&name)?;

    let metadata = Line::new("middleware").text("name", &name).into_section();
    Ok(quote! {
        #item

        // A second middleware in the crate would define it twice, which the compiler reports.
        #[doc(hidden)]
        #[macro_export]
        macro_rules! a_plugin_has_one_middleware { () => {} }

        #[allow(unsafe_code, missing_docs)]
        const _: () = {
            #instance

            impl ::tulpar::private::MiddlewareExport for #ty {
                const NAME: &'static str = #name;

                #with
            }

            // The names of a component's exports are none that a native linker takes.
            #[cfg(target_family = "wasm")]
            ::tulpar::private::middleware::export_middleware!(__TulparHandler);

            #metadata
        };
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_defaults_to_the_types() {
        let item = quote!(impl Middleware for WsAuth {});
        let expanded = expand(TokenStream::new(), item).unwrap().to_string();
        assert!(expanded.contains(r#"{\"kind\":\"middleware\",\"name\":\"WsAuth\"}\n"#));
    }

    #[test]
    fn it_knows_no_path() {
        let item = quote!(impl Middleware for WsAuth {});
        let error = expand(quote!(path = "/chat"), item).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown argument `path`; known here: `name`"
        );
    }

    #[test]
    fn another_item_says_where_the_attribute_goes() {
        let error = expand(
            quote!(name = "a"),
            quote!(
                fn handle() {}
            ),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`#[tulpar::middleware]` goes on `impl Middleware for YourType { .. }`"
        );
    }
}
