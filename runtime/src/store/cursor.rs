//! The pages of keys, and where a listing goes on.
//!
//! A cursor is a number. Its lower 32 bits count the keys that were listed before, the 21 above are the name under
//! which the last of them is remembered. So it stays below 2^53 and survives being a JSON number.

use std::collections::VecDeque;
use std::ops::Bound;

use redb::Error;

use super::MAX_KEYS;
use super::database::Entries;

/// How many ends of pages are remembered in a store: some 100 KiB at worst.
const REMEMBERED: usize = 256;

const NAME_BITS: u32 = 21;

/// A place in the keys of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Right after this entry, whether it still exists or not.
    After(Vec<u8>),
    /// After so many entries.
    Skip(usize),
}

/// The ends of the pages that were listed last.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    next: u64,
    /// Cursor, bucket and the entry, the oldest first.
    ends: VecDeque<(u64, String, Vec<u8>)>,
}

impl Cursors {
    /// Remembers the entry that ends a page, the `count`-th of its bucket.
    pub(super) fn remember(&mut self, bucket: &str, count: usize, entry: Vec<u8>) -> u64 {
        let name = self.next % (1 << NAME_BITS);
        self.next += 1;
        let cursor = (name << 32) | counted(count);
        if self.ends.len() == REMEMBERED {
            self.ends.pop_front();
        }
        self.ends.push_back((cursor, bucket.to_owned(), entry));
        cursor
    }

    /// Where the cursor points at. One that is forgotten, or that was never given, still has its count.
    pub(super) fn place(&self, bucket: &str, cursor: u64) -> (Place, usize) {
        let count = (cursor & u64::from(u32::MAX)) as usize;
        let end = self
            .ends
            .iter()
            .rfind(|(known, of, _)| *known == cursor && of == bucket);
        match end {
            Some((_, _, entry)) => (Place::After(entry.clone()), count),
            None => (Place::Skip(count), count),
        }
    }
}

fn counted(count: usize) -> u64 {
    u64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The keys of a page, and the last of its entries when there are more.
pub(super) fn page(
    entries: &Entries,
    prefix: &[u8],
    place: &Place,
) -> Result<(Vec<String>, Option<Vec<u8>>), Error> {
    let (from, skip) = match place {
        Place::After(entry) => (Bound::Excluded(entry.as_slice()), 0),
        Place::Skip(count) => (Bound::Included(prefix), *count),
    };
    // The prefix ends in a NUL, and what comes after all that begins with it is what begins with a 1 there.
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = 1;
    }
    let range = entries.range::<&[u8]>((from, Bound::Excluded(end.as_slice())))?;
    let mut keys = Vec::new();
    for entry in range.skip(skip) {
        let (key, _) = entry?;
        let key = key.value().get(prefix.len()..).unwrap_or_default();
        if keys.len() == MAX_KEYS {
            let last = keys
                .last()
                .map(|key: &String| [prefix, key.as_bytes()].concat());
            return Ok((keys, last));
        }
        let key = std::str::from_utf8(key)
            .map_err(|_| Error::Corrupted("a key is not UTF-8".to_owned()))?;
        keys.push(key.to_owned());
    }
    Ok((keys, None))
}

#[cfg(test)]
mod tests {
    use super::super::tests::LIMITS;
    use super::super::{Store, Stores};
    use super::*;

    fn names(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|i| format!("k{i:05}")).collect()
    }

    async fn fill(store: &Store, keys: std::ops::Range<usize>) {
        for keys in names(keys).chunks(MAX_KEYS) {
            let entries = keys.iter().map(|key| (key.clone(), Vec::new())).collect();
            store.set_many("b", entries).await.unwrap();
        }
    }

    #[test]
    fn a_cursor_is_remembered_for_some_time_and_then_counts() {
        let mut cursors = Cursors::default();
        let first = cursors.remember("b", 1000, b"b\0k".to_vec());
        assert_eq!(
            cursors.place("b", first),
            (Place::After(b"b\0k".to_vec()), 1000)
        );
        assert_eq!(cursors.place("other", first), (Place::Skip(1000), 1000));
        for _ in 1..REMEMBERED {
            cursors.remember("b", 2000, b"b\0z".to_vec());
        }
        assert_eq!(
            cursors.place("b", first),
            (Place::After(b"b\0k".to_vec()), 1000)
        );
        cursors.remember("b", 2000, b"b\0z".to_vec());
        assert_eq!(cursors.place("b", first), (Place::Skip(1000), 1000));
        assert_eq!(cursors.ends.len(), REMEMBERED);
    }

    #[test]
    fn a_cursor_survives_being_a_json_number() {
        let mut cursors = Cursors {
            next: (1 << NAME_BITS) - 1,
            ..Cursors::default()
        };
        let largest = cursors.remember("b", usize::MAX, Vec::new());
        assert_eq!(largest, (1 << 53) - 1);
        assert_eq!(cursors.remember("b", 1, Vec::new()), 1);
        assert_eq!(
            cursors.place("b", u64::MAX).0,
            Place::Skip(u32::MAX as usize)
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_listing_goes_on_where_it_ended_whatever_changes() {
        let folder = tempfile::tempdir().unwrap();
        let s = Stores::in_folder(folder.path(), LIMITS)
            .of(None)
            .await
            .unwrap();
        fill(&s, 0..2500).await;
        s.set("a", "before", Vec::new()).await.unwrap();
        s.set("b\u{a0}", "after", Vec::new()).await.unwrap();
        let (first, cursor) = s.keys("b", None).await.unwrap();
        assert_eq!(first, names(0..1000));
        // Also the one that ended the page goes.
        s.delete_many("b", &names(500..1000)).await.unwrap();
        s.set("b", "a new one in front", Vec::new()).await.unwrap();
        let (second, next) = s.keys("b", cursor).await.unwrap();
        assert_eq!(second, names(1000..2000));
        let (third, end) = s.keys("b", next).await.unwrap();
        assert_eq!((third, end), (names(2000..2500), None));
        // The same page again.
        assert_eq!(s.keys("b", cursor).await.unwrap().0, second);
        // After a restart it counts.
        drop(s);
        let s = Stores::in_folder(folder.path(), LIMITS)
            .of(None)
            .await
            .unwrap();
        let (second, _) = s.keys("b", cursor).await.unwrap();
        assert_eq!(second, names(1499..2499));
        let beyond = s.keys("b", Some(u64::MAX)).await.unwrap();
        assert_eq!(beyond, (Vec::new(), None));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn exactly_one_page_has_no_cursor() {
        let folder = tempfile::tempdir().unwrap();
        let s = Stores::in_folder(folder.path(), LIMITS)
            .of(None)
            .await
            .unwrap();
        fill(&s, 0..MAX_KEYS).await;
        assert_eq!(s.keys("b", None).await.unwrap().1, None);
        fill(&s, MAX_KEYS..MAX_KEYS + 1).await;
        let (_, cursor) = s.keys("b", None).await.unwrap();
        let last = s.keys("b", cursor).await.unwrap();
        assert_eq!(last, (names(MAX_KEYS..MAX_KEYS + 1), None));
    }
}
