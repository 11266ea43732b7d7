//! Which of several databases owns a key: rendezvous hashing, also called highest random weight.
//!
//! `weight(database, key) = XXH64(key, seed = XXH64(database, seed = 0))` over the bytes of the texts. The database
//! with the greatest weight owns the key. The order of the list does not matter. A database that is added takes one key
//! in n + 1 from the others, and moves no other key. XXH64 is specified:
//! <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>.

use xxhash_rust::xxh64::xxh64;

/// The owner of `key` among `databases`; `None`: there are none.
pub fn owner<'d>(databases: &[&'d str], key: &str) -> Option<&'d str> {
    // Two weights may be equal in theory: then the later name owns the key, whatever the order of the list.
    databases.iter().copied().max_by_key(|database| (weight(database, key), *database))
}

fn weight(database: &str, key: &str) -> u64 {
    xxh64(key.as_bytes(), xxh64(database.as_bytes(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u32 = 100_000;

    fn keys() -> impl Iterator<Item = String> {
        // Keys as like each other as they come, and as long as Django's.
        (0..KEYS).map(|number| format!("{number:032}"))
    }

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("shard{number}")).collect()
    }

    fn list(names: &[String]) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }

    #[test]
    fn weights_are_those_of_the_specification_for_ever() {
        // Values of the reference implementation: another hash would move every session.
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
        let owners: String = keys().take(40).filter_map(|key| owner(&["a", "b", "c"], &key)).collect();
        assert_eq!(owners, "aaabaabbabaacbbbbcccbaaccabccacbaaccbcbc");
    }

    #[test]
    fn every_database_owns_its_share() {
        for count in 1..=32 {
            let names = names(count);
            let list = list(&names);
            let mut owned = vec![0_u32; count];
            for key in keys() {
                let owner = owner(&list, &key).unwrap();
                owned[list.iter().position(|name| *name == owner).unwrap()] += 1;
            }
            let expected = f64::from(KEYS) / count as f64;
            // Of keys that fall at random the statistic is about `count - 1`, and above this bound once in millions of
            // tries.
            let chi_square: f64 = owned.iter().map(|owned| (f64::from(*owned) - expected).powi(2) / expected).sum();
            let bound = count as f64 + 8.0 * (2.0 * count as f64).sqrt();
            assert!(chi_square < bound, "{count} databases own {owned:?}: {chi_square} is above {bound}");
        }
    }

    #[test]
    fn a_database_that_comes_takes_its_share_and_nothing_else_moves() {
        for count in 1..=16 {
            let names = names(count + 1);
            let (after, before) = (list(&names), list(&names[..count]));
            let new = after[count];
            let mut moved = 0;
            for key in keys() {
                let (from, to) = (owner(&before, &key).unwrap(), owner(&after, &key).unwrap());
                assert!(from == to || to == new, "{key} moved from {from} to {to}");
                moved += u32::from(from != to);
            }
            let share = f64::from(KEYS) / (count + 1) as f64;
            assert!((f64::from(moved) - share).abs() < share * 0.1, "{moved} keys moved, {share} is the share");
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        for key in keys().take(1_000) {
            assert_eq!(owner(&["a", "b", "c"], &key), owner(&["c", "a", "b"], &key));
        }
        assert_eq!(owner(&[], "key"), None);
    }
}
