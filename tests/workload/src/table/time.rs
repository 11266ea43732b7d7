//! Times in the form in which Django writes them into a text or a column without a time zone.

use anyhow::{Result, anyhow};
use chrono::{DateTime, NaiveDateTime};
use switchover::Timestamp;

use crate::history::Micros;

/// Python's `str()` of a naive UTC `datetime`. It drops the fraction of a whole second.
pub(super) fn to_django(at: Micros) -> String {
    let at = i64::try_from(at).ok().and_then(DateTime::from_timestamp_micros).unwrap_or_default().naive_utc();
    let format =
        if at.and_utc().timestamp_subsec_micros() == 0 { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S%.6f" };
    at.format(format).to_string()
}

/// The instant of such a text, with a fraction of any length.
pub(super) fn from_django(text: &str) -> Result<Timestamp> {
    let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f");
    let at = at.map_err(|_| anyhow!("`{text:.32}` is not an expire_date of Django's"))?;
    Ok(Timestamp::from_micros(u64::try_from(at.and_utc().timestamp_micros())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_django_writes_them() {
        for (text, micros) in [
            ("2026-12-06 15:05:26.508388", 1_796_569_526_508_388),
            ("2026-12-06 15:05:26", 1_796_569_526_000_000),
            ("2026-12-06 15:05:26.000001", 1_796_569_526_000_001),
        ] {
            assert_eq!(to_django(micros), text);
            assert_eq!(from_django(text).unwrap().as_micros(), micros);
        }
        assert_eq!(from_django("2026-12-06 15:05:26.5").unwrap().as_micros(), 1_796_569_526_500_000);
    }
}
