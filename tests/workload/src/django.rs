//! Session data as Django writes it since 3.1: a signed dictionary, compressed when that is shorter.
//!
//! This is `django.core.signing.dumps(obj, salt=.., serializer=JSONSerializer, compress=True)`, byte for byte, except
//! for choices in which zlib implementations differ.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::Formatter;
use sha2::{Digest, Sha256};

/// The largest size of a decompressed payload. The payload comes from a database, so it may be a bomb.
const JSON_BYTES_MAX: usize = 1 << 20;
/// Django derives this salt for a session engine: `"django.contrib.sessions." + SessionStore.__qualname__`.
const SALT: &str = "django.contrib.sessions.SessionStore";
/// The default of Python's zlib, which Django uses.
const COMPRESSION_LEVEL: Compression = Compression::new(6);
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Writes and reads session data under one `SECRET_KEY`.
pub(crate) struct Codec {
    mac: Hmac<Sha256>,
    compressors: Kept<Compress>,
    decompressors: Kept<Decompress>,
}

impl Codec {
    /// Makes a codec for a `SECRET_KEY`.
    pub(crate) fn new(secret_key: &str) -> Self {
        let key = Sha256::new().chain_update(SALT).chain_update("signer").chain_update(secret_key).finalize();
        let mac = Hmac::new_from_slice(&key).expect("an HMAC takes a key of any length");
        Self { mac, compressors: Kept::default(), decompressors: Kept::default() }
    }

    /// Signs a dictionary, with the second of the write as its time stamp.
    pub(crate) fn encode(&self, dictionary: &impl Serialize, written_at_s: u64) -> Result<String, Unreadable> {
        let json = ascii_json(dictionary)?;
        let mut text = String::new();
        match self.compress(&json)? {
            Some(packed) => {
                text.push('.');
                URL_SAFE_NO_PAD.encode_string(packed, &mut text);
            }
            None => URL_SAFE_NO_PAD.encode_string(json, &mut text),
        }
        text.push(':');
        text.push_str(&base62(written_at_s));
        let signature = self.mac.clone().chain_update(&text).finalize().into_bytes();
        text.push(':');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        Ok(text)
    }

    /// Reads a dictionary back, if it was signed under the same `SECRET_KEY`.
    ///
    /// # Errors
    ///
    /// [`Unreadable`]; Django would log the user out.
    pub(crate) fn decode<T: DeserializeOwned>(&self, text: &str) -> Result<T, Unreadable> {
        let (value, signature) = text.rsplit_once(':').ok_or(Unreadable)?;
        let signature = URL_SAFE_NO_PAD.decode(signature)?;
        self.mac.clone().chain_update(value).verify_slice(&signature)?;
        let (data, _written_at) = value.rsplit_once(':').ok_or(Unreadable)?;
        let json = match data.strip_prefix('.') {
            Some(packed) => self.decompress(&URL_SAFE_NO_PAD.decode(packed)?)?,
            None => URL_SAFE_NO_PAD.decode(data)?,
        };
        Ok(serde_json::from_slice(&json)?)
    }

    /// Compresses. `None`: the result is not shorter by more than the byte that marks it.
    fn compress(&self, json: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        let mut compressor = self.compressors.take().unwrap_or_else(|| Compress::new(COMPRESSION_LEVEL, true));
        compressor.reset();
        // It stops when the capacity is used up; a result that needs more is not shorter.
        let mut packed = Vec::with_capacity(json.len());
        let status = compressor.compress_vec(json, &mut packed, FlushCompress::Finish)?;
        self.compressors.put_back(compressor);
        Ok(Some(packed).filter(|packed| status == Status::StreamEnd && packed.len() + 1 < json.len()))
    }

    fn decompress(&self, packed: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let mut decompressor = self.decompressors.take().unwrap_or_else(|| Decompress::new(true));
        decompressor.reset(true);
        let mut json = Vec::with_capacity(packed.len() * 4);
        loop {
            let rest = &packed[usize::try_from(decompressor.total_in()).map_err(|_| Unreadable)?..];
            match decompressor.decompress_vec(rest, &mut json, FlushDecompress::Finish)? {
                Status::StreamEnd => break,
                // The data are cut short, or too long.
                Status::Ok | Status::BufError if json.len() < json.capacity() => return Err(Unreadable),
                Status::Ok | Status::BufError if json.len() >= JSON_BYTES_MAX => return Err(Unreadable),
                Status::Ok | Status::BufError => json.reserve(json.len().max(1_024)),
            }
        }
        self.decompressors.put_back(decompressor);
        Ok(json)
    }
}

/// Compressors that wait for their next use. Making one costs more memory (260 KiB) and time than using it.
struct Kept<T>(Mutex<Vec<T>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put_back(&self, kept: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
    }
}

