//! Translates the errors of MySQL and MariaDB. No message that is kept can contain a value of a row.

use std::io::ErrorKind;

use sqlx::Error;
use sqlx::mysql::MySqlDatabaseError;
use switchover_core::capabilities::DatabaseError;

use crate::server::Failure;
use crate::table::MISSING_TABLE;
use crate::tls::Words;

const TLS: Words = Words { authority: "`ssl-ca=FILE` in the address", without: "say `ssl-mode=DISABLED`" };

/// There is no such table.
pub(super) const NO_TABLE: u16 = 1146;
/// A row is under this key already, or another unique index has the row's value.
const DUPLICATE_KEY: u16 = 1062;

/// Errors about the server itself: it lacks disk, memory, threads or statements, admits nobody, or is not part of its
/// cluster now.
const OF_THE_SERVER: [u16; 27] = [
    1021, 1030, 1037, 1038, 1040, 1041, 1044, 1045, 1047, 1049, 1105, 1114, 1129, 1130, 1135, 1158, 1159, 1160, 1161,
    1180, 1181, 1203, 1206, 1226, 1227, 1461, 3100,
];

/// Whether an insert found a row under its session key. The message names the index, in every language of the server. A
/// unique index of another column, which came after the host had checked the table, says nothing about the session.
pub(super) fn is_of_the_key(error: &Error) -> bool {
    let named = |message: &str| message.contains("PRIMARY'");
    matches!(error, Error::Database(refused) if number(error) == Some(DUPLICATE_KEY) && named(refused.message()))
}

/// The server's number of an error, if the error came from the server.
pub(super) fn number(error: &Error) -> Option<u16> {
    match error {
        Error::Database(refused) => refused.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number),
        _ => None,
    }
}

/// Says what an error means for its operation. Clears `written` if the server says that nothing was written.
pub(super) fn failure(error: &Error, written: &mut bool) -> Failure {
    let Error::Database(_) = error else {
        return match error {
            Error::ColumnDecode { .. } | Error::Decode(_) => {
                Failure::corrupt("a column has another type than its layout's")
            }
            Error::Io(error) => Failure::Lost(format!("the connection broke: {error}")),
            Error::Tls(_) => Failure::Lost("the connection broke: TLS failed".to_owned()),
            _ => Failure::Lost("the connection broke: an answer that the driver does not understand".to_owned()),
        };
    };
    let number = number(error).unwrap_or_default();
    // A trigger may raise any number, with a text that holds a value of the row.
    let message = || format!("{} (error {number})", words(number));
    match number {
        // The server shuts down, or this connection was killed. It does not say whether a commit happened before.
        1053 | 1152 | 1184 | 1927 => return Failure::Lost(message()),
        _ => *written = false,
    }
    match number {
        // Lock waits, deadlocks, changed rows, statements that took too long or were stopped, transactions that a
        // replication group rolled back. The message of 1062 names the key.
        1020 | 1205 | 1213 | 1317 | 1969 | 3024 | 3101 | 3572 => Failure::Busy(message()),
        DUPLICATE_KEY if is_of_the_key(error) => Failure::Busy("another writer has just inserted this key".to_owned()),
        // The server is a replica, after a failover: another connection may reach the new primary. Or MySQL has closed
        // an idle connection, and reports it.
        1290 | 1792 | 1836 | 4031 => Failure::Lost(message()),
        NO_TABLE => Failure::corrupt(format!("there is no such table: {MISSING_TABLE}")),
        1054 | 1142 | 1143 => Failure::corrupt(message()),
        // The prepared statements of this connection are gone.
        1243 | 1615 => Failure::Lost(message()),
        _ if OF_THE_SERVER.contains(&number) => Failure::Refused(DatabaseError::Unavailable { message: message() }),
        // A value does not fit, a constraint refuses it, or a trigger raised an error with whatever number: one row is
        // the cause. The message may contain the value.
        _ => Failure::Row(format!("the database refuses (error {number})")),
    }
}

/// What a number means, where the server's own text is not kept.
fn words(number: u16) -> &'static str {
    match number {
        1205 | 3572 => "a lock was not granted in time",
        1213 | 3101 => "a deadlock",
        1020 => "a row was changed meanwhile",
        1317 | 1969 | 3024 => "the statement was stopped",
        1053 | 1152 | 1184 | 1927 | 4031 => "the server closed the connection",
        1290 | 1792 | 1836 => "the server is read-only",
        1054 => "a column is missing",
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 => "this user may not do that",
        1021 | 1114 => "the disk or the table is full",
        1037 | 1038 | 1041 => "the server is short of memory",
        1040 | 1203 | 1226 => "too many connections",
        _ => "the server refuses the statement",
    }
}

/// As [`failure`], for statements that carry no values of rows and run no trigger: the message is kept.
pub(super) fn schema_failure(error: &Error, written: &mut bool) -> Failure {
    let kept = match error {
        Error::Database(refused) => format!("{} (error {})", refused.message(), number(error).unwrap_or_default()),
        _ => return failure(error, written),
    };
    match failure(error, written) {
        missing if number(error) == Some(NO_TABLE) => missing,
        Failure::Row(_) | Failure::Refused(DatabaseError::Corrupt { .. }) => Failure::corrupt(kept),
        Failure::Refused(DatabaseError::Unavailable { .. }) => {
            Failure::Refused(DatabaseError::Unavailable { message: kept })
        }
        other => other,
    }
}

/// The error for a connection that could not be made.
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
