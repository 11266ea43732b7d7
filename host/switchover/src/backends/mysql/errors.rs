//! What an error of MySQL's or MariaDB's means here. None of its messages that are kept can hold a value of a row.

use std::io::ErrorKind;

use sqlx::Error;
use sqlx::mysql::MySqlDatabaseError;

use crate::backends::server::Failure;
use crate::backends::tls::Words;
use crate::capabilities::DatabaseError;

const TLS: Words = Words { authority: "`ssl-ca=FILE` in the address", without: "say `ssl-mode=DISABLED`" };

/// A row is under this key already.
pub(super) const DUPLICATE_KEY: u16 = 1062;

/// The server's number of an error, if the server said it.
pub(super) fn number(error: &Error) -> Option<u16> {
    match error {
        Error::Database(refused) => refused.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number),
        _ => None,
    }
}

/// What an error means to the operation that met it; `written` is cleared if the server says that nothing was.
pub(super) fn failure(error: &Error, written: &mut bool) -> Failure {
    let Error::Database(refused) = error else {
        return match error {
            Error::ColumnDecode { .. } | Error::Decode(_) => {
                Failure::corrupt("a column has another type than Django's")
            }
            Error::Io(error) => Failure::Lost(format!("the connection broke: {error}")),
            Error::Tls(_) => Failure::Lost("the connection broke: TLS failed".to_owned()),
            _ => Failure::Lost("the connection broke: an answer that the driver does not understand".to_owned()),
        };
    };
    let number = number(error).unwrap_or_default();
    let message = || format!("{} (error {number})", refused.message());
    match number {
        // It shuts down, or this connection was killed: whether a commit came before, it does not say.
        1053 | 1152 | 1184 | 1927 => return Failure::Lost(message()),
        _ => *written = false,
    }
    match number {
        // Lock waits, deadlocks, changed rows, statements that took too long or were stopped, transactions that a replication group
        // rolled back. The message of 1062 names the key.
        1020 | 1205 | 1213 | 1317 | 1969 | 3024 | 3101 | 3572 => Failure::Busy(message()),
        DUPLICATE_KEY => Failure::Busy("another writer has just inserted this key".to_owned()),
        // A replica, after a failover: another connection may reach the new primary. Or MySQL has ended an idle connection, and said so.
        1290 | 1792 | 1836 | 4031 => Failure::Lost(message()),
        1146 => Failure::corrupt("there is no such table; make it with `switchover init` or Django's `migrate`"),
        1054 | 1142 | 1143 => Failure::corrupt(message()),
        // A value that does not fit, a constraint, a trigger that raises: one row is to blame.
        1048 | 1118 | 1264 | 1265 | 1292 | 1364 | 1366 | 1406 | 1451 | 1452 | 1644 | 3140 | 3819 | 3854 | 4025 => {
            Failure::Row(format!("the table does not take this row (error {number})"))
        }
        _ => Failure::Refused(DatabaseError::Unavailable { message: message() }),
    }
}

/// Why no connection could be made.
pub(super) fn unavailable(error: &Error) -> DatabaseError {
    let message = match error {
        Error::Database(refused) => {
            format!("{} (error {})", refused.message(), number(error).unwrap_or_default())
        }
        Error::Io(error) if error.kind() == ErrorKind::NotFound => {
            format!("{error}: the socket of the address, or a file of certificates that it names")
        }
        Error::Io(error) => TLS.explain(error).unwrap_or_else(|| error.to_string()),
        Error::Tls(error) => TLS.explain(error.as_ref()).unwrap_or_else(|| format!("TLS: {error}")),
        Error::Configuration(error) => format!("the address: {error}"),
        _ => "it does not answer as MySQL does".to_owned(),
    };
    DatabaseError::Unavailable { message }
}