/// Session data that Django could not read: cut short, changed, or signed under another key. The error does not show
/// the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not session data that Django can read under this SECRET_KEY")
    }
}

impl std::error::Error for Unreadable {}

macro_rules! unreadable_from {
    ($($error:ty),*) => { $(impl From<$error> for Unreadable { fn from(_: $error) -> Self { Self } })* };
}
unreadable_from!(
    base64::DecodeError,
    hmac::digest::MacError,
    serde_json::Error,
    flate2::CompressError,
    flate2::DecompressError
);

/// Python's `json.dumps(obj, separators=(",", ":"))`, which escapes everything but printable ASCII.
fn ascii_json(dictionary: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut json = Vec::new();
    dictionary.serialize(&mut serde_json::Serializer::with_formatter(&mut json, AsciiFormatter))?;
    Ok(json)
}

struct AsciiFormatter;

impl Formatter for AsciiFormatter {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for character in fragment.chars() {
            if matches!(character, ' '..='~') {
                writer.write_all(&[character as u8])?;
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

fn base62(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(BASE62[(number % 62) as usize]);
        number /= 62;
        if number == 0 {
            break;
        }
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const WRITTEN_AT_S: u64 = 1_700_000_000;
    const PLAIN: [(&str, &str); 3] = [
        ("{}", "e30:1r31eq:RQbfgMcbnRxWV4iFmwFeeBS948XRtfULiDdf0AgF620"),
        (r#"{"a":1}"#, "eyJhIjoxfQ:1r31eq:QfiIuvoha4qOMvGtdweanTG0AUN7_o0lO24GxeLcaH8"),
        (
            r#"{"u":"é漢😀"}"#,
            "eyJ1IjoiXHUwMGU5XHU2ZjIyXHVkODNkXHVkZTAwIn0:1r31eq:__V_1Ts6iMgEE89M12MX6MxnWc7_EFhXnynKWBDEl7Q",
        ),
    ];
    const COMPRESSED: &str = ".eJyrVspWslKqoANQqgUAQEsxBg:1r31eq:5NfzXoopYhn-iFQxMvnDCLVQqche5Q8N8D0MTovVZz8";

    fn codec() -> Codec {
        Codec::new("golden-vector-secret")
    }

    #[test]
    fn writes_what_django_writes() {
        for (dictionary, text) in PLAIN {
            let dictionary: Value = serde_json::from_str(dictionary).unwrap();
            assert_eq!(codec().encode(&dictionary, WRITTEN_AT_S).unwrap(), text);
        }
    }

    #[test]
    fn reads_what_django_wrote() {
        for (dictionary, text) in PLAIN {
            assert_eq!(codec().decode::<Value>(text).unwrap(), serde_json::from_str::<Value>(dictionary).unwrap());
        }
        assert_eq!(codec().decode::<Value>(COMPRESSED).unwrap(), json!({"k": "x".repeat(100)}));
    }

    #[test]
    fn compresses_when_that_is_shorter() {
        let text = codec().encode(&json!({"k": "x".repeat(100)}), WRITTEN_AT_S).unwrap();
        assert_eq!(text, COMPRESSED);
        assert_eq!(codec().decode::<Value>(&text).unwrap(), json!({"k": "x".repeat(100)}));
    }

    #[test]
    fn long_text_comes_back_and_a_bomb_does_not() {
        let codec = codec();
        for length in [1, 5_000, 500_000] {
            let dictionary = json!({"k": "long ".repeat(length)});
            let text = codec.encode(&dictionary, WRITTEN_AT_S).unwrap();
            assert_eq!(codec.decode::<Value>(&text).ok(), Some(dictionary).filter(|_| length < 500_000));
        }
        let noise: Vec<u8> = (0_u32..3_000).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let noise = json!({"k": URL_SAFE_NO_PAD.encode(noise)});
        assert_eq!(codec.decode::<Value>(&codec.encode(&noise, WRITTEN_AT_S).unwrap()).unwrap(), noise);
    }

    #[test]
    fn refuses_what_was_changed() {
        let text = PLAIN[1].1;
        for at in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last character carries two bits that the decoder may ignore or refuse; either way the bytes are the
            // same or an error.
            if at + 1 < text.len() {
                assert_eq!(codec().decode::<Value>(&changed), Err(Unreadable), "byte {at}");
            }
        }
        assert_eq!(Codec::new("another").decode::<Value>(text), Err(Unreadable));
    }

    #[test]
    fn base62_is_djangos() {
        assert_eq!((base62(0), base62(61), base62(62)), ("0".into(), "z".into(), "10".into()));
        assert_eq!(base62(WRITTEN_AT_S), "1r31eq");
    }
}
