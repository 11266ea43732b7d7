//! Who may call: callers with a token of which the server knows the hash.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State as FromState};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::problem::Problem;

const SCHEME: &str = "sha256:";
const BYTES: usize = 32;

type Hash = [u8; BYTES];

/// A token that callers may have.
struct Known {
    hash: Hash,
    name: Arc<str>,
}

/// Who calls: the name of the token.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Arc<str>);

/// The tokens that callers may have, as SHA-256 hashes. A token has 256 random bits, so its hash tells nothing of it.
/// Cheap to clone; clones change together.
#[derive(Clone)]
pub struct Tokens(Arc<RwLock<Vec<Known>>>);

/// A token that was made just now.
pub struct NewToken {
    /// The token, for the caller. It is shown once, and is nowhere else.
    pub token: String,
    /// The line for the file of hashes.
    pub line: String,
}

/// A file of hashes that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidTokens {
    /// This line is not a hash.
    Line(usize),
    /// There is no hash in it.
    None,
}

impl fmt::Display for InvalidTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let make = "`switchover token` makes a token and the line for it";
        match self {
            // Somebody may have put the token itself there.
            Self::Line(line) => write!(f, "line {line} is not `{SCHEME}` and 64 hexadecimal digits: {make}"),
            Self::None => write!(f, "there is no token in it: {make}"),
        }
    }
}

impl std::error::Error for InvalidTokens {}

impl Tokens {
    /// Reads hashes: a line each, `sha256:` and 64 hexadecimal digits, and after them the name of the caller, for people
    /// and for the audit log. Empty lines and lines that begin with `#` are left out.
    ///
    /// # Errors
    ///
    /// The number of the line, and never its text.
    pub fn parse(text: &str) -> Result<Self, InvalidTokens> {
        let known = known(text)?;
        Ok(Self(Arc::new(RwLock::new(known))))
    }

    /// Replaces the tokens, in every clone.
    ///
    /// # Errors
    ///
    /// As for [`Tokens::parse`]. The tokens that were there stay.
    pub fn replace(&self, text: &str) -> Result<(), InvalidTokens> {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known(text)?;
        Ok(())
    }

    /// Makes a token.
    ///
    /// # Errors
    ///
    /// The operating system has no random numbers.
    pub fn make() -> Result<NewToken, getrandom::Error> {
        let mut random = [0; BYTES];
        getrandom::fill(&mut random)?;
        let token = hex(&random);
        let line = format!("{SCHEME}{}", hex(&Sha256::digest(&token)));
        Ok(NewToken { token, line })
    }

    /// The name of a token.
    fn know(&self, token: &[u8]) -> Option<Caller> {
        let hash: Hash = Sha256::digest(token).into();
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // Each is compared, so that the time tells nothing of which.
        let found = known
            .iter()
            .fold(None, |found, known| if bool::from(known.hash.ct_eq(&hash)) { Some(known) } else { found });
        found.map(|known| Caller(Arc::clone(&known.name)))
    }
}

/// Passes on what comes with a known token.
pub(crate) async fn ensure_known(FromState(tokens): FromState<Tokens>, mut request: Request, next: Next) -> Response {
    let sent = request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked(7));
    let token = sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer ")).map(|(_, token)| token.trim_ascii());
    match token.and_then(|token| tokens.know(token)) {
        Some(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        None => {
            let detail = "send a token that this server knows, as `Authorization: Bearer TOKEN`";
            let mut refused = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into_response();
            refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            refused
        }
    }
}

fn known(text: &str) -> Result<Vec<Known>, InvalidTokens> {
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let known = lines.map(|(at, line)| {
        let hash = hash(line).ok_or(InvalidTokens::Line(at + 1))?;
        let name = line.split_once(char::is_whitespace).map(|(_, name)| name.trim()).filter(|name| !name.is_empty());
        Ok(Known { hash, name: name.map_or_else(|| format!("the token of line {}", at + 1), str::to_owned).into() })
    });
    let known: Vec<_> = known.collect::<Result<_, _>>()?;
    if known.is_empty() { Err(InvalidTokens::None) } else { Ok(known) }
}

fn hash(line: &str) -> Option<Hash> {
    let digits = line.split_whitespace().next()?.strip_prefix(SCHEME)?.as_bytes();
    let mut hash = [0; BYTES];
    if digits.len() != 2 * BYTES {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(hash)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_token_is_known_by_its_line() {
        let made = Tokens::make().unwrap();
        let tokens = Tokens::parse(&format!("# the web hosts\n\n{} web\n", made.line)).unwrap();
        assert_eq!(&*tokens.know(made.token.as_bytes()).unwrap().0, "web");
        assert!(tokens.know(made.line.as_bytes()).is_none());
        assert!(tokens.know(b"").is_none());
    }

    #[test]
    fn wrong_line_is_named_and_not_repeated() {
        let Err(error) = Tokens::parse("# ok\nsecret") else { panic!("a token was taken for a hash") };
        assert_eq!(error, InvalidTokens::Line(2));
        assert!(!error.to_string().contains("secret"));
        assert_eq!(Tokens::parse("# nothing").err(), Some(InvalidTokens::None));
    }

    #[test]
    fn replaced_tokens_are_replaced_in_every_clone_and_bad_ones_nowhere() {
        let (old, new) = (Tokens::make().unwrap(), Tokens::make().unwrap());
        let tokens = Tokens::parse(&old.line).unwrap();
        let clone = tokens.clone();
        tokens.replace(&new.line).unwrap();
        assert!(clone.know(new.token.as_bytes()).is_some() && clone.know(old.token.as_bytes()).is_none());
        assert!(tokens.replace("nonsense").is_err());
        assert_eq!(&*clone.know(new.token.as_bytes()).unwrap().0, "the token of line 1");
    }
}
