//! Data and instants that are stored in different ways.

use std::time::Duration;

use serde_json::{Value, json};
use switchover::{Timestamp, expires_in};

/// How long a session of Django's lives without a setting: `SESSION_COOKIE_AGE`.
pub(crate) const COOKIE_AGE: Duration = Duration::from_secs(1_209_600);

/// Nothing, a little, what Django compresses, what JSON escapes, and much that hardly becomes shorter.
pub(crate) fn dictionaries() -> Vec<Value> {
    let noise: String =
        (0_u32..40_000).map(|n| char::from(b' ' + (n.wrapping_mul(2_654_435_761) >> 24) as u8 % 95)).collect();
    vec![
        json!({}),
        json!({ "_auth_user_id": "7", "n": 1.5, "yes": true, "no": null }),
        json!({ "cart": vec!["the same again"; 200] }),
        json!({ "name": "Zoë Łukasz 漢字 😀", "odd": "\"\\/\u{0}\u{7f}\u{2028}" }),
        json!({ "noise": noise }),
    ]
}

/// About now, with each kind of fraction that a text of it has: none, six digits, leading zeros, trailing zeros.
pub(crate) fn instants() -> [Timestamp; 4] {
    let now = expires_in(Duration::ZERO);
    let second = now.minus(Duration::from_micros(now.as_micros() % 1_000_000));
    [0, 508_388, 7, 500_000].map(|micros| second.plus(Duration::from_micros(micros)))
}
