//! Components that no compiler would make: from a core module in text, and from the bytes of others.

use tulpar_tests::workspace;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A namespace written by hand, as a core module in text.
///
/// It echoes; a message that begins with `a` runs `deed`, an expression that gives an i32, which is sent back as four
/// bytes. What `deed` needs stands in `fields`.
pub fn namespace(path: &str, fields: &str, deed: &str) -> Vec<u8> {
    // The record that describe returns: the path, the name, no middlewares, no protocols.
    let record: String = [PATH_AT, path.len(), PATH_AT, path.len(), 0, 0, 0, 0]
        .iter()
        .flat_map(|word| (*word as u32).to_le_bytes())
        .map(|byte| format!("\\{byte:02x}"))
        .collect();
    let text = format!(
        r#"(module
  (import "tulpar:plugin/sockets@0.1.0" "[method]socket.send" (func $send (param i32 i32 i32 i32 i32)))
  (import "tulpar:plugin/sockets@0.1.0" "[resource-drop]socket" (func $drop (param i32)))
  (memory (export "memory") 4)
  (global $free (mut i32) (i32.const {HEAP_AT}))
  (data (i32.const {PATH_AT}) "{path}")
  (data (i32.const {RECORD_AT}) "{record}")
  (func (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (func (export "{HANDLER}#describe") (result i32)
    (i32.const {RECORD_AT}))
  (func (export "{HANDLER}#on-open") (param $socket i32) (result i32)
    (call $drop (local.get $socket))
    (i32.const {OK_AT}))
  (func (export "{HANDLER}#on-message") (param $socket i32) (param $kind i32) (param $at i32) (param $length i32) (result i32)
    (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 97))
      (then
        (i32.store (i32.const {ANSWER_AT}) (call $deed))
        (call $send (local.get $socket) (i32.const 1) (i32.const {ANSWER_AT}) (i32.const 4) (i32.const {SENT_AT})))
      (else
        (call $send (local.get $socket) (local.get $kind) (local.get $at) (local.get $length) (i32.const {SENT_AT}))))
    (call $drop (local.get $socket))
    (global.set $free (i32.const {HEAP_AT}))
    (i32.const {OK_AT}))
  (func (export "{HANDLER}#on-close") (param $socket i32) (param $code i32) (param $at i32) (param $length i32) (result i32)
    (call $drop (local.get $socket))
    (i32.const {OK_AT}))
  {fields}
  (func $deed (result i32) {deed})
)"#
    );
    componentize(&text)
}

const HANDLER: &str = "tulpar:plugin/namespace-handler@0.1.0";
const PATH_AT: usize = 16;
const RECORD_AT: usize = 512;
/// Where a result that is ok lies: its first byte is zero.
const OK_AT: usize = 600;
const ANSWER_AT: usize = 640;
const SENT_AT: usize = 660;
const HEAP_AT: usize = 65_536;

fn componentize(text: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).expect("the text is WAT");
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(workspace().join("wit"))
        .expect("the contract can be read");
    let world = resolve
        .select_world(&[package], Some("namespace"))
        .expect("the contract has the world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("the world can be told");
    let encoder = ComponentEncoder::default().module(&module);
    let component = encoder.and_then(|mut encoder| encoder.encode());
    component.unwrap_or_else(|error| panic!("the module is no component: {error:?}"))
}

/// The component with more fields at its end, in text.
pub fn with_fields(component: &[u8], fields: &str) -> Vec<u8> {
    let text = wasmprinter::print_bytes(component).expect("it is a component");
    let end = text.rfind(')').expect("it ends with one");
    let text = format!("{}\n{fields}\n)", &text[..end]);
    wat::parse_str(&text).unwrap_or_else(|error| panic!("the fields are no WAT: {error}"))
}

/// The component with a custom section at its end.
pub fn with_section(mut component: Vec<u8>, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut section = leb(name.len());
    section.extend(name.as_bytes());
    section.extend(bytes);
    component.push(0);
    component.extend(leb(section.len()));
    component.extend(section);
    component
}

/// A number as WebAssembly writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
