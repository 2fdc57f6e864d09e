//! `#[tulpar::service]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Error, Ident, ImplItem, ImplItemFn, ItemImpl, Result, ReturnType, Type};

use crate::args::{Args, Known};
use crate::metadata::Line;
use crate::schedule::Schedule;
use crate::{handler, method, rules};

const KNOWN: &[Known] = &[Known {
    name: "name",
    example: r#"name = "UserService""#,
}];

const MAX_SCHEDULES: usize = 32;

const ON_START: &str = "fn on_start(&mut self) -> Result<()>";
const ON_STOP: &str = "fn on_stop(&mut self)";

/// What the host calls.
#[derive(Default)]
struct Service {
    start: Option<Type>,
    stop: bool,
    schedules: Vec<Schedule>,
}

/// The impl as it was written but for the markers, and the export beside it.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut item = handler::parse_inherent(item, "service")?;
    let args = Args::parse(args, KNOWN)?;
    let name = handler::name(args.text("name")?, &item.self_ty)?;
    rules::name(&name)?;
    let service = Service::take(&mut item)?;

    let ty = &item.self_ty;
    let instance = handler::instance(ty);
    let with = handler::with();
    let metadata = Line::new("service")
        .text("name", &name)
        .objects("schedules", service.schedules.iter().map(Schedule::line))
        .into_section();
    let schedules = service.schedules.iter().map(Schedule::constant);
    let runs = service.schedules.iter().enumerate().map(|(index, it)| {
        let call = call(&it.method, &it.returned);
        quote!(#index => { #call })
    });
    let start = match &service.start {
        Some(returned) => call(&Ident::new("on_start", method::at(returned)), returned),
        None => quote!(::std::result::Result::Ok(())),
    };
    let stop = service
        .stop
        .then(|| quote!(__TulparHandler::on_stop(self);));
    Ok(quote! {
        #item

        // A second service in the crate would define it twice, which the compiler reports.
        #[doc(hidden)]
        #[macro_export]
        macro_rules! a_plugin_has_one_service { () => {} }

        #[allow(unsafe_code, missing_docs)]
        const _: () = {
            #instance

            impl ::tulpar::private::ServiceExport for #ty {
                const NAME: &'static str = #name;
                const SCHEDULES: &'static [(&'static str, ::tulpar::private::Timing)] =
                    &[#(#schedules),*];

                #with

                fn start(&mut self) -> ::tulpar::Result<()> {
                    #start
                }

                fn run(&mut self, schedule: usize) -> ::tulpar::Result<()> {
                    match schedule {
                        #(#runs)*
                        _ => ::std::unreachable!("the schedules are those of SCHEDULES"),
                    }
                }

                fn stop(&mut self) {
                    #stop
                }
            }

            // The names of a component's exports are none that a native linker takes.
            #[cfg(target_family = "wasm")]
            ::tulpar::private::service::export_service!(__TulparHandler);

            #metadata
        };
    })
}

/// The call of a method, so that another type than the host's is reported where the author wrote it.
fn call(handler: &Ident, returned: &Type) -> TokenStream {
    quote_spanned! {method::at(returned)=>
        let returned: ::tulpar::Result<()> = __TulparHandler::#handler(self);
        returned
    }
}

impl Service {
    /// Find what the host calls, and take the markers off.
    fn take(item: &mut ItemImpl) -> Result<Self> {
        let mut service = Self::default();
        for item in &mut item.items {
            let ImplItem::Fn(function) = item else {
                continue;
            };
            let markers = method::take_markers(function, &["every", "cron"]);
            let hook = function.sig.ident == "on_start" || function.sig.ident == "on_stop";
            match markers.as_slice() {
                [] if hook => service.hook(function)?,
                [] => {}
                [(_, marker), ..] if hook => {
                    let message = format!(
                        "`{}` is run at its own time: give the schedule a method of its own",
                        function.sig.ident
                    );
                    return Err(Error::new_spanned(marker, message));
                }
                [(kind, marker)] => {
                    let schedule = Schedule::new(function, kind, marker)?;
                    service.add(schedule)?;
                }
                [_, (_, second), ..] => {
                    return Err(Error::new_spanned(
                        second,
                        "a method has one schedule: write a second method that calls it",
                    ));
                }
            }
        }
        Ok(service)
    }

