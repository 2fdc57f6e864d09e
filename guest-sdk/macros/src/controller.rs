//! `#[tulpar::controller]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, LitStr, Result, Type};

use crate::args::{Args, Known};
use crate::metadata::Line;
use crate::route::{self, Segment};
use crate::{handler, method, rules};

const KNOWN: &[Known] = &[
    Known {
        name: "path",
        example: r#"path = "/admin""#,
    },
    Known {
        name: "name",
        example: r#"name = "AdminController""#,
    },
    Known {
        name: "middlewares",
        example: r#"middlewares = ["ws-auth"]"#,
    },
];

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// A handler and what it answers.
struct Route {
    /// The marker's name: the method in lower case.
    verb: String,
    path: LitStr,
    segments: Vec<Segment>,
    method: Ident,
    /// The argument, when there is one.
    request: Option<FnArg>,
    returned: Type,
}

/// The impl as it was written but for the markers, and the exports beside it.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut item = handler::parse_inherent(item, "controller")?;
    let args = Args::parse_leading(args, KNOWN)?;
    let Some(path) = args.text("path")? else {
        return Err(Error::new(
            Span::call_site(),
            "a controller has a path: write `#[tulpar::controller(\"/admin\")]`",
        ));
    };
    rules::path(&path)?;
    let name = handler::name(args.text("name")?, &item.self_ty)?;
    rules::name(&name)?;
    let middlewares = args.list("middlewares")?;
    rules::middlewares(&middlewares)?;
    let routes = take_routes(&mut item)?;

    let ty = &item.self_ty;
    let instance = handler::instance(ty);
    let with = handler::with();
    let metadata = Line::new("controller")
        .text("path", &path)
        .text("name", &name)
        .list("middlewares", &middlewares)
        .into_section();
    let constants = routes.iter().map(Route::constant);
    let calls = routes.iter().enumerate().map(|(index, route)| {
        let call = route.call();
        quote!(#index => #call,)
    });
    Ok(quote! {
        #item

        // A second controller in the crate would define it twice, which the compiler reports.
        #[doc(hidden)]
        #[macro_export]
        macro_rules! a_plugin_has_one_controller { () => {} }

        #[allow(unsafe_code, missing_docs)]
        const _: () = {
            #instance

            impl ::tulpar::private::ControllerExport for #ty {
                const PATH: &'static str = #path;
                const NAME: &'static str = #name;
                const MIDDLEWARES: &'static [&'static str] = &[#(#middlewares),*];
                const ROUTES: &'static [::tulpar::private::Route] = &[#(#constants),*];

                #with

                // A controller without routes takes no request.
                #[allow(unused_variables)]
                fn call(
                    &mut self,
                    route: usize,
                    request: &::tulpar::Request,
                ) -> ::tulpar::Result<::tulpar::Response> {
                    match route {
                        #(#calls)*
                        _ => ::std::unreachable!("the routes are those of ROUTES"),
                    }
                }
            }

            // The trait is of another crate, so that `tulpar` cannot implement it for every controller.
            impl ::tulpar::private::wasip2::exports::http::incoming_handler::Guest for #ty {
                fn handle(
                    request: ::tulpar::private::wasip2::http::types::IncomingRequest,
                    response: ::tulpar::private::wasip2::http::types::ResponseOutparam,
                ) {
                    ::tulpar::private::serve::<__TulparHandler>(request, response);
                }
            }

            // The names of a component's exports are none that a native linker takes.
            #[cfg(target_family = "wasm")]
            ::tulpar::private::controller::export_controller!(__TulparHandler);
            #[cfg(target_family = "wasm")]
            ::tulpar::private::wasip2::http::proxy::export!(__TulparHandler);

            #metadata
        };
    })
}

/// Find the handlers, and take the markers off.
fn take_routes(item: &mut ItemImpl) -> Result<Vec<Route>> {
    let mut routes = Vec::<Route>::new();
    for item in &mut item.items {
        let ImplItem::Fn(function) = item else {
            continue;
        };
        for (verb, marker) in method::take_markers(function, &METHODS) {
            let route = Route::new(function, verb, &marker)?;
            let tied =
                |it: &&Route| it.verb == route.verb && route::tie(&it.segments, &route.segments);
            if let Some(other) = routes.iter().find(tied) {
                return Err(Error::new(
                    route.path.span(),
                    format!(
                        "`{}` takes the same requests: no path tells the two apart",
                        other.method
                    ),
                ));
            }
            routes.push(route);
        }
    }
    Ok(routes)
}

