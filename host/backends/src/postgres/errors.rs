//! Translates the errors of PostgreSQL. No message that is kept can contain a value of a row.

use std::io::ErrorKind;

use sqlx::Error;
use sqlx::postgres::PgDatabaseError;
use switchover_core::capabilities::DatabaseError;

use super::functions::{FENCED, LATE};
use crate::server::Failure;
use crate::table::MISSING_TABLE;
use crate::tls::Words;

/// A function of the side tables is called that is not there.
const UNPREPARED: &str = "the side tables of migrations are not prepared, or the columns of the session table have \
                          changed since: prepare them again";

const TLS: Words = Words { authority: "`sslrootcert=FILE` in the address", without: "say `sslmode=disable`" };

/// Says what an error means for its operation. Clears `written` if the server says that nothing was written.
pub(super) fn failure(error: &Error, written: &mut bool) -> Failure {
    let Error::Database(refused) = error else {
        return match error {
            Error::ColumnDecode { .. } | Error::Decode(_) => {
                Failure::corrupt("a column has another type than its layout's")
            }
            Error::Io(error) => Failure::Lost(format!("the connection broke: {error}")),
            Error::Tls(_) => Failure::Lost("the connection broke: TLS failed".to_owned()),
            _ => Failure::Lost("the connection broke: an answer that the driver does not understand".to_owned()),
        };
    };
    *written = false;
    let code = refused.code().unwrap_or_default().into_owned();
    let details = refused.try_downcast_ref::<PgDatabaseError>();
    let routine = details.and_then(PgDatabaseError::routine);
    // What a function says, that of a trigger for example, may hold a value of the row.
    let is_of_a_function = details.is_some_and(|details| details.r#where().is_some());
    let said = || if is_of_a_function { in_a_function(&code) } else { message(&code, refused.message()) };
    match code.as_str() {
        "40001" | "40P01" | "55P03" | "57014" => Failure::Busy(busy(&code)),
        FENCED => Failure::Refused(DatabaseError::Fenced),
        "42883" if !is_of_a_function => Failure::corrupt(UNPREPARED),
        // A trigger raised an error, with whatever code: one row is the cause. The text is not PostgreSQL's.
        _ if routine == Some("exec_stmt_raise") => row(&code),
        // The server closes this connection, and has rolled back its open transaction.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04" => Failure::Lost(said()),
        // A standby, after a failover: another connection may reach the new primary.
        "25006" => Failure::Lost(said()),
        // The statements that this connection keeps are gone, or were made for columns of other types.
        "26000" => Failure::Lost(said()),
        "0A000" if routine == Some("RevalidateCachedQuery") => Failure::Lost(said()),
        // A statement inside a trigger that does not suit: one row is the cause.
        _ if is_of_a_function && ["0A", "42", "55"].iter().any(|class| code.starts_with(class)) => row(&code),
        "42P01" => Failure::corrupt(format!("there is no such table: {MISSING_TABLE}")),
        // The statement does not suit the table, or is not allowed. The message names columns and tables, no values.
        _ if ["0A", "42", "55"].iter().any(|class| code.starts_with(class)) => Failure::corrupt(said()),
        // The error is about the server itself: it admits nobody, or lacks memory, disk or connections.
        _ if ["08", "28", "3D", "53", "57"].iter().any(|class| code.starts_with(class)) => {
            Failure::Refused(DatabaseError::Unavailable { message: said() })
        }
        // A value that does not fit, a constraint, or damaged data: one row is the cause.
        _ => row(&code),
    }
}

/// The numbers that a batch found too high for it: the place of each in the batch, counted from 1, and the number.
pub(super) fn late_numbers(error: &Error) -> Option<Vec<(usize, u64)>> {
    let Error::Database(refused) = error else { return None };
    if refused.code().as_deref() != Some(LATE) {
        return None;
    }
    let pair = |pair: &str| {
        let (place, number) = pair.split_once(':')?;
        Some((place.parse().ok()?, number.parse().ok()?))
    };
    refused.message().split(',').map(pair).collect()
}

/// What keeps a statement waiting; a trigger may raise the same codes, with a text of its own.
fn busy(code: &str) -> String {
    let what = match code {
        "40001" => "a row was changed meanwhile",
        "40P01" => "a deadlock",
        "55P03" => "a lock was not granted in time",
        _ => "the statement was canceled",
    };
    message(code, what)
}

fn in_a_function(code: &str) -> String {
    message(code, "an error in a function of the database")
}

/// PostgreSQL's message may contain the value, so this writes its own.
fn row(code: &str) -> Failure {
    Failure::Row(format!("the database refuses (SQLSTATE {code})"))
}

/// The error for a connection that could not be made.
pub(super) fn unavailable(error: &Error) -> DatabaseError {
    let message = match error {
        Error::Database(refused) => message(&refused.code().unwrap_or_default(), refused.message()),
        Error::Io(error) if error.kind() == ErrorKind::NotFound => {
            format!("{error}: the socket of the address, or a file of certificates that it names")
        }
        Error::Io(error) => TLS.explain(error).unwrap_or_else(|| error.to_string()),
        Error::Tls(error) => TLS.explain(error.as_ref()).unwrap_or_else(|| format!("TLS: {error}")),
        Error::Configuration(error) => format!("the address: {error}"),
        _ => "it does not answer as PostgreSQL does".to_owned(),
    };
    DatabaseError::Unavailable { message }
}

fn message(code: &str, text: &str) -> String {
    format!("{text} (SQLSTATE {code})")
}