    fn hook(&mut self, function: &ImplItemFn) -> Result<()> {
        if function.sig.ident == "on_start" {
            method::check(function, ON_START)?;
            method::takes_nothing(&function.sig, ON_START)?;
            self.start = Some(method::returned(&function.sig, ON_START)?.clone());
            return Ok(());
        }
        method::check(function, ON_STOP)?;
        method::takes_nothing(&function.sig, ON_STOP)?;
        if let ReturnType::Type(_, ty) = &function.sig.output {
            return Err(method::wrong(ty, ON_STOP));
        }
        self.stop = true;
        Ok(())
    }

    fn add(&mut self, schedule: Schedule) -> Result<()> {
        if self.schedules.iter().any(|it| it.method == schedule.method) {
            let message = format!("there is a schedule `{}` already", schedule.method);
            return Err(Error::new(schedule.method.span(), message));
        }
        if self.schedules.len() == MAX_SCHEDULES {
            let message = format!("a service has at most {MAX_SCHEDULES} schedules");
            return Err(Error::new(schedule.method.span(), message));
        }
        self.schedules.push(schedule);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(item: TokenStream) -> String {
        expand(TokenStream::new(), item).unwrap().to_string()
    }

    fn refused(item: TokenStream) -> String {
        expand(TokenStream::new(), item).unwrap_err().to_string()
    }

    /// A service with this one method.
    fn refused_method(function: TokenStream) -> String {
        refused(quote!(impl Users { #function }))
    }

    #[test]
    fn the_metadata_is_one_line_of_json() {
        let section = expand(
            quote!(name = "UserService"),
            quote!(impl Users {
                #[every("30s")]
                fn x(&mut self) -> Result<()> { Ok(()) }
                #[cron("0 9 * * 1-5")]
                fn r#y(&self) -> Result<()> { Ok(()) }
                fn helper(self) {}
            }),
        );
        let section = section.unwrap().to_string();
        let line = r#"{\"kind\":\"service\",\"name\":\"UserService\",\"schedules\":[{\"name\":\"x\",\"every-ms\":30000},{\"name\":\"y\",\"cron\":\"0 9 * * 1-5\"}]}\n"#;
        assert!(section.contains(line), "{section}");
        assert!(!section.contains("# [every") && !section.contains("# [cron"));
    }

    #[test]
    fn hooks_are_called_when_they_are_there() {
        let with = expanded(quote!(impl Users {
            fn on_start(&mut self) -> Result<()> { Ok(()) }
            fn on_stop(&mut self) {}
        }));
        assert!(
            with.contains("__TulparHandler :: on_start (self)")
                && with.contains("__TulparHandler :: on_stop (self)")
        );
        let without = expanded(quote!(impl Users {}));
        assert!(!without.contains("on_start") && !without.contains("on_stop"));
        assert!(without.contains(r#"NAME : & 'static str = "Users""#));
    }

    #[test]
    fn other_attributes_stay() {
        let item = expanded(quote!(impl Users {
            #[doc = "what it does"]
            #[every("1s")]
            #[inline]
            fn x(&mut self) -> Result<()> { Ok(()) }
        }));
        assert!(
            item.contains(r#"# [doc = "what it does"] # [inline] fn x"#),
            "{item}"
        );
    }

    #[test]
    fn signatures_that_are_wrong_say_what_to_write() {
        let x = "the server calls this: write `fn x(&mut self) -> Result<()>`";
        for function in [
            quote!(
                #[every("1s")]
                fn x() -> Result<()> {}
            ),
            quote!(
                #[every("1s")]
                fn x(self) -> Result<()> {}
            ),
            quote!(
                #[every("1s")]
                fn x(self: Box<Self>) -> Result<()> {}
            ),
            quote!(
                #[every("1s")]
                fn x(&mut self, n: u8) -> Result<()> {}
            ),
            quote!(
                #[every("1s")]
                fn x(&mut self) {}
            ),
            quote!(
                #[every("1s")]
                unsafe fn x(&mut self) -> Result<()> {}
            ),
        ] {
            assert_eq!(refused_method(function), x);
        }
        let start = "the server calls this: write `fn on_start(&mut self) -> Result<()>`";
        assert_eq!(
            refused_method(quote!(
                fn on_start(&mut self) {}
            )),
            start
        );
        assert_eq!(
            refused_method(quote!(
                fn on_start() -> Result<()> {}
            )),
            start
        );
        let stop = "the server calls this: write `fn on_stop(&mut self)`";
        assert_eq!(
            refused_method(quote!(
                fn on_stop(&mut self) -> Result<()> {}
            )),
            stop
        );
        assert_eq!(
            refused_method(quote!(
                fn on_stop(&mut self, n: u8) {}
            )),
            stop
        );
    }

    #[test]
    fn async_generic_and_conditional_methods_are_refused() {
        let waits = quote!(
            async fn on_start(&mut self) -> Result<()> {}
        );
        assert!(refused_method(waits).contains("leave `async` out"));
        let waits = quote!(
            #[every("1s")]
            async fn x(&mut self) -> Result<()> {}
        );
        assert!(refused_method(waits).contains("leave `async` out"));
        let generic = quote!(
            #[every("1s")]
            fn x<T>(&mut self) -> Result<()> {}
        );
        assert!(refused_method(generic).contains("without generics"));
        let conditional = quote!(
            #[cfg(test)]
            #[every("1s")]
            fn x(&mut self) -> Result<()> {}
        );
        assert!(refused_method(conditional).contains("leave `cfg` out"));
        let helper = quote!(
            async fn helper<T>(t: T) {}
        );
        assert!(expand(TokenStream::new(), quote!(impl Users { #helper })).is_ok());
    }

    #[test]
    fn a_method_has_one_schedule_and_a_hook_none() {
        let two = quote!(
            #[every("1s")]
            #[cron("* * * * *")]
            fn x(&mut self) -> Result<()> {}
        );
        assert!(refused_method(two).starts_with("a method has one schedule"));
        let hook = quote!(
            #[every("1s")]
            fn on_start(&mut self) -> Result<()> {}
        );
        assert!(refused_method(hook).starts_with("`on_start` is run at its own time"));
        let same = quote!(
            #[every("1s")]
            fn x(&mut self) -> Result<()> {}
            #[every("2s")]
            fn x(&mut self) -> Result<()> {}
        );
        assert_eq!(refused_method(same), "there is a schedule `x` already");
    }

    #[test]
    fn markers_that_are_wrong_say_what_to_write() {
        for marker in [
            quote!(every),
            quote!(every(30)),
            quote!(every = "30s"),
            quote!(every("a", "b")),
        ] {
            let function = quote!(#[#marker] fn x(&mut self) -> Result<()> {});
            assert_eq!(refused_method(function), r#"write `#[every("30s")]`"#);
        }
        let cron = quote!(
            #[cron]
            fn x(&mut self) -> Result<()> {}
        );
        assert_eq!(refused_method(cron), r#"write `#[cron("0 9 * * 1-5")]`"#);
        let short = quote!(
            #[every("1ms")]
            fn x(&mut self) -> Result<()> {}
        );
        assert!(refused_method(short).contains("every 10 ms"));
        let cron = quote!(
            #[cron("60 * * * *")]
            fn x(&mut self) -> Result<()> {}
        );
        assert!(refused_method(cron).contains("is no minute"));
    }

    #[test]
    fn at_most_32_schedules() {
        let methods = |count: usize| {
            let names = (0..count).map(|n| quote::format_ident!("x{n}"));
            quote!(impl Users { #(#[every("1s")] fn #names(&mut self) -> Result<()> {})* })
        };
        assert!(expand(TokenStream::new(), methods(32)).is_ok());
        assert_eq!(refused(methods(33)), "a service has at most 32 schedules");
    }

    #[test]
    fn another_item_says_where_the_attribute_goes() {
        let place = "`#[tulpar::service]` goes on `impl YourType { .. }`";
        for item in [
            quote!(
                struct Users;
            ),
            quote!(impl Service for Users {}),
        ] {
            assert_eq!(refused(item), place);
        }
        assert!(
            refused(quote!(
                impl<T> Users<T> {}
            ))
            .contains("without generics")
        );
    }
}
