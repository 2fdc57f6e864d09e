//! The reader of what a file says of itself at rest, and the check whether a file is whole.

use tulpar_runtime::plugin::metadata::{Handler, MetadataError, SECTION, is_complete, read};

use crate::{Seen, Target, kind};

pub(crate) const TARGET: Target = Target {
    name: "section",
    run: section,
    words: &[
        "{\"kind\":\"namespace\",\"path\":\"/a\",\"name\":\"A\"}",
        "{\"kind\":\"middleware\",\"name\":\"a\"}",
        "{\"kind\":\"controller\",\"path\":\"/\",\"name\":\"C\",\"middlewares\":[\"a\"]}",
        "{\"kind\":\"service\",\"name\":\"S\",\"schedules\":[{\"name\":\"t\",\"every-ms\":10}]}",
        "\"kind\":",
        "\"path\":",
        "\"name\":",
        "\"middlewares\":",
        "\"protocols\":",
        "\"schedules\":",
        "\"every-ms\":",
        "\"cron\":",
        "namespace",
        "null",
        "18446744073709551615",
        "-1",
        "1e400",
        "[[[[[[[[",
        "{\"a\":",
        "\\ud800",
        "\\u0000",
        "\n",
        "\0",
        "\0asm\x01\0\0\0",
        "\0asm\x0d\0\x01\0",
        "\x0d tulpar:plugin",
        "tulpar:plugin",
    ],
};

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Reads the bytes as a file, and as the section of a module and of a module in a component.
pub fn section(bytes: &[u8]) -> Seen {
    let mut seen = vec![said(&read(bytes)), is_complete(bytes).into()];

    let mut content = number(SECTION.len());
    content.extend(SECTION.bytes());
    content.extend(bytes);
    let module = with_section(MODULE, 0, &content);
    let component = with_section(COMPONENT, 1, &module);
    for file in [&module, &component] {
        // There is one section, so that a file which ends elsewhere than at its ends is not whole.
        for end in (0..file.len()).take(300) {
            let whole = is_complete(&file[..end]);
            assert_eq!(whole, end == MODULE.len(), "of {} bytes {end}", file.len());
        }
        assert!(is_complete(file));
        assert!(!is_complete(&file[..file.len() - 1]) || file.len() - 1 == MODULE.len());
    }

    let handlers = read(&component);
    seen.push(said(&handlers));
    match (handlers, read(&module), expected(bytes)) {
        (Ok(handlers), Ok(of_module), Ok(expected)) => {
            assert_eq!(handlers, expected);
            assert_eq!(of_module, expected);
            handlers.iter().for_each(round);
            seen.push(handlers.len().min(8) as u64);
        }
        (Err(one), Err(other), Err(expected)) => {
            assert_eq!(one.to_string(), other.to_string());
            assert!(one.to_string().ends_with(&expected.to_string()), "{one}");
        }
        (one, other, expected) => panic!("{one:?} and {other:?} instead of {expected:?}"),
    }
    seen
}

/// What the section says, without a file around it.
fn expected(bytes: &[u8]) -> Result<Vec<Handler>, serde_json::Error> {
    let lines = bytes.split(|byte| matches!(byte, b'\n' | 0));
    lines
        .filter(|line| !line.trim_ascii().is_empty())
        .map(serde_json::from_slice)
        .collect()
}

/// What is read can be written, and is the same when it is read again.
fn round(handler: &Handler) {
    let text = serde_json::to_vec(handler).expect("a handler can be written");
    let again: Handler = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(&again, handler);
}

fn said(read: &Result<Vec<Handler>, MetadataError>) -> u64 {
    match read {
        Ok(_) => 0,
        Err(error) => kind(&error.to_string()),
    }
}

fn with_section(preamble: &[u8], id: u8, content: &[u8]) -> Vec<u8> {
    let mut file = preamble.to_vec();
    file.push(id);
    file.extend(number(content.len()));
    file.extend(content);
    file
}

/// A number as WebAssembly has it, LEB128.
fn number(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
