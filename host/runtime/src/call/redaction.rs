//! The texts of a policy, for people: bounded, and without what must not be shown.

use std::sync::atomic::Ordering;

use switchover_core::SessionKey;

use super::CallContext;
use crate::limits::LOG_LINE_BYTES_MAX;

/// A run of at least this many lower-case letters and digits is treated as a key. It is struck out because an instance
/// may remember the key of an earlier call.
const KEY_LIKE_LENGTH_MIN: usize = 20;

impl CallContext {
    /// Writes a line of the policy to the service's log.
    pub(crate) fn log(&self, level: switchover_contract::Level, message: &str) {
        let left = self.log_lines_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() {
            self.environment.counters.log_line_dropped();
            return;
        }
        self.environment.reach.log(&self.scope.name, level, &self.for_people(message));
    }

    /// A policy's text, without what must not be shown. The key and anything else that looks like one is struck out.
    /// Control characters become spaces, because they could forge lines. Once the policy has read a payload, the whole
    /// text is withheld.
    pub(crate) fn for_people(&self, message: &str) -> String {
        if self.scope.payload_read.load(Ordering::Relaxed) {
            return "(withheld: the policy has read a payload)".to_owned();
        }
        let hint = self.asked().hint.as_deref();
        let secrets = self.key().map(SessionKey::expose).into_iter().chain(hint.filter(|hint| !hint.is_empty()));
        // Struck out before the cut, so that no half of a key is left at the end.
        let clean = secrets.fold(message.to_owned(), |text, secret| text.replace(secret, "(key)"));
        let clean = without_keys(&clean).replace(char::is_control, " ");
        clean[..clean.floor_char_boundary(LOG_LINE_BYTES_MAX)].to_owned()
    }
}

fn without_keys(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let run = rest.find(|c| !is_key(c)).unwrap_or(rest.len());
        clean.push_str(if run < KEY_LIKE_LENGTH_MIN { &rest[..run] } else { "(key)" });
        rest = &rest[run..];
        let other = rest.find(is_key).unwrap_or(rest.len());
        clean.push_str(&rest[..other]);
        rest = &rest[other..];
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::without_keys;

    #[test]
    fn text_that_looks_like_a_key_is_struck_out() {
        let key = "0123456789abcdefghij0123456789ab";
        assert_eq!(without_keys(&format!("load of {key} and {key}.")), "load of (key) and (key).");
        assert_eq!(without_keys("database new_session_store is down"), "database new_session_store is down");
        assert_eq!(without_keys(""), "");
    }
}
