//! Layouts of session tables: the keys and payloads that a table takes, and its columns.

use std::fmt;

use crate::{Session, SessionKey};

/// The layout of a session table. The two tables of a migration may have different layouts if the new one takes
/// everything that the old one can hold: [`Layout::carried_by`] checks this.
///
/// | layout | [`DJANGO`](Self::DJANGO) | [`SWITCHOVER`](Self::SWITCHOVER) |
/// | --- | --- | --- |
/// | key | `session_key`, 8 to 40 of `a-z 0-9` | `session_key`, 1 to 255 bytes of visible ASCII |
/// | payload | `session_data`, text | `payload`, bytes |
/// | end | `expire_date` | `expires_at` |
/// | table, if none is named | `django_session` | `switchover_session` |
///
/// Both layouts keep the end of a session to the microsecond, and have an index on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    name: &'static str,
    table: &'static str,
    keys: Keys,
    payloads: Payloads,
    columns: [&'static str; 3],
}

/// Which keys a table takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Keys {
    /// 8 to 40 characters of `a-z` and `0-9`: the characters of the keys that Django makes, in every length that it
    /// takes (`SessionBase._validate_session_key`, `varchar(40)`).
    Django,
    /// Every key.
    All,
}

/// Which payloads a table takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Payloads {
    /// Text in UTF-8 without NUL. PostgreSQL cannot store a NUL in a text.
    Text,
    /// Every payload.
    All,
}

impl Layout {
    /// Django's `django_session`, as Django 1.8 and every later version make and read it.
    pub const DJANGO: Self = Self {
        name: "django",
        table: "django_session",
        keys: Keys::Django,
        payloads: Payloads::Text,
        columns: ["session_key", "session_data", "expire_date"],
    };

    /// The product's own layout: every key of up to 255 bytes under a binary collation, and every payload.
    pub const SWITCHOVER: Self = Self {
        name: "switchover",
        table: "switchover_session",
        keys: Keys::All,
        payloads: Payloads::All,
        columns: ["session_key", "payload", "expires_at"],
    };

    /// All layouts.
    pub const ALL: [Self; 2] = [Self::DJANGO, Self::SWITCHOVER];

    /// Returns the layout with this name in the configuration: `django` or `switchover`; `None` for another name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.name == name)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The table's name if the operator gives none.
    pub fn default_table(&self) -> &'static str {
        self.table
    }

    /// The names of the columns of key, payload and end, in this order.
    pub fn columns(&self) -> [&'static str; 3] {
        self.columns
    }

    /// Whether payloads are bytes; otherwise they are text.
    pub fn has_bytes(&self) -> bool {
        self.payloads == Payloads::All
    }

    /// Whether a session in the table can have this key.
    pub fn takes_key(&self, key: &SessionKey) -> bool {
        let key = key.expose().as_bytes();
        match self.keys {
            Keys::All => true,
            Keys::Django => {
                // It looks at every byte, also after a wrong one, so that it looks at many of them at once.
                let allowed = |byte: &u8| byte.is_ascii_lowercase() | byte.is_ascii_digit();
                (8..=40).contains(&key.len()) && key.iter().fold(true, |all, byte| all & allowed(byte))
            }
        }
    }

    /// Makes a session key of the bytes of a row's key; `None` if no session in the table can have this key.
    pub fn key_of_row(&self, key: &[u8]) -> Option<SessionKey> {
        SessionKey::parse(str::from_utf8(key).ok()?).ok().filter(|key| self.takes_key(key))
    }

    /// Checks that the table can hold this session unchanged.
    ///
    /// # Errors
    ///
    /// [`Unfit`] names the column that cannot hold its part.
    pub fn check(&self, session: &Session) -> Result<(), Unfit> {
        let [key, payload, _] = self.columns;
        let unfit = |column, takes| Err(Unfit { layout: self.name, column, takes });
        if !self.takes_key(&session.key) {
            return unfit(key, self.keys.in_words());
        }
        let is_text = || session.payload.as_text().is_some_and(|text| !text.contains('\0'));
        if self.payloads == Payloads::Text && !is_text() {
            return unfit(payload, self.payloads.in_words());
        }
        Ok(())
    }

    /// Checks that a table of the layout `new` can hold everything that a table of this layout can hold.
    ///
    /// # Errors
    ///
    /// [`NotCarried`] names the first column of this layout that can hold more than the new one takes.
    pub fn carried_by(&self, new: &Self) -> Result<(), NotCarried> {
        let [key, payload, _] = self.columns;
        let refused = |column, holds, takes| Err(NotCarried { old: self.name, column, holds, new: new.name, takes });
        if new.keys == Keys::Django && self.keys == Keys::All {
            return refused(key, self.keys.in_words(), new.keys.in_words());
        }
        if new.payloads == Payloads::Text && self.payloads == Payloads::All {
            return refused(payload, self.payloads.in_words(), new.payloads.in_words());
        }
        Ok(())
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::DJANGO
    }
}

