//! Built plugins, and a way to give one guest any descriptor.

use std::fs;
use std::path::{Path, PathBuf};

use crate::client::{Value, json};

/// What a guest's blob starts with. The rest of the blob is blank, for a descriptor to be written over.
const MOULD: &[u8] = b"{\"mould\":true}";

/// The bytes of a built plugin: an example plugin or a test guest, by its name.
pub fn guest(name: &str) -> Vec<u8> {
    let path = guest_path(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
}

/// The file of a built plugin.
pub fn guest_path(name: &str) -> PathBuf {
    let file = format!("{}.wasm", name.replace('-', "_"));
    let folders = [env!("TULPAR_TESTS_PLUGINS"), env!("TULPAR_TESTS_GUESTS")];
    let found = folders
        .iter()
        .map(|folder| Path::new(folder).join(&file))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no plugin built {file}"))
}

/// A plugin whose `describe` answers what a test wants. The descriptor is written over a blank in its file, so
/// that one guest serves any path, name and list.
pub struct Mould {
    guest: &'static str,
    descriptor: Value,
}

impl Mould {
    /// A namespace that echoes, at this path.
    pub fn namespace(path: &str) -> Self {
        let descriptor =
            json!({ "path": path, "name": "Moulded", "middlewares": [], "protocols": [] });
        Self {
            guest: "moulded",
            descriptor,
        }
    }

    /// A namespace at this path, of which a test makes several versions: it answers with its generation, and `reload`
    /// says what happens when it replaces another.
    pub fn reloaded(path: &str, generation: &str) -> Self {
        let descriptor = json!({
            "path": path,
            "name": "Reloaded",
            "middlewares": [],
            "protocols": [],
            "generation": generation,
        });
        Self {
            guest: "reloaded",
            descriptor,
        }
    }

    /// A service with these schedules: a name, and milliseconds or a cron expression.
    pub fn service(schedules: &[(&str, &str)]) -> Self {
        Self {
            guest: "moulded_service",
            descriptor: json!({ "name": "Moulded", "schedules": schedules }),
        }
    }

    /// A middleware of this name, which does what the request header `x-NAME` says.
    pub fn middleware(name: &str) -> Self {
        Self {
            guest: "gate",
            descriptor: json!({ "name": name }),
        }
    }

    /// Sets one field of the descriptor.
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.descriptor[key] = value;
        self
    }

    /// The plugin.
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = guest(self.guest);
        let start = bytes
            .windows(MOULD.len())
            .position(|window| window == MOULD);
        let start = start.unwrap_or_else(|| panic!("{} has no blank for a descriptor", self.guest));
        let descriptor = self.descriptor.to_string();
        let blank = bytes[start + MOULD.len()..]
            .iter()
            .take_while(|byte| **byte == b' ')
            .count();
        assert!(
            descriptor.len() <= MOULD.len() + blank,
            "the descriptor does not fit into the blank"
        );
        let blob = &mut bytes[start..start + MOULD.len() + blank];
        blob.fill(b' ');
        blob[..descriptor.len()].copy_from_slice(descriptor.as_bytes());
        bytes
    }
}
