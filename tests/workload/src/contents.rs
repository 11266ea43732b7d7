//! The contents of the workload's sessions: what Django's login stores, a site's own data, and the number of the write.

use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use switchover::{Payload, Timestamp};

use crate::django::Codec;
use crate::history::{Micros, Row};

/// This is not a secret: the demo's sessions log nobody in.
const SECRET_KEY: &str = "switchover-demo";
/// One session in this many is large, and therefore compressed.
const LARGE_ONE_IN: u32 = 6;
const ARTICLES_MAX: usize = 60;
const NAMES: [&str; 6] = ["Ada", "Zoë", "Łukasz", "Ørsted", "漢字", "🦀 Ferris"];

/// Writes sessions as Django would, each with its own number, and reads them back.
pub struct Scribe {
    codec: Codec,
    written: AtomicU32,
}

impl Default for Scribe {
    fn default() -> Self {
        Self { codec: Codec::new(SECRET_KEY), written: AtomicU32::new(Row::UNREADABLE) }
    }
}

impl Scribe {
    /// Makes the payload of one more write, and its row.
    ///
    /// # Errors
    ///
    /// If the dictionary cannot be encoded. That would be a fault of this crate.
    pub fn write(&self, user: u32, expires_at: Micros, now: Micros, rng: &mut fastrand::Rng) -> Result<(Payload, Row)> {
        let version = self.written.fetch_add(1, Ordering::Relaxed) + 1;
        let articles = if rng.u32(..LARGE_ONE_IN) == 0 { rng.usize(10..ARTICLES_MAX) } else { 0 };
        let contents = Contents {
            auth_user_id: user.to_string(),
            auth_user_backend: "django.contrib.auth.backends.ModelBackend".into(),
            auth_user_hash: format!("{:032x}{:032x}", rng.u128(..), rng.u128(..)),
            name: NAMES[user as usize % NAMES.len()].into(),
            version,
            basket: (0..articles).map(|number| format!("article {number} of {articles}, once")).collect(),
        };
        let text = self.codec.encode(&contents, now / 1_000_000)?;
        let row = Row { version, digest: digest(&text), expires_at };
        Ok((Payload::from(text), row))
    }

    /// The row of a payload, in the types of the history.
    pub fn read(&self, payload: &str, expires_at: Timestamp) -> Row {
        let contents = self.codec.decode::<Contents>(payload);
        let version = contents.map_or(Row::UNREADABLE, |contents| contents.version);
        Row { version, digest: digest(payload), expires_at: expires_at.as_micros() }
    }
}

#[derive(Serialize, Deserialize)]
struct Contents {
    #[serde(rename = "_auth_user_id")]
    auth_user_id: String,
    #[serde(rename = "_auth_user_backend")]
    auth_user_backend: String,
    #[serde(rename = "_auth_user_hash")]
    auth_user_hash: String,
    name: String,
    version: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    basket: Vec<String>,
}

fn digest(text: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_has_its_own_number_and_is_read_back() {
        let scribe = Scribe::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut large, mut compressed) = (0, 0);
        for version in 1..=200 {
            let (payload, row) = scribe.write(version, 5, 1_700_000_000_000_000, &mut rng).unwrap();
            assert_eq!(row.version, version);
            assert_eq!(scribe.read(payload.as_text().unwrap_or_default(), Timestamp::from_micros(5)), row);
            large += u32::from(payload.len() > 600);
            compressed += u32::from(payload.as_text().unwrap_or_default().starts_with('.'));
        }
        assert!(compressed > 10 && large < 200, "{compressed} compressed, {large} large");
    }

    #[test]
    fn another_payload_is_another_row() {
        let scribe = Scribe::default();
        let row = scribe.read("not signed", Timestamp::from_micros(5));
        assert_eq!(row.version, Row::UNREADABLE);
    }
}
