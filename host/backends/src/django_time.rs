//! Django's text of a time in SQLite and MySQL: Python's `str` of a naive UTC `datetime`.
//!
//! `2026-12-06 15:05:26.508388`, and without a fraction if it is 0: `2026-12-06 15:05:26`. Texts of this form sort like
//! the times, because the end of a text sorts before the dot. So SQL may compare them if both sides have this form.

use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use switchover_core::Timestamp;

/// `YYYY-MM-DD HH:MM:SS`
const SECONDS_LENGTH: usize = 19;

/// A time as Django writes it.
pub(crate) fn to_text(time: Timestamp) -> String {
    let micros = i64::try_from(time.as_micros()).expect("`Timestamp::MAX` is below `i64::MAX`");
    let time = DateTime::from_timestamp_micros(micros).expect("chrono knows the years up to 9999");
    let seconds = time.format("%Y-%m-%d %H:%M:%S");
    match time.nanosecond() / 1_000 {
        0 => seconds.to_string(),
        micros => format!("{seconds}.{micros:06}"),
    }
}

/// Reads a time as Django writes it, also with fewer digits of the fraction. `None`: the text has another form.
///
/// A time before 1970 becomes the start of 1970, because both have ended.
pub(crate) fn from_text(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_at_checked(SECONDS_LENGTH)?;
    let bytes = seconds.as_bytes();
    let separators = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, separator)| bytes[*at] != *separator) {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(number(&bytes[..4])?).ok()?,
        number(&bytes[5..7])?,
        number(&bytes[8..10])?,
    )?;
    let time = date.and_hms_micro_opt(
        number(&bytes[11..13])?,
        number(&bytes[14..16])?,
        number(&bytes[17..])?,
        micros(fraction)?,
    )?;
    // Python's first year is 1; chrono would accept 0 too.
    let micros = (time.year() > 0).then(|| time.and_utc().timestamp_micros())?;
    Some(Timestamp::from_micros(u64::try_from(micros).unwrap_or(0)))
}

/// `""`, or a dot and 1 to 6 digits.
fn micros(fraction: &str) -> Option<u32> {
    if fraction.is_empty() {
        return Some(0);
    }
    let digits = fraction.strip_prefix('.')?.as_bytes();
    let missing = 6_u32.checked_sub(u32::try_from(digits.len()).ok()?)?;
    (!digits.is_empty()).then(|| number(digits))?.map(|number| number * 10_u32.pow(missing))
}

/// Parses at most six digits and nothing else; `str::parse` would accept a sign.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-12-06 15:05:26
    const SECOND: u64 = 1_796_569_526_000_000;

    #[test]
    fn writes_as_python_does() {
        assert_eq!(to_text(Timestamp::from_micros(SECOND + 508_388)), "2026-12-06 15:05:26.508388");
        assert_eq!(to_text(Timestamp::from_micros(SECOND + 7)), "2026-12-06 15:05:26.000007");
        assert_eq!(to_text(Timestamp::from_micros(SECOND)), "2026-12-06 15:05:26");
        assert_eq!(to_text(Timestamp::from_micros(0)), "1970-01-01 00:00:00");
        assert_eq!(to_text(Timestamp::MAX), "9999-12-31 23:59:59.999999");
    }

    #[test]
    fn reads_what_it_writes() {
        for micros in [0, 1, SECOND, SECOND + 1, SECOND + 500_000, SECOND + 999_999, Timestamp::MAX.as_micros()] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(from_text(&to_text(time)), Some(time));
        }
    }

    #[test]
    fn reads_shorter_fractions_and_early_years() {
        assert_eq!(from_text("2026-12-06 15:05:26.5"), Some(Timestamp::from_micros(SECOND + 500_000)));
        assert_eq!(from_text("2026-12-06 15:05:26.000000"), Some(Timestamp::from_micros(SECOND)));
        assert_eq!(from_text("0001-01-01 00:00:00"), Some(Timestamp::from_micros(0)));
    }

    #[test]
    fn texts_sort_as_times_do() {
        let times = [SECOND - 1, SECOND, SECOND + 1, SECOND + 500_000, SECOND + 999_999, SECOND + 1_000_000];
        let texts: Vec<_> = times.map(|micros| to_text(Timestamp::from_micros(micros))).into();
        assert!(texts.is_sorted());
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "2026-12-06",
            "2026-12-06T15:05:26",
            "2026-12-06 15:05:26Z",
            "2026-12-06 15:05:26+00:00",
            "2026-12-06 15:05:26.",
            "2026-12-06 15:05:26.1234567",
            "2026-12-06 15:05:26.12345x",
            "2026-13-06 15:05:26",
            "2026-02-29 15:05:26",
            "2026-12-06 24:05:26",
            "2026-12-06 15:05:60",
            "+026-12-06 15:05:26",
            "0000-12-06 15:05:26",
            "2026-12-06 15:05:2é",
            "1796569526",
        ] {
            assert_eq!(from_text(text), None, "{text:?}");
        }
    }
}
