//! The files of a new crate. They lie in `template/`, and have names in double braces where a crate's own come.

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

    /// The source and its test.
    fn sources(self) -> [&'static str; 2] {
        macro_rules! sources {
            ($folder:literal) => {
                [
                    include_str!(concat!("template/", $folder, "/lib.rs")),
                    include_str!(concat!("template/", $folder, "/test.rs")),
                ]
            };
        }
        match self {
            Self::Namespace => sources!("namespace"),
            Self::Middleware => sources!("middleware"),
            Self::Service => sources!("service"),
            Self::Controller => sources!("controller"),
        }
    }
}

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
        let [source, test] = self.kind.sources();
        [
            ("Cargo.toml", include_str!("template/manifest.toml")),
            ("src/lib.rs", source),
            (&format!("tests/{}.rs", self.name.as_str()), test),
            (".gitignore", include_str!("template/gitignore")),
            ("README.md", include_str!("template/readme.md")),
            (
                "rust-toolchain.toml",
                include_str!("template/toolchain.toml"),
            ),
        ]
        .map(|(path, text)| (path.to_owned(), self.fill(text)))
        .into()
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

    fn fill(&self, text: &str) -> String {
        let dependency = |folder: Option<std::path::PathBuf>| match folder {
            Some(folder) => {
                let folder = Value::from(folder.to_string_lossy().into_owned());
                format!("{{ path = {folder} }}")
            }
            None => format!("{VERSION:?}"),
        };
        let values = [
            ("name", self.name.as_str().to_owned()),
            ("type", self.name.type_name()),
            ("file", self.name.file()),
            ("kind", self.kind.word().to_owned()),
            ("what", self.what()),
            ("tulpar", dependency(self.sdk.map(Path::to_owned))),
            (
                "tulpar-test",
                dependency(self.sdk.map(|sdk| sdk.join("test"))),
            ),
        ];
        values.iter().fold(text.to_owned(), |text, (key, value)| {
            text.replace(&format!("{{{{{key}}}}}"), value)
        })
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
                    assert!(!text.contains("{{"), "{path}: {text}");
                }
            }
        }
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
