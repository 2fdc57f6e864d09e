//! The pages of keys of a store in JetStream.
//!
//! JetStream lists all keys that match a pattern at once, and counts some microseconds for each. So that a page of a large
//! bucket does not take as long as all of it, keys are spread over 256 shards by their hash, and a page is some shards. A cursor
//! says with which shard to go on. So it means the same on each node and for ever, and a key that is there all the time
//! comes exactly once, whatever is set and deleted meanwhile. Only where a single shard is more than a page, in a bucket
//! of some 200,000 keys, it goes on after a number of keys.

use std::collections::BTreeMap;

use super::MAX_KEYS;
use super::change::EntryKey;
use crate::nats::{Bucket, Failure, key, name_of_key};

/// Up to so many keys of a tenant they are listed at once: that takes some ten milliseconds.
const FEW: u64 = 5_000;

/// The key of an entry in its bucket of JetStream: `BUCKET.SHARD.KEY`.
pub(super) fn key_of(entry: &EntryKey) -> String {
    let (bucket, name) = entry.names();
    format!("{}.{:02x}.{}", key(bucket), shard(name), key(name))
}

/// The shard of a key.
pub(super) fn shard(name: &str) -> u8 {
    blake3::hash(name.as_bytes()).as_bytes()[0]
}

/// Where a page begins: in a shard, after so many of its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    shard: u8,
    skip: usize,
}

impl From<u64> for Place {
    fn from(cursor: u64) -> Self {
        Self {
            // The last eight bits.
            shard: cursor as u8,
            skip: usize::try_from(cursor >> 8).unwrap_or(usize::MAX),
        }
    }
}

impl From<Place> for u64 {
    fn from(place: Place) -> Self {
        (place.skip as u64) << 8 | Self::from(place.shard)
    }
}

/// A page of keys, and the cursor of the next one when there may be more.
type Page = (Vec<String>, Option<u64>);

/// A page of a bucket's keys.
pub(super) async fn list(
    store: &Bucket,
    bucket: &str,
    cursor: Option<u64>,
) -> Result<Page, Failure> {
    let place = Place::from(cursor.unwrap_or_default());
    let prefix = format!("{}.", key(bucket));
    let pattern = |shard: u8| format!("{prefix}{shard:02x}.*");
    let (first, contents) = store.keys(&pattern(place.shard)).await?;
    if contents.keys <= FEW {
        let (all, _) = store.keys(&format!("{prefix}>")).await?;
        return Ok(page(&by_shard(&prefix, all), place));
    }
    let mut found = by_shard(&prefix, first);
    let mut last = place.shard;
    // One more than a page shows that there are more.
    while found.values().map(Vec::len).sum::<usize>() <= MAX_KEYS + place.skip && last < u8::MAX {
        last += 1;
        let (more, _) = store.keys(&pattern(last)).await?;
        found.append(&mut by_shard(&prefix, more));
    }
    Ok(page(&found, place))
}

/// Keys in the order of their bytes, by their shards. What nobody here has written is left out.
fn by_shard(prefix: &str, keys: Vec<String>) -> BTreeMap<u8, Vec<String>> {
    let mut shards = BTreeMap::<u8, Vec<String>>::new();
    let names = keys.iter().filter_map(|key| {
        let (_, name) = key.strip_prefix(prefix)?.split_once('.')?;
        name_of_key(name)
    });
    for name in names {
        shards.entry(shard(&name)).or_default().push(name);
    }
    for names in shards.values_mut() {
        names.sort_unstable();
        // While keys change, two answers may have the same one.
        names.dedup();
    }
    shards
}

/// The page that begins there: whole shards, unless one of them is more than a page.
fn page(found: &BTreeMap<u8, Vec<String>>, from: Place) -> Page {
    let mut keys = Vec::new();
    for (shard, names) in found.range(from.shard..) {
        let skip = if *shard == from.shard { from.skip } else { 0 };
        let left = names.get(skip..).unwrap_or_default();
        if keys.is_empty() && left.len() > MAX_KEYS {
            let next = Place {
                shard: *shard,
                skip: skip + MAX_KEYS,
            };
            return (left[..MAX_KEYS].to_vec(), Some(next.into()));
        }
        if keys.len() + left.len() > MAX_KEYS {
            let next = Place {
                shard: *shard,
                skip: 0,
            };
            return (keys, Some(next.into()));
        }
        keys.extend_from_slice(left);
    }
    (keys, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("key {i}")).collect()
    }

    fn found(names: &[String]) -> BTreeMap<u8, Vec<String>> {
        let keys = names.iter().map(|name| {
            let entry = EntryKey::new("b", name).unwrap();
            key_of(&entry)
        });
        by_shard("b.", keys.collect())
    }

    /// All pages of these keys.
    fn pages(names: &[String]) -> Vec<Vec<String>> {
        let (mut place, mut pages) = (Place::default(), Vec::new());
        loop {
            let (keys, next) = page(&found(names), place);
            assert!(keys.len() <= MAX_KEYS);
            pages.push(keys);
            match next {
                Some(cursor) => place = cursor.into(),
                None => return pages,
            }
        }
    }

    #[test]
    fn each_key_comes_once() {
        for count in [0, 1, MAX_KEYS, MAX_KEYS + 1, 5_000] {
            let mut listed: Vec<_> = pages(&bucket(count)).concat();
            assert_eq!(listed.len(), count);
            let mut expected = bucket(count);
            expected.sort();
            listed.sort();
            assert_eq!(listed, expected);
        }
        assert_eq!(pages(&bucket(MAX_KEYS)).len(), 1);
    }

    #[test]
    fn a_shard_that_is_more_than_a_page_is_cut() {
        let of_one: Vec<String> = (0..)
            .map(|i| i.to_string())
            .filter(|name| shard(name) == 7)
            .take(2_500)
            .collect();
        let lengths: Vec<_> = pages(&of_one).iter().map(Vec::len).collect();
        assert_eq!(lengths, [1000, 1000, 500]);
    }

    #[test]
    fn a_cursor_is_a_place_and_any_number_is_one() {
        for (shard, skip) in [(0, 0), (255, 0), (7, 2000)] {
            let place = Place { shard, skip };
            assert_eq!(Place::from(u64::from(place)), place);
        }
        let (keys, next) = page(&found(&bucket(100)), u64::MAX.into());
        assert_eq!((keys.len(), next), (0, None));
    }

    #[test]
    fn r4_keys_of_one_bucket_are_not_those_of_another() {
        let names = ["b", "b.", "b.c", "*", ">", "B", "=", "b=2E", " "];
        let mut keys = Vec::new();
        for bucket in names {
            for name in names {
                let key = key_of(&EntryKey::new(bucket, name).unwrap());
                let tokens: Vec<_> = key.split('.').collect();
                assert_eq!(tokens.len(), 3, "{key}");
                assert_eq!(name_of_key(tokens[0]).as_deref(), Some(bucket));
                assert_eq!(name_of_key(tokens[2]).as_deref(), Some(name));
                keys.push(key);
            }
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), names.len() * names.len());
    }

    #[test]
    fn the_longest_names_fit_into_a_line_of_nats() {
        let entry = EntryKey::new(&"\u{e9}".repeat(64), &"\0".repeat(256)).unwrap();
        // max_control_line is 4096, with the names of the stream and of the reply.
        assert!(key_of(&entry).len() < 1200);
    }
}
