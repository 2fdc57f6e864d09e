//! The files with the certificate and its key.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys};

/// How often one looks whether they have changed. News of the operating system would not do: such files are often
/// symlinks into a folder that is replaced as a whole.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// The most that is read of one of them, in bytes. Some kilobytes are usual.
const LARGEST: u64 = 1 << 20;

/// Where they are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What is in them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Read {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there or not readable.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// A file is far too large.
    #[error("{0} has more than {LARGEST} bytes")]
    TooLarge(PathBuf),
    /// A file is damaged.
    #[error("{0} is not valid PEM: {1}")]
    Damaged(PathBuf, pem::Error),
    /// There is no certificate in the file.
    #[error("{0} holds no certificate in PEM (`BEGIN CERTIFICATE`)")]
    NoCertificate(PathBuf),
    /// There is no key in the file.
    #[error(
        "{0} holds no private key in PEM (`BEGIN PRIVATE KEY`); one behind a password cannot be used"
    )]
    NoKey(PathBuf),
    /// The key is none that can be used.
    #[error("the private key in {0} cannot be used: {1}")]
    Key(PathBuf, rustls::Error),
    /// The certificate is none.
    #[error("the first certificate in {0} cannot be used: {1}")]
    Certificate(PathBuf, rustls::Error),
    /// The key is another certificate's.
    #[error("the private key in {key} does not belong to the first certificate in {certificate}")]
    Mismatch {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// TLS cannot be set up at all.
    #[error("cannot set up TLS: {0}")]
    Setup(rustls::Error),
}

impl Files {
    pub(super) fn new(certificate: &Path, key: &Path) -> Self {
        Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        }
    }

    pub(super) fn read(&self) -> Result<Read, TlsError> {
        Ok(Read {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }

    /// Makes of what was read what a handshake needs.
    pub(super) fn certify(
        &self,
        read: &Read,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let Self { certificate, key } = self;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read.certificate).collect();
        let chain = chain.map_err(|error| TlsError::Damaged(certificate.clone(), error))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate(certificate.clone()));
        }
        let secret = PrivateKeyDer::from_pem_slice(&read.key).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey(key.clone()),
            error => TlsError::Damaged(key.clone(), error),
        })?;
        let secret = provider.key_provider.load_private_key(secret);
        let secret = secret.map_err(|error| TlsError::Key(key.clone(), error))?;
        let certified = CertifiedKey::new(chain, secret);
        match certified.keys_match() {
            // There are keys of which it cannot be told.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(certified)
            }
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(TlsError::Mismatch {
                    certificate: certificate.clone(),
                    key: key.clone(),
                })
            }
            Err(error) => Err(TlsError::Certificate(certificate.clone(), error)),
        }
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.certificate.display())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    match read {
        Ok(len) if len as u64 > LARGEST => Err(TlsError::TooLarge(path.to_owned())),
        Ok(_) => Ok(bytes),
        Err(error) => Err(TlsError::Unreadable(path.to_owned(), error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::generate_simple_self_signed;
    use tokio_rustls::rustls::crypto::ring;

    use super::*;

    /// What is wrong with these files; none when nothing is.
    fn problem(certificate: &str, key: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["c.pem", "k.pem"].map(|name| folder.path().join(name));
        fs::write(&paths[0], certificate).unwrap();
        fs::write(&paths[1], key).unwrap();
        let files = Files::new(&paths[0], &paths[1]);
        let certified = files
            .read()
            .and_then(|read| files.certify(&read, &ring::default_provider()));
        let folder = format!("{}/", folder.path().display());
        certified
            .err()
            .map(|error| error.to_string().replace(&folder, ""))
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said_with_their_names() {
        let pair = || {
            let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let ((certificate, key), (other, _)) = (pair(), pair());
        let damaged = certificate.replace("MII", "MI!");
        let nothing = certificate.replace("CERTIFICATE", "X509 CRL");
        let no_certificate = "-----BEGIN CERTIFICATE-----\naaaa\n-----END CERTIFICATE-----\n";
        let no_key = "-----BEGIN PRIVATE KEY-----\naaaa\n-----END PRIVATE KEY-----\n";
        let large = " ".repeat(LARGEST as usize + 1);
        let chain = format!("{certificate}{other}");
        let both = format!("{key}{certificate}");
        assert_eq!(problem(&certificate, &key), None);
        assert_eq!(problem(&chain, &key), None);
        assert_eq!(problem(&both, &both), None);
        assert_eq!(problem(&large[..LARGEST as usize - both.len()], &both), {
            Some("c.pem holds no certificate in PEM (`BEGIN CERTIFICATE`)".to_owned())
        });
        for (certificate, key, why) in [
            ("", &*key, "c.pem holds no certificate"),
            (&nothing, &key, "c.pem holds no certificate"),
            (&damaged, &key, "c.pem is not valid PEM: "),
            (
                no_certificate,
                &key,
                "the first certificate in c.pem cannot be used: ",
            ),
            (&large, &key, "c.pem has more than 1048576 bytes"),
            (&certificate, "", "k.pem holds no private key"),
            (&certificate, &certificate, "k.pem holds no private key"),
            (
                &certificate,
                no_key,
                "the private key in k.pem cannot be used: ",
            ),
            (
                &certificate,
                &key[..key.len() / 2],
                "k.pem is not valid PEM: ",
            ),
            (
                &other,
                &key,
                "the private key in k.pem does not belong to the first certificate in c.pem",
            ),
        ] {
            let said = problem(certificate, key).expect(why);
            assert!(said.starts_with(why), "{said}");
        }
        let files = Files::new(Path::new("/nowhere/c.pem"), Path::new("/nowhere/k.pem"));
        let said = files.read().err().unwrap().to_string();
        assert!(
            said.starts_with("cannot read /nowhere/c.pem: No such file"),
            "{said}"
        );
    }
}
