//! The custom section `tulpar:plugin`: one line of JSON per handler, so that tools can tell what a plugin
//! serves without compiling or running it. `describe` is the authority.

use std::fmt::Write;

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use syn::LitStr;

/// One line about a handler, or an object in it; its keys in the order of the calls.
pub(crate) struct Line(String);

impl Line {
    /// A line that begins with the handler's kind.
    pub(crate) fn new(kind: &str) -> Self {
        Self(format!("{{\"kind\":{}", quoted(kind)))
    }

    /// An object that begins with a name.
    pub(crate) fn named(name: &LitStr) -> Self {
        Self(format!("{{\"name\":{}", quoted(&name.value())))
    }

    /// A string.
    pub(crate) fn text(mut self, key: &str, value: &LitStr) -> Self {
        let _ = write!(self.0, ",{}:{}", quoted(key), quoted(&value.value()));
        self
    }

    /// A number.
    pub(crate) fn number(mut self, key: &str, value: u64) -> Self {
        let _ = write!(self.0, ",{}:{value}", quoted(key));
        self
    }

    /// A list of objects.
    pub(crate) fn objects(mut self, key: &str, values: impl Iterator<Item = Self>) -> Self {
        let values: Vec<_> = values.map(|object| object.0 + "}").collect();
        let _ = write!(self.0, ",{}:[{}]", quoted(key), values.join(","));
        self
    }

    /// A list of strings.
    pub(crate) fn list(mut self, key: &str, values: &[LitStr]) -> Self {
        let values: Vec<_> = values.iter().map(|value| quoted(&value.value())).collect();
        let _ = write!(self.0, ",{}:[{}]", quoted(key), values.join(","));
        self
    }

    /// The static that puts the line into the section. The linker joins those of one crate.
    pub(crate) fn into_section(self) -> TokenStream {
        let line = self.0 + "}\n";
        let bytes = Literal::byte_string(line.as_bytes());
        let length = line.len();
        quote! {
            #[cfg(target_family = "wasm")]
            #[used]
            #[unsafe(link_section = "tulpar:plugin")]
            static METADATA: [u8; #length] = *#bytes;
        }
    }
}

/// A JSON string (RFC 8259, section 7).
fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\0'..='\x1f' => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            _ => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    fn lit(text: &str) -> LitStr {
        LitStr::new(text, Span::call_site())
    }

    #[test]
    fn a_line_keeps_its_keys_in_order() {
        let line = Line::new("namespace")
            .text("path", &lit("/a"))
            .list("middlewares", &[lit("b"), lit("c")])
            .list("protocols", &[]);
        assert_eq!(
            line.0,
            r#"{"kind":"namespace","path":"/a","middlewares":["b","c"],"protocols":[]"#
        );
    }

    #[test]
    fn objects_stand_in_a_list() {
        let objects = [
            Line::named(&lit("a")).number("every-ms", 10),
            Line::named(&lit("b")).text("cron", &lit("* * * * *")),
        ];
        let line = Line::new("service").objects("schedules", objects.into_iter());
        assert_eq!(
            line.0,
            r#"{"kind":"service","schedules":[{"name":"a","every-ms":10},{"name":"b","cron":"* * * * *"}]"#
        );
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quoted("a\"\\\n\u{1}é"), r#""a\"\\\u000a\u0001é""#);
    }

    #[test]
    fn a_line_ends_with_a_newline() {
        let section = Line::new("middleware").into_section().to_string();
        assert!(
            section.contains(r#"{\"kind\":\"middleware\"}\n"#),
            "{section}"
        );
    }
}
