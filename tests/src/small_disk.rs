//! A file system that is soon full.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A folder in memory that holds so many bytes and no more.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// One of so many bytes; none where this process may not mount one.
    pub fn of(bytes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let size = format!("size={bytes},mode=700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { folder }),
            _ => {
                println!("SKIPPED: this user may not mount a small file system");
                None
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it up, but for so many bytes.
    pub fn fill(&self, but: usize) {
        let ballast = File::create(self.path().join("ballast"));
        let mut ballast = ballast.expect("there is room for a file");
        let mut piece = vec![0; 4096];
        let mut length = 0;
        // A piece that does not fit is halved until it does.
        while !piece.is_empty() {
            match ballast.write(&piece) {
                Ok(written) => length += written,
                Err(_) => piece.truncate(piece.len() / 2),
            }
        }
        let cut = ballast.set_len(length.saturating_sub(but) as u64);
        cut.expect("the file can be cut");
    }

    /// Takes away what it was filled up with.
    pub fn clear(&self) {
        fs::remove_file(self.path().join("ballast")).expect("it was filled up");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also when somebody still has a file of it open.
        drop(
            Command::new("umount")
                .arg("--lazy")
                .arg(self.path())
                .output(),
        );
    }
}
