//! The name of a table, as an operator writes it.

use std::fmt;

/// PostgreSQL truncates longer names (`NAMEDATALEN`); MySQL's limit is 64 characters, and SQLite has none.
const PART_BYTES_MAX: usize = 63;

/// The name of a table, and of its schema.
///
/// It is written as in SQL: `django_session`, `app.django_session`, `"Web Sessions"`, `app."Web.Sessions"`. A name
/// without quotes has letters, digits and `_`. A name in double quotes may have everything except control characters;
/// `""` in it is one quote. Names are case-sensitive.
///
/// ```
/// # use switchover_core::{InvalidTable, Table};
/// # fn main() -> Result<(), InvalidTable> {
/// let table = Table::parse("app.\"Web.Sessions\"")?;
/// assert_eq!((table.schema(), table.name()), (Some("app"), "Web.Sessions"));
/// assert_eq!(table.quoted('`'), "`app`.`Web.Sessions`");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    schema: Option<String>,
    name: String,
}

impl Table {
    /// Parses a name that an operator has written.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if the text is not the name of a table, or if a part is longer than 63 bytes. The error does
    /// not repeat the text, which may be an address.
    pub fn parse(text: &str) -> Result<Self, InvalidTable> {
        let (first, rest) = part(text, 0)?;
        match rest {
            None => Ok(Self { schema: None, name: first }),
            Some(at) => match part(&text[at..], at)? {
                (name, None) => Ok(Self { schema: Some(first), name }),
                (_, Some(at)) => Err(InvalidTable { at, wrong: "a third part: a table has a schema and a name" }),
            },
        }
    }

    /// The schema; on MySQL and MariaDB the database. `None`: the connection's default.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The name without its schema.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name for SQL, with every part in `quote`: `"` for PostgreSQL and SQLite, a backtick for MySQL.
    pub fn quoted(&self, quote: char) -> String {
        let name = Self::quote(&self.name, quote);
        match &self.schema {
            Some(schema) => format!("{}.{name}", Self::quote(schema, quote)),
            None => name,
        }
    }

    /// Puts one name in quotes. A quote inside it is doubled.
    pub fn quote(name: &str, quote: char) -> String {
        let doubled = String::from_iter([quote, quote]);
        format!("{quote}{}{quote}", name.replace(quote, &doubled))
    }
}

/// Prints the name as an operator writes it.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = |name: &str| if is_plain(name) { name.to_owned() } else { Self::quote(name, '"') };
        if let Some(schema) = &self.schema {
            write!(f, "{}.", written(schema))?;
        }
        f.write_str(&written(&self.name))
    }
}

/// Why a text is not the name of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTable {
    at: usize,
    wrong: &'static str,
}

impl fmt::Display for InvalidTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this is not the name of a table: at byte {} there is {}; write `NAME` or `SCHEMA.NAME`, and put what \
             is not letters, digits and _ into double quotes",
            self.at, self.wrong
        )
    }
}

impl std::error::Error for InvalidTable {}

/// Reads the first part of `text`, which begins at byte `start` of the whole. Returns it, and where the next part
/// begins in the whole.
fn part(text: &str, start: usize) -> Result<(String, Option<usize>), InvalidTable> {
    let wrong = |at: usize, wrong: &'static str| InvalidTable { at: start + at, wrong };
    let (name, end) = match text.strip_prefix('"') {
        Some(quoted) => {
            unquoted(quoted).map(|(name, end)| (name, end + 1)).ok_or(wrong(0, "a quote that nothing ends"))?
        }
        None => {
            let end = text.find('.').unwrap_or(text.len());
            if let Some(at) = text[..end].find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')) {
                return Err(wrong(at, "a character that needs quotes"));
            }
            if text.starts_with(|first: char| first.is_ascii_digit()) {
                return Err(wrong(0, "a digit, which needs quotes"));
            }
            (text[..end].to_owned(), end)
        }
    };
    if name.is_empty() {
        return Err(wrong(0, "an empty name"));
    }
    if name.len() > PART_BYTES_MAX {
        return Err(wrong(0, "a name of more than 63 bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err(wrong(0, "a name with a control character"));
    }
    match &text[end..] {
        "" => Ok((name, None)),
        rest if rest.starts_with('.') => Ok((name, Some(start + end + 1))),
        _ => Err(wrong(end, "something behind the quotes")),
    }
}

/// Returns the text inside the quotes, and how many bytes it takes together with the closing quote.
fn unquoted(text: &str) -> Option<(String, usize)> {
    let (mut name, mut at) = (String::new(), 0);
    loop {
        let quote = at + text[at..].find('"')?;
        name.push_str(&text[at..quote]);
        if !text[quote + 1..].starts_with('"') {
            return Some((name, quote + 1));
        }
        name.push('"');
        at = quote + 2;
    }
}

fn is_plain(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_read_as_sql_writes_it_and_written_back() {
        for (text, schema, name) in [
            ("django_session", None, "django_session"),
            ("Sessions2", None, "Sessions2"),
            ("app.django_session", Some("app"), "django_session"),
            ("\"Web Sessions\"", None, "Web Sessions"),
            ("app.\"Web.Sessions\"", Some("app"), "Web.Sessions"),
            ("\"my app\".\"a\"\"b\"", Some("my app"), "a\"b"),
            ("\"2026\"", None, "2026"),
            ("\"größe\"", None, "größe"),
        ] {
            let table = Table::parse(text).unwrap();
            assert_eq!((table.schema(), table.name()), (schema, name), "{text}");
            assert_eq!(table.to_string(), text);
            assert_eq!(Table::parse(&table.to_string()), Ok(table));
        }
    }

    #[test]
    fn quotes_inside_a_name_cannot_end_it() {
        let table = Table::parse("\"a\"\"; DROP TABLE x; --`\"").unwrap();
        assert_eq!(table.quoted('"'), "\"a\"\"; DROP TABLE x; --`\"");
        assert_eq!(table.quoted('`'), "`a\"; DROP TABLE x; --```");
    }

    #[test]
    fn everything_else_is_refused_and_not_repeated() {
        let long = "a".repeat(64);
        for text in [
            "",
            ".",
            "app.",
            ".secret",
            "a.b.secret",
            "secret word",
            "1secret",
            "\"secret",
            "\"\"",
            "\"secret\"x",
            "größe",
            "postgres://secret@db/app",
            "\"sec\0ret\"",
            long.as_str(),
        ] {
            let error = Table::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret") && !error.contains("aaa"), "{text}: {error}");
        }
    }
}
