//! Whose turn it is to have a file loaded. One of each folder after the other, so that a tenant with many files that take
//! long delays each of the others by one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// When each folder had its last turn.
#[derive(Default)]
pub(super) struct Turns {
    count: u64,
    last: BTreeMap<PathBuf, u64>,
}

impl Turns {
    /// A file has had its folder's turn.
    pub(super) fn took(&mut self, file: &Path) {
        self.count += 1;
        if let Some(folder) = file.parent() {
            self.last.insert(folder.to_owned(), self.count);
        }
    }

    /// The lower, the sooner it is the turn of a file's folder.
    pub(super) fn of(&self, file: &Path) -> u64 {
        let last = file.parent().and_then(|folder| self.last.get(folder));
        last.copied().unwrap_or_default()
    }

    /// Forgets the folders that none of these files is in.
    pub(super) fn retain<'a>(&mut self, files: impl Iterator<Item = &'a PathBuf>) {
        if !self.last.is_empty() {
            let there: BTreeSet<_> = files.filter_map(|file| file.parent()).collect();
            self.last
                .retain(|folder, _| there.contains(folder.as_path()));
        }
    }
}

/// Puts sorted files into an order in which those of `root` come first, by name, and then one of each folder after the
/// other.
pub(super) fn in_turns(root: &Path, files: &mut [PathBuf]) {
    let mut counts: BTreeMap<Option<PathBuf>, u64> = BTreeMap::new();
    files.sort_by_cached_key(|file| {
        let folder = file.parent().filter(|folder| *folder != root);
        let of_root = folder.is_none();
        let count = counts.entry(folder.map(Path::to_owned)).or_default();
        *count += 1;
        match of_root {
            true => (0, file.clone()),
            false => (*count, file.clone()),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_comes_first_and_then_one_of_each_folder() {
        let mut files = [
            "p/a/1", "p/a/2", "p/a/3", "p/b/1", "p/c/1", "p/c/2", "p/y", "p/z",
        ]
        .map(PathBuf::from);
        in_turns(Path::new("p"), &mut files);
        let expected = [
            "p/y", "p/z", "p/a/1", "p/b/1", "p/c/1", "p/a/2", "p/c/2", "p/a/3",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
    }

    #[test]
    fn a_folder_waits_for_the_others_and_is_forgotten_when_it_is_gone() {
        let mut turns = Turns::default();
        let file = |name: &str| PathBuf::from(name);
        turns.took(&file("p/a/1"));
        assert!(turns.of(&file("p/b/1")) < turns.of(&file("p/a/2")));
        turns.took(&file("p/b/1"));
        assert!(turns.of(&file("p/a/2")) < turns.of(&file("p/b/2")));
        turns.retain([file("p/b/1")].iter());
        assert_eq!(turns.of(&file("p/a/2")), 0);
    }
}
