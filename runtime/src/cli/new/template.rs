//! The files of a new crate. They lie in `template/`, as those of one that is called `crate-name`; the members of
//! the workspace in `tests/templates` build and test them as they are.

use std::path::Path;

use clap::ValueEnum;
use toml::Value;

use super::Surroundings;
use super::crate_name::CrateName;

/// The version of the crate `tulpar` that goes with this program.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR")
);

/// What a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Handles the WebSockets of a path
    Namespace,
    /// Decides about requests
    Middleware,
    /// Works in the background
    Service,
    /// Answers HTTP requests
    Controller,
}

impl Kind {
    /// In one word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Middleware => "middleware",
            Self::Service => "service",
            Self::Controller => "controller",
        }
    }

    /// The files with Rust in them, and where they go.
    fn sources(self) -> &'static [(&'static str, &'static str)] {
        macro_rules! sources {
            ($folder:literal $(, $other:literal to $place:literal)*) => {
                &[
                    ("src/lib.rs", include_str!(concat!("template/", $folder, "/lib.rs"))),
                    ("tests/crate-name.rs", include_str!(concat!("template/", $folder, "/test.rs"))),
                    $(($place, include_str!(concat!("template/", $folder, "/", $other)))),*
                ]
            };
        }
        match self {
            Self::Namespace => sources!("namespace"),
            // Its test needs somebody for it to stand before.
            Self::Middleware => sources!("middleware", "cave.rs" to "examples/cave.rs"),
            Self::Service => sources!("service"),
            Self::Controller => sources!("controller"),
        }
    }
}

/// The file that has rustup install what the crate is built for. It says no version.
pub(super) const TOOLCHAIN: &str = include_str!("template/toolchain.toml");

/// The template of a kind, for one crate.
pub(super) struct Filled<'a> {
    kind: Kind,
    name: &'a CrateName,
    sdk: Option<&'a Path>,
}

impl<'a> Filled<'a> {
    /// `sdk` is the folder of the crate `tulpar`; none for the published one.
    pub(super) fn new(kind: Kind, name: &'a CrateName, sdk: Option<&'a Path>) -> Self {
        Self { kind, name, sdk }
    }

    /// What it does, in a few words.
    pub(super) fn what(&self) -> String {
        let name = self.name.as_str();
        match self.kind {
            Kind::Namespace => format!("WebSockets at /{name}"),
            Kind::Middleware => format!("what namespaces and controllers list as \"{name}\""),
            Kind::Service => "something to do each minute".to_owned(),
            Kind::Controller => format!("HTTP at /{name}/"),
        }
    }

    /// The files, and where they go. The manifest is without its end.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let others = [
            (".gitignore", include_str!("template/gitignore")),
            ("README.md", include_str!("template/readme.md")),
        ];
        let all = self.kind.sources().iter().chain(&others);
        let filled = all.map(|(path, text)| (self.fill(path), self.fill(text)));
        let manifest = ("Cargo.toml".to_owned(), self.manifest());
        [manifest].into_iter().chain(filled).collect()
    }

    /// What a manifest ends with, which depends on where it lies: in a workspace that lists it, the profiles are those of
    /// the workspace.
    pub(super) fn end_of_manifest(&self, surroundings: Surroundings) -> &'static str {
        match surroundings {
            Surroundings::Alone => include_str!("template/profile.toml"),
            Surroundings::Member => "",
            Surroundings::Stranger => concat!(
                include_str!("template/profile.toml"),
                include_str!("template/workspace.toml")
            ),
        }
    }

    /// A text of the template with the crate's own names in it.
    fn fill(&self, text: &str) -> String {
        // In one go: a name may have a placeholder in it.
        let mut filled = String::new();
        let mut rest = text;
        let placeholders = [
            ("crate-name", self.name.as_str().to_owned()),
            ("crate_name", self.name.file()),
            ("CrateName", self.name.type_name()),
        ];
        while let Some((at, (placeholder, value))) = placeholders
            .iter()
            .filter_map(|it| Some((rest.find(it.0)?, it)))
            .min_by_key(|(at, _)| *at)
        {
            filled += &rest[..at];
            filled += value;
            rest = &rest[at + placeholder.len()..];
        }
        filled + rest
    }

    /// The manifest, but for its end.
    fn manifest(&self) -> String {
        let mut manifest = self.fill(include_str!("template/manifest.toml"));
        for (dependency, folder) in [("tulpar", ""), ("tulpar-test", "test")] {
            let from = match self.sdk {
                Some(sdk) => {
                    let folder = sdk.join(folder).to_string_lossy().into_owned();
                    format!("{{ path = {} }}", Value::from(folder.trim_end_matches('/')))
                }
                None => format!("{VERSION:?}"),
            };
            manifest = manifest.replace(
                &format!("\n{dependency} = \"version\"\n"),
                &format!("\n{dependency} = {from}\n"),
            );
        }
        if self.kind == Kind::Middleware {
            let of_tests = include_str!("template/middleware/dev-dependencies.toml");
            manifest = manifest.replace("[dev-dependencies]\n", of_tests);
            manifest += include_str!("template/middleware/example.toml");
        }
        manifest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        let name = CrateName::of(Path::new("chat-rooms")).unwrap();
        for kind in Kind::value_variants() {
            for sdk in [None, Some(Path::new("/a \"b\""))] {
                for (path, text) in Filled::new(*kind, &name, sdk).files() {
                    for left in ["crate-name", "crate_name", "CrateName", "\"version\""] {
                        assert!(!text.contains(left), "{path}: {text}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_name_with_a_placeholder_in_it_stays_whole() {
        let name = CrateName::of(Path::new("a-crate-name")).unwrap();
        let filled = Filled::new(Kind::Service, &name, None);
        assert_eq!(
            filled.fill("crate-name CrateName crate_name."),
            "a-crate-name ACrateName a_crate_name."
        );
    }

    #[test]
    fn a_manifest_is_one_wherever_it_lies() {
        let name = CrateName::of(Path::new("a")).unwrap();
        for sdk in [None, Some(Path::new("/a \"b\""))] {
            let filled = Filled::new(Kind::Namespace, &name, sdk);
            for surroundings in [
                Surroundings::Alone,
                Surroundings::Member,
                Surroundings::Stranger,
            ] {
                let text = filled.files()[0].1.clone() + filled.end_of_manifest(surroundings);
                let manifest: toml::Table = toml::from_str(&text).unwrap();
                let own = surroundings == Surroundings::Stranger;
                assert_eq!(manifest.contains_key("workspace"), own);
            }
        }
    }
}
