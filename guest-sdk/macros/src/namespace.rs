//! `#[tulpar::namespace]`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Error, ImplItem, Result};

use crate::args::{Args, Known};
use crate::metadata::Line;
use crate::{handler, rules};

const KNOWN: &[Known] = &[
    Known {
        name: "path",
        example: r#"path = "/chat""#,
    },
    Known {
        name: "name",
        example: r#"name = "ChatSocket""#,
    },
    Known {
        name: "middlewares",
        example: r#"middlewares = ["ws-auth"]"#,
    },
    Known {
        name: "protocols",
        example: r#"protocols = ["chat.v1"]"#,
    },
];

/// The impl as it was written, and the export beside it.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut item = handler::parse(item, "namespace", "Namespace")?;
    let args = Args::parse(args, KNOWN)?;

    let Some(path) = args.text("path")? else {
        return Err(Error::new(
            Span::call_site(),
            "a namespace has a path: write `#[tulpar::namespace(path = \"/chat\")]`",
        ));
    };
    rules::path(&path)?;
    let name = handler::name(args.text("name")?, &item.self_ty)?;
    rules::name(&name)?;
    let middlewares = args.list("middlewares")?;
    rules::middlewares(&middlewares)?;
    let protocols = args.list("protocols")?;
    rules::protocols(&protocols)?;

    let has_data = |item: &ImplItem| matches!(item, ImplItem::Type(ty) if ty.ident == "Data");
    if !item.items.iter().any(has_data) {
        let nothing = ImplItem::Verbatim(quote!(
            type Data = ();
        ));
        item.items.insert(0, nothing);
    }

    let ty = &item.self_ty;
    let hooks = item.items.iter().filter_map(hook);
    let instance = handler::instance(ty);
    let with = handler::with();
    let metadata = Line::new("namespace")
        .text("path", &path)
        .text("name", &name)
        .list("middlewares", &middlewares)
        .list("protocols", &protocols)
        .into_section();
    Ok(quote! {
        #item

        // A second namespace in the crate would define it twice, which the compiler reports.
        #[doc(hidden)]
        #[macro_export]
        macro_rules! a_plugin_has_one_namespace { () => {} }

        #[allow(unsafe_code, missing_docs)]
        const _: () = {
            #instance

            impl ::tulpar::private::NamespaceExport for #ty {
                const PATH: &'static str = #path;
                const NAME: &'static str = #name;
                const MIDDLEWARES: &'static [&'static str] = &[#(#middlewares),*];
                const PROTOCOLS: &'static [&'static str] = &[#(#protocols),*];

                #with
            }

            // The names of a component's exports are none that a native linker takes.
            #[cfg(target_family = "wasm")]
            ::tulpar::private::namespace::export_namespace!(__TulparHandler);
            #(#hooks)*

            #metadata
        };
    })
}

