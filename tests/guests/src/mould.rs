//! A descriptor that is written into the built file, so that one guest serves any path and name.

use serde::Deserialize;

/// How the blob of a guest begins. A test finds it in the file and writes a descriptor over all of it.
const START: &[u8] = b"{\"mould\":true}";

/// Room for the longest descriptor that a test writes.
pub const LENGTH: usize = 16 * 1024;

/// What a test may write over the blob.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Descriptor {
    /// A namespace's path.
    pub path: String,
    /// The name of a namespace or a middleware.
    pub name: String,
    /// The middlewares that a namespace lists.
    pub middlewares: Vec<String>,
    /// The subprotocols that a namespace lists.
    pub protocols: Vec<String>,
    /// The schedules of a service: a name, and milliseconds or a cron expression.
    pub schedules: Vec<(String, String)>,
    /// What happens instead of an answer: `loop` or `panic`.
    pub instead: String,
    /// A header that a middleware adds to each response, as name and value.
    pub header: Option<(String, String)>,
    /// What tells one version of a namespace from another.
    pub generation: String,
    /// What a namespace does when it replaces another.
    pub reload: Reload,
}

/// How a replacement goes.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Reload {
    /// It is told to all sockets.
    #[default]
    Ok,
    /// It fails with an error.
    Error,
    /// It panics.
    Trap,
    /// It never ends.
    Loop,
}

/// The blob of a guest: a start to be found by, and blanks.
pub const fn blank() -> [u8; LENGTH] {
    let mut blob = [b' '; LENGTH];
    let mut index = 0;
    while index < START.len() {
        blob[index] = START[index];
        index += 1;
    }
    blob
}

/// Reads what a test wrote.
pub fn read(blob: &'static [u8; LENGTH]) -> Descriptor {
    // The compiler knows only the blank, and must not work with that.
    let blob = std::hint::black_box(blob);
    serde_json::from_slice(blob).expect("the blob is a descriptor")
}

/// Does what comes instead of an answer to `describe`.
pub fn misbehave(descriptor: &Descriptor) {
    match descriptor.instead.as_str() {
        "loop" => loop {
            std::hint::spin_loop();
        },
        "panic" => panic!("no description today"),
        _ => (),
    }
}
