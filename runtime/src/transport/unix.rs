//! Unix sockets to listen on.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// A socket that is listened on. Its file is removed when it is dropped.
pub struct Bound {
    listener: UnixListener,
    path: PathBuf,
    /// The file's device and number, by which another one under its name is told from it.
    file: (u64, u64),
}

impl Bound {
    /// Makes the socket with these permissions: whoever may write to it may connect. One that nobody listens on, as a
    /// server leaves behind that did not end well, is replaced.
    ///
    /// # Errors
    /// It cannot be made, another server listens on it, or there is a file that is no socket.
    pub async fn new(path: &Path, mode: u32) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if !fs::symlink_metadata(path)?.file_type().is_socket() {
                    return Err(io::Error::other("there is a file that is no socket"));
                }
                // Only one that nobody listens on refuses.
                match UnixStream::connect(path).await {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        fs::remove_file(path)?;
                    }
                    _ => return Err(io::Error::other("another server listens on it")),
                }
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file: number(path)?,
        })
    }

    /// The next connection. Cancel-safe.
    ///
    /// # Errors
    /// The operating system gives none.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // It is still listened on here, so that no other server has taken its place; but somebody may have removed it.
        if number(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn number(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn its_file_has_the_permissions_asked_for_and_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        for asked in [0o600, 0o660] {
            let bound = Bound::new(&path, asked).await.unwrap();
            assert_eq!(mode(&path), asked);
            UnixStream::connect(&path).await.unwrap();
            bound.accept().await.unwrap();
            drop(bound);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn one_that_nobody_listens_on_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        // Closed without being removed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let bound = Bound::new(&path, 0o600).await.unwrap();
        let why = |refused: io::Result<Bound>| refused.err().unwrap().to_string();
        assert_eq!(
            why(Bound::new(&path, 0o600).await),
            "another server listens on it"
        );
        UnixStream::connect(&path).await.unwrap();
        drop(bound);
        fs::write(&path, "").unwrap();
        assert_eq!(
            why(Bound::new(&path, 0o600).await),
            "there is a file that is no socket"
        );
        assert!(path.exists());
    }

    #[tokio::test]
    async fn another_file_under_its_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let first = Bound::new(&path, 0o600).await.unwrap();
        fs::remove_file(&path).unwrap();
        let second = Bound::new(&path, 0o600).await.unwrap();
        drop(first);
        UnixStream::connect(&path).await.unwrap();
        drop(second);
        assert!(!path.exists());
    }
}
