//! The key of a session. It is parsed once, at the edge; no invalid key exists inside the host.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// The longest key, in bytes. The widest key column of a layout has this length.
pub const KEY_LENGTH_MAX: usize = 255;
/// The length of a key that the host makes. 32 characters out of 36 are 165 bits, and every layout takes such a key.
const KEY_LENGTH_NEW: usize = 32;
const KEY_ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// The key of a session: 1 to 255 bytes of visible ASCII (`!` to `~`), always compared byte for byte.
///
/// A table may take fewer keys: its [`Layout`](crate::Layout) says which. The layout `django` takes 8 to 40 characters
/// of `a-z` and `0-9`.
///
/// A key is a credential: whoever has it is logged in. `Display` and `Debug` print a short hash; [`SessionKey::expose`]
/// returns the key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(Arc<String>);

impl SessionKey {
    /// Takes a key that came from outside, a cookie for example.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] if no session can have this key. Then no database needs to be asked about it.
    pub fn parse(key: &str) -> Result<Self, InvalidKey> {
        if !(1..=KEY_LENGTH_MAX).contains(&key.len()) {
            return Err(InvalidKey::Length { bytes: key.len() });
        }
        match key.bytes().position(|byte| !byte.is_ascii_graphic()) {
            Some(at) => Err(InvalidKey::Character { at }),
            None => Ok(Self(Arc::new(key.to_owned()))),
        }
    }

    /// Makes a new key of 32 characters from the operating system's random source.
    pub fn random() -> Self {
        let mut key = String::with_capacity(KEY_LENGTH_NEW);
        while key.len() < KEY_LENGTH_NEW {
            let mut bytes = [0_u8; KEY_LENGTH_NEW];
            getrandom::fill(&mut bytes).expect("the operating system's random source answers");
            // 252 is the largest multiple of 36 in a byte: with larger values some characters would be more likely.
            let characters = bytes.iter().filter(|byte| **byte < 252).map(|byte| KEY_ALPHABET[usize::from(byte % 36)]);
            key.extend(characters.take(KEY_LENGTH_NEW - key.len()).map(char::from));
        }
        Self(Arc::new(key))
    }

    /// Returns the key itself. Never let it into a log, a metric or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// For the bindings: they take an owned string wherever the contract has an alias of `string`.
    pub fn expose_string(&self) -> &String {
        &self.0
    }

    /// Returns twelve hexadecimal digits of the key's SHA-256: enough to compare two reports, useless to log in with.
    pub fn short_hash(&self) -> String {
        short_hash(self.0.as_bytes())
    }
}

/// The short hash of the bytes of a key; they need not be a valid session key.
pub fn short_hash(key: &[u8]) -> String {
    Sha256::digest(key).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({})", self.short_hash())
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short_hash())
    }
}

/// Why a text is not a session key. No variant repeats the text, which may be a mistyped credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidKey {
    /// Not 1 to 255 bytes long.
    Length {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A byte that is not visible ASCII: a space, a control character, a letter with an accent.
    Character {
        /// Its place, counted in bytes from 0.
        at: usize,
    },
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { bytes } => {
                write!(f, "a session key has 1 to {KEY_LENGTH_MAX} bytes, this one has {bytes}")
            }
            Self::Character { at } => {
                write!(f, "a session key has only visible ASCII characters, this one has another at byte {at}")
            }
        }
    }
}

impl std::error::Error for InvalidKey {}