impl Route {
    fn new(function: &ImplItemFn, verb: String, marker: &Attribute) -> Result<Self> {
        let signature = &function.sig;
        let method = &signature.ident;
        let example =
            format!("fn {method}(&mut self, request: &Request) -> Result<impl IntoResponse>");
        method::check(function, &example)?;
        let mut arguments = method::arguments(signature);
        let request = match arguments.next() {
            None => None,
            Some(request) if is_shared_reference(request) => Some(request.clone()),
            Some(other) => return Err(method::wrong(other, &example)),
        };
        if let Some(one_too_many) = arguments.next() {
            return Err(method::wrong(one_too_many, &example));
        }
        let returned = method::returned(signature, &example)?.clone();

        let example = format!(r#"#[{verb}("/users/{{id}}")]"#);
        let path = method::text(marker, &example)?;
        let path = path.unwrap_or_else(|| LitStr::new("", marker.span()));
        Ok(Self {
            segments: route::parse(&path)?,
            verb,
            path,
            method: method.clone(),
            request,
            returned,
        })
    }

    fn constant(&self) -> TokenStream {
        let (initial, rest) = self.verb.split_at(1);
        let method = Ident::new(&(initial.to_uppercase() + rest), Span::call_site());
        let path = match self.path.value() {
            path if path.is_empty() => "/".to_owned(),
            path => path,
        };
        let segments = self.segments.iter().map(Segment::constant);
        quote! {
            ::tulpar::private::Route {
                method: ::tulpar::private::Method::#method,
                path: #path,
                segments: &[#(#segments),*],
            }
        }
    }

    /// What is no request and no response is reported where the author wrote their types.
    fn call(&self) -> TokenStream {
        let handler = &self.method;
        let request = self.request.iter();
        let request = request.map(|argument| quote_spanned!(method::at(argument)=> request));
        quote_spanned! {method::at(&self.returned)=>
            ::tulpar::private::response(__TulparHandler::#handler(self, #(#request)*))
        }
    }
}

fn is_shared_reference(argument: &FnArg) -> bool {
    let FnArg::Typed(argument) = argument else {
        return false;
    };
    match handler::ungrouped(&argument.ty) {
        Type::Reference(reference) => reference.mutability.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(args: TokenStream, item: TokenStream) -> String {
        expand(args, item).unwrap().to_string()
    }

    fn refused(args: TokenStream) -> String {
        expand(args, quote!(impl Admin {})).unwrap_err().to_string()
    }

    /// A controller with these methods.
    fn refused_methods(functions: TokenStream) -> String {
        let item = quote!(impl Admin { #functions });
        expand(quote!("/admin"), item).unwrap_err().to_string()
    }

    #[test]
    fn the_metadata_is_one_line_of_json() {
        let line = r#"{\"kind\":\"controller\",\"path\":\"/admin\",\"name\":\"Admin\",\"middlewares\":[\"ws-auth\"]}\n"#;
        for args in [
            quote!("/admin", middlewares = ["ws-auth"]),
            quote!(path = "/admin", middlewares = ["ws-auth"],),
        ] {
            let section = expanded(args, quote!(impl Admin {}));
            assert!(section.contains(line), "{section}");
        }
        let named = expanded(
            quote!("/admin", name = "AdminController"),
            quote!(impl Admin {}),
        );
        assert!(named.contains(r#"NAME : & 'static str = "AdminController""#));
    }

    #[test]
    fn routes_are_written_out_and_markers_are_gone() {
        let item = expanded(
            quote!("/admin"),
            quote!(impl Admin {
                #[get("/users/{id}")]
                #[doc = "one"]
                fn one(&self, request: &Request) -> Result<Json<User>> {}
                #[put]
                #[patch("/")]
                fn change(&mut self) -> Result<()> {}
                fn helper(a: u8, b: u8) {}
            }),
        );
        for expected in [
            r#"method : :: tulpar :: private :: Method :: Get , path : "/users/{id}""#,
            r#"Segment :: Literal ("users") , :: tulpar :: private :: Segment :: Param ("id")"#,
            r#"method : :: tulpar :: private :: Method :: Put , path : "/" , segments : & []"#,
            r#"method : :: tulpar :: private :: Method :: Patch , path : "/" , segments : & []"#,
            "0usize => :: tulpar :: private :: response (__TulparHandler :: one (self , request))",
            "2usize => :: tulpar :: private :: response (__TulparHandler :: change (self ,))",
            r#"# [doc = "one"] fn one"#,
        ] {
            assert!(item.contains(expected), "{expected}\n{item}");
        }
        assert!(!item.contains("# [get") && !item.contains("# [put"));
    }

    #[test]
    fn arguments_that_are_wrong_say_what_to_write() {
        assert_eq!(
            refused(quote!()),
            "a controller has a path: write `#[tulpar::controller(\"/admin\")]`"
        );
        assert_eq!(refused(quote!("/a", path = "/b")), "`path` is given twice");
        assert_eq!(
            refused(quote!("/a", "/b")),
            "name the argument: write `path = \"/admin\"`"
        );
        assert!(refused(quote!("admin")).contains("starts with `/`"));
        assert!(refused(quote!("/a", protocols = ["b"])).contains("unknown argument `protocols`"));
        assert!(refused(quote!("/a" name = "b")).contains("expected `,`"));
    }

    #[test]
    fn signatures_that_are_wrong_say_what_to_write() {
        let one = "the server calls this: write \
                   `fn one(&mut self, request: &Request) -> Result<impl IntoResponse>`";
        for function in [
            quote!(
                #[get]
                fn one() -> Result<()> {}
            ),
            quote!(
                #[get]
                fn one(self) -> Result<()> {}
            ),
            quote!(
                #[get]
                fn one(&self) {}
            ),
            quote!(
                #[get]
                fn one(&self, request: Request) -> Result<()> {}
            ),
            quote!(
                #[get]
                fn one(&self, request: &mut Request) -> Result<()> {}
            ),
            quote!(
                #[get]
                fn one(&self, request: &Request, id: &str) -> Result<()> {}
            ),
        ] {
            assert_eq!(refused_methods(function), one);
        }
        let waits = quote!(
            #[get]
            async fn one(&self) -> Result<()> {}
        );
        assert!(refused_methods(waits).contains("leave `async` out"));
        let generic = quote!(
            #[get]
            fn one<'a>(&'a self) -> Result<&'a str> {}
        );
        assert!(refused_methods(generic).contains("without generics"));
    }

    #[test]
    fn markers_that_are_wrong_say_what_to_write() {
        let number = quote!(
            #[get(1)]
            fn one(&self) -> Result<()> {}
        );
        assert_eq!(refused_methods(number), r#"write `#[get("/users/{id}")]`"#);
        let relative = quote!(
            #[post("users")]
            fn one(&self) -> Result<()> {}
        );
        assert!(refused_methods(relative).contains("write `\"/users\"`"));
    }

    #[test]
    fn two_routes_for_the_same_requests_are_refused() {
        let tied = quote!(
            #[get("/users/{id}")]
            fn one(&self) -> Result<()> {}
            #[get("/users/{name}")]
            fn two(&self) -> Result<()> {}
        );
        assert_eq!(
            refused_methods(tied),
            "`one` takes the same requests: no path tells the two apart"
        );
        let apart = quote!(impl Admin {
            #[get("/users/{id}")]
            fn one(&self) -> Result<()> {}
            #[get("/users/me")]
            fn two(&self) -> Result<()> {}
            #[delete("/users/{id}")]
            fn three(&self) -> Result<()> {}
        });
        assert!(expand(quote!("/admin"), apart).is_ok());
    }

    #[test]
    fn another_item_says_where_the_attribute_goes() {
        for item in [
            quote!(
                struct Admin;
            ),
            quote!(impl Controller for Admin {}),
        ] {
            assert_eq!(
                expand(quote!("/admin"), item).unwrap_err().to_string(),
                "`#[tulpar::controller]` goes on `impl YourType { .. }`"
            );
        }
    }
}