/// The export of a hook, when the item is its method: a namespace that does not write it has no such export. It is there
/// in the builds that the method is in.
fn hook(item: &ImplItem) -> Option<TokenStream> {
    let ImplItem::Fn(function) = item else {
        return None;
    };
    let export = match function.sig.ident.to_string().as_str() {
        "on_drain" => quote!(namespace_drain::export_namespace_drain),
        "on_reload" => quote!(namespace_reload::export_namespace_reload),
        _ => return None,
    };
    let attrs = function.attrs.iter();
    let conditions = attrs.filter(|attr| attr.path().is_ident("cfg"));
    Some(quote! {
        #(#conditions)*
        #[cfg(target_family = "wasm")]
        ::tulpar::private::#export!(__TulparHandler);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(args: TokenStream) -> String {
        let item = quote!(impl Namespace for Chat {});
        expand(args, item).unwrap().to_string()
    }

    fn refused(args: TokenStream) -> String {
        let item = quote!(impl Namespace for Chat {});
        expand(args, item).unwrap_err().to_string()
    }

    fn refused_item(item: TokenStream) -> String {
        expand(quote!(path = "/chat"), item)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_name_defaults_to_the_types() {
        assert!(expanded(quote!(path = "/chat")).contains(r#"NAME : & 'static str = "Chat""#));
        let named = expanded(quote!(path = "/chat", name = "ChatSocket",));
        assert!(named.contains(r#"NAME : & 'static str = "ChatSocket""#));
        let item = quote!(impl Namespace for [u8; 4] {});
        assert!(refused_item(item).contains("give one with `name ="));
    }

    #[test]
    fn data_defaults_to_nothing() {
        assert!(expanded(quote!(path = "/chat")).contains("type Data = () ;"));
        let item = quote!(impl Namespace for Chat { type Data = User; });
        let typed = expand(quote!(path = "/chat"), item).unwrap().to_string();
        assert!(typed.contains("type Data = User ;") && !typed.contains("type Data = () ;"));
    }

    #[test]
    fn the_metadata_is_one_line_of_json() {
        let section = expanded(quote!(path = "/chat", middlewares = ["ws-auth"]));
        let line = r#"{\"kind\":\"namespace\",\"path\":\"/chat\",\"name\":\"Chat\",\"middlewares\":[\"ws-auth\"],\"protocols\":[]}\n"#;
        assert!(section.contains(line), "{section}");
    }

    #[test]
    fn a_hook_is_exported_when_it_is_written() {
        let export = "export_namespace_reload ! (__TulparHandler)";
        let of = |item| expand(quote!(path = "/chat"), item).unwrap().to_string();

        let with = of(quote!(impl Namespace for Chat {
            fn on_open(&mut self, ws: &Socket<()>) -> Result<()> { Ok(()) }
            fn on_reload(&mut self) -> Result<()> { Ok(()) }
        }));
        assert_eq!(with.matches(export).count(), 1, "{with}");
        assert!(with.contains("fn on_reload (& mut self)"), "{with}");
        assert!(!with.contains("namespace_drain"), "{with}");

        let both = of(quote!(impl Namespace for Chat {
            fn on_drain(&mut self, ws: &Socket<()>) -> Result<()> { Ok(()) }
            fn on_reload(&mut self) -> Result<()> { Ok(()) }
        }));
        for export in [export, "export_namespace_drain ! (__TulparHandler)"] {
            assert_eq!(both.matches(export).count(), 1, "{both}");
        }

        let without = of(quote!(impl Namespace for Chat {
            fn on_open(&mut self, ws: &Socket<()>) -> Result<()> { self.on_reload() }
        }));
        assert!(!without.contains("namespace_reload"), "{without}");
        assert!(!expanded(quote!(path = "/chat", name = "on_reload")).contains("namespace_reload"));
    }

    #[test]
    fn a_hook_is_exported_in_the_builds_that_it_is_in() {
        let item = quote!(impl Namespace for Chat {
            #[doc = "what it does"]
            #[cfg(feature = "told")]
            fn on_reload(&mut self) -> Result<()> { Ok(()) }
        });
        let expanded = expand(quote!(path = "/chat"), item).unwrap().to_string();
        let export = r#"# [cfg (feature = "told")] # [cfg (target_family = "wasm")] :: tulpar :: private :: namespace_reload :: export_namespace_reload ! (__TulparHandler)"#;
        assert!(expanded.contains(export), "{expanded}");
    }

    #[test]
    fn a_hook_does_not_change_the_metadata() {
        let item =
            quote!(impl Namespace for Chat { fn on_reload(&mut self) -> Result<()> { Ok(()) } });
        let section = expand(quote!(path = "/chat"), item).unwrap().to_string();
        let line = r#"{\"kind\":\"namespace\",\"path\":\"/chat\",\"name\":\"Chat\",\"middlewares\":[],\"protocols\":[]}\n"#;
        assert!(section.contains(line), "{section}");
    }

    #[test]
    fn a_missing_path_says_what_to_write() {
        assert_eq!(
            refused(quote!(name = "Chat")),
            "a namespace has a path: write `#[tulpar::namespace(path = \"/chat\")]`"
        );
    }

    #[test]
    fn arguments_that_are_wrong_say_what_to_write() {
        assert_eq!(
            refused(quote!("/chat")),
            "name the argument: write `path = \"/chat\"`"
        );
        assert_eq!(
            refused(quote!(pth = "/chat")),
            "unknown argument `pth`; known here: `path`, `name`, `middlewares`, `protocols`"
        );
        assert_eq!(
            refused(quote!(path = "/a", path = "/b")),
            "`path` is given twice"
        );
        assert_eq!(
            refused(quote!(path = 1)),
            "`path` is a string: write `path = \"/chat\"`"
        );
        let list = "`middlewares` is a list of strings: write `middlewares = [\"ws-auth\"]`";
        assert_eq!(refused(quote!(path = "/a", middlewares = "ws-auth")), list);
        assert_eq!(refused(quote!(path = "/a", middlewares = [WsAuth])), list);
        assert!(refused(quote!(path = "a")).contains("starts with `/`"));
    }

    #[test]
    fn another_item_says_where_the_attribute_goes() {
        let place = "`#[tulpar::namespace]` goes on `impl Namespace for YourType { .. }`";
        for item in [
            quote!(
                struct Chat;
            ),
            quote!(impl Chat {}),
            quote!(impl Middleware for Chat {}),
            quote!(impl !Namespace for Chat {}),
        ] {
            assert_eq!(refused_item(item), place);
        }
        let path = quote!(impl tulpar::Namespace for Chat {});
        assert!(expand(quote!(path = "/chat"), path).is_ok());
    }

    #[test]
    fn generics_and_async_are_refused() {
        let generic = quote!(
            impl<T> Namespace for Chat<T> {}
        );
        assert!(refused_item(generic).contains("without generics"));
        let of_one_type = quote!(impl Namespace for Chat<u8> {});
        assert!(expand(quote!(path = "/chat"), of_one_type).is_ok());
        let waits = quote!(impl Namespace for Chat { async fn on_open(&mut self) {} });
        assert!(refused_item(waits).contains("leave `async` out"));
        let waits = quote!(impl Namespace for Chat { async fn on_reload(&mut self) {} });
        assert!(refused_item(waits).contains("leave `async` out"));
    }
}
