//! Whether connections are encrypted, `[tls]`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Whether connections are encrypted: they are when both files are named, see [`Tls::files`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tls {
    /// The server's certificate and those between it and the root, in this order, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

impl Tls {
    /// The certificate and the key; none when connections are not encrypted. A configuration names both or neither.
    #[must_use]
    pub fn files(&self) -> Option<(&Path, &Path)> {
        let named = |path: &PathBuf| !path.as_os_str().is_empty();
        let both = named(&self.certificate) && named(&self.key);
        both.then_some((&self.certificate, &self.key))
    }

    /// Why the two do not go together; none when they do.
    pub(super) fn conflict(&self) -> Option<String> {
        let (has, lacks) = match (
            self.certificate.as_os_str().is_empty(),
            self.key.as_os_str().is_empty(),
        ) {
            (false, true) => ("certificate", "key"),
            (true, false) => ("key", "certificate"),
            _ => return None,
        };
        Some(format!("`tls.{has}` needs `tls.{lacks}` beside it"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::from_text;

    #[test]
    fn there_are_both_files_or_neither() {
        let said = |text: &str| from_text(&format!("[tls]\n{text}"));
        assert_eq!(said("").unwrap().tls.files(), None);
        assert_eq!(
            said("certificate = ''\nkey = ''").unwrap().tls.files(),
            None
        );
        let both = said("certificate = 'c'\nkey = 'k'").unwrap();
        assert_eq!(both.tls.files(), Some((Path::new("c"), Path::new("k"))));
        assert_eq!(
            said("certificate = 'c'").unwrap_err(),
            "configuration: `tls.certificate` needs `tls.key` beside it"
        );
        assert_eq!(
            said("key = 'k'").unwrap_err(),
            "configuration: `tls.key` needs `tls.certificate` beside it"
        );
    }
}
