//! How keys, instants and durations are written in scripts and traces.

use switchover_guest::{Instant, SaveMode, SaveOutcome};

/// When every script starts: the day the design of 2016 was published.
pub const START: Instant = 1_453_766_400_000_000;

const KEY_LENGTH: usize = 32;
/// Fills a short name up to a key, so no short name may end in it.
const FILLER: char = 'z';

/// The key that a short name stands for; `None`: the name is not 1 to 32 of `a-z` and `0-9`, or ends in `z`.
pub fn full_key(name: &str) -> Option<String> {
    let valid = !name.is_empty()
        && name.len() <= KEY_LENGTH
        && !name.ends_with(FILLER)
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    valid.then(|| name.chars().chain(std::iter::repeat(FILLER)).take(KEY_LENGTH).collect())
}

/// The short name of a key, or the key itself if it has none.
pub fn short_key(key: &str) -> &str {
    if key.len() == KEY_LENGTH { key.trim_end_matches(FILLER) } else { key }
}

/// `+60s`, counted from the script's start.
pub(super) fn instant(at: Instant) -> String {
    let (sign, micros) = if at >= START { ('+', at - START) } else { ('-', START - at) };
    format!("{sign}{}", duration(micros))
}

fn duration(micros: u64) -> String {
    match micros {
        0 => "0s".to_owned(),
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ if micros.is_multiple_of(1_000) => format!("{}ms", micros / 1_000),
        _ => format!("{micros}us"),
    }
}

pub(super) fn parse_instant(text: &str) -> Option<Instant> {
    match text.split_at_checked(1)? {
        ("+", rest) => START.checked_add(parse_duration(rest)?),
        ("-", rest) => START.checked_sub(parse_duration(rest)?),
        _ => None,
    }
}

/// Microseconds of `20ms`, `5s`, `7us`.
pub(super) fn parse_duration(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let scale = match unit {
        "s" => 1_000_000,
        "ms" => 1_000,
        "us" => 1,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

pub(super) fn mode(mode: SaveMode) -> &'static str {
    match mode {
        SaveMode::Create => "create",
        SaveMode::Update => "update",
    }
}

pub(super) fn outcome(outcome: SaveOutcome) -> &'static str {
    match outcome {
        SaveOutcome::Saved => "saved",
        SaveOutcome::Exists => "exists",
        SaveOutcome::Missing => "missing",
        SaveOutcome::Conflict => "conflict",
    }
}

/// `-> text` of an optional value.
pub(super) fn or_none<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "none".to_owned(), T::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_short_names() {
        let key = full_key("k1").unwrap();
        assert_eq!((key.len(), short_key(&key)), (32, "k1"));
        assert_ne!(full_key("k1"), full_key("k10"));
        for refused in ["", "kz", "K1", "k-1", "123456789012345678901234567890123"] {
            assert_eq!(full_key(refused), None, "{refused}");
        }
        assert_eq!(short_key("otherkey"), "otherkey");
    }

    #[test]
    fn instants_are_read_as_they_are_written() {
        for text in ["+60s", "-5s", "+20ms", "+7us", "+0s"] {
            assert_eq!(instant(parse_instant(text).unwrap()), text);
        }
        for refused in ["60s", "+60", "+s", "+1m", "", "é"] {
            assert_eq!(parse_instant(refused), None, "{refused}");
        }
    }
}
