//! What an error of PostgreSQL's means here. None of its messages that are kept can hold a value of a row.

use std::io::ErrorKind;

use sqlx::Error;
use sqlx::postgres::PgDatabaseError;
use switchover_core::capabilities::DatabaseError;

use crate::server::Failure;
use crate::tls::Words;

const TLS: Words = Words { authority: "`sslrootcert=FILE` in the address", without: "say `sslmode=disable`" };

/// What an error means to the operation that met it; `written` is cleared if the server says that nothing was.
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
    let routine = refused.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::routine);
    match code.as_str() {
        "40001" | "40P01" | "55P03" | "57014" => Failure::Busy(message(&code, refused.message())),
        // A trigger that raises, by whatever code: one row is to blame. The text is not PostgreSQL's.
        _ if routine == Some("exec_stmt_raise") => row(&code),
        // The server ends this connection and has rolled back what was under way on it.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04" => Failure::Lost(message(&code, refused.message())),
        // A standby, after a failover: another connection may reach the new primary.
        "25006" => Failure::Lost(message(&code, refused.message())),
        // The statements that this connection keeps are gone, or were made for columns of other types.
        "26000" => Failure::Lost(message(&code, refused.message())),
        "0A000" if routine == Some("RevalidateCachedQuery") => Failure::Lost(message(&code, refused.message())),
        "42P01" => Failure::corrupt("there is no such table; make it with `switchover init` or Django's `migrate`"),
        // The statement does not suit the table, or may not be executed: the message names columns and tables, no values.
        _ if ["0A", "42", "55"].iter().any(|class| code.starts_with(class)) => {
            Failure::corrupt(message(&code, refused.message()))
        }
        // What the server says of itself: nobody may come in, or it is short of memory, disk or connections.
        _ if ["08", "28", "3D", "53", "57"].iter().any(|class| code.starts_with(class)) => {
            Failure::Refused(DatabaseError::Unavailable { message: message(&code, refused.message()) })
        }
        // A value that does not fit, a constraint, data that is damaged: one row is to blame.
        _ => row(&code),
    }
}

/// The message may name the value: these get words of our own.
fn row(code: &str) -> Failure {
    Failure::Row(format!("the database refuses (SQLSTATE {code})"))
}

/// Why no connection could be made.
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