impl Keys {
    fn in_words(self) -> &'static str {
        match self {
            Self::Django => "8 to 40 characters of a-z and 0-9",
            Self::All => "1 to 255 bytes of visible ASCII",
        }
    }
}

impl Payloads {
    fn in_words(self) -> &'static str {
        match self {
            Self::Text => "text in UTF-8 without NUL",
            Self::All => "any bytes",
        }
    }
}

/// Why a table of a layout cannot hold a session. The error repeats nothing of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfit {
    /// The name of the layout.
    pub layout: &'static str,
    /// The column that cannot hold its part of the session.
    pub column: &'static str,
    takes: &'static str,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layout, column, takes } = self;
        write!(f, "the column {column} of the layout `{layout}` holds {takes}, and this session has something else")
    }
}

impl std::error::Error for Unfit {}

/// Why a table of one layout cannot take everything from a table of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotCarried {
    /// The layout of the old table.
    pub old: &'static str,
    /// The column of the old table that can hold more than the new table takes.
    pub column: &'static str,
    holds: &'static str,
    /// The layout of the new table.
    pub new: &'static str,
    takes: &'static str,
}

impl fmt::Display for NotCarried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { old, column, holds, new, takes } = self;
        write!(
            f,
            "the column {column} of the layout `{old}` can hold {holds}, and the layout `{new}` takes {takes}: give \
             the new table another layout"
        )
    }
}

impl std::error::Error for NotCarried {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Payload, Timestamp};

    fn session(key: &str, payload: &[u8]) -> Session {
        let key = SessionKey::parse(key).unwrap();
        Session::new(key, Payload::from(payload), Timestamp::from_micros(1))
    }

    #[test]
    fn django_takes_its_own_keys_and_text() {
        let unfit =
            |key: &str, payload: &[u8]| Layout::DJANGO.check(&session(key, payload)).err().map(|unfit| unfit.column);
        assert_eq!(unfit("abcdefgh", b"text"), None);
        assert_eq!(unfit(&"a0".repeat(20), "größe".as_bytes()), None);
        for key in ["abcdefg", "ABCDEFGH", "abcdefg-", &"a".repeat(41)] {
            assert_eq!(unfit(key, b"text"), Some("session_key"), "{key}");
        }
        for payload in [&b"a\0b"[..], b"\xff"] {
            assert_eq!(unfit("abcdefgh", payload), Some("session_data"));
        }
    }

    #[test]
    fn own_layout_takes_every_session() {
        for (key, payload) in [("a", &b""[..]), ("!~", b"\0"), (&"Z".repeat(255), b"\xff\0")] {
            assert_eq!(Layout::SWITCHOVER.check(&session(key, payload)), Ok(()));
        }
    }

    #[test]
    fn what_an_old_table_can_hold_is_carried_or_refused_by_its_column() {
        assert_eq!(Layout::DJANGO.carried_by(&Layout::SWITCHOVER), Ok(()));
        assert!(Layout::ALL.iter().all(|layout| layout.carried_by(layout) == Ok(())));
        let refused = Layout::SWITCHOVER.carried_by(&Layout::DJANGO).unwrap_err();
        assert_eq!((refused.column, refused.new), ("session_key", "django"));
    }

    #[test]
    fn layout_is_found_by_its_name() {
        assert!(Layout::ALL.iter().all(|layout| Layout::named(layout.name()) == Some(*layout)));
        assert_eq!(Layout::named("rails"), None);
    }
}
