//! What an error of MySQL's or MariaDB's means here. None of its messages that are kept can hold a value of a row.

use std::io::ErrorKind;

use sqlx::Error;
use sqlx::mysql::MySqlDatabaseError;
use switchover_core::capabilities::DatabaseError;

use crate::server::Failure;
use crate::tls::Words;

const TLS: Words = Words { authority: "`ssl-ca=FILE` in the address", without: "say `ssl-mode=DISABLED`" };

/// A row is under this key already, or another unique index has the row's value.
const DUPLICATE_KEY: u16 = 1062;

/// What a server says of itself: it is short of disk, memory, threads or statements, lets nobody in, or is no part of its cluster now.
const OF_THE_SERVER: [u16; 27] = [
    1021, 1030, 1037, 1038, 1040, 1041, 1044, 1045, 1047, 1049, 1105, 1114, 1129, 1130, 1135, 1158, 1159, 1160, 1161,
    1180, 1181, 1203, 1206, 1226, 1227, 1461, 3100,
];

/// Whether an insert found a row under its session key. The message names the index, in every language of the server. A unique index of
/// another column, which came after the host had checked the table, says nothing of the session.
pub(super) fn is_of_the_key(error: &Error) -> bool {
    let named = |message: &str| message.contains("PRIMARY'");
    matches!(error, Error::Database(refused) if number(error) == Some(DUPLICATE_KEY) && named(refused.message()))
}

/// The server's number of an error, if the server said it.
fn number(error: &Error) -> Option<u16> {
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
                Failure::corrupt("a column has another type than its layout's")
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
        DUPLICATE_KEY if is_of_the_key(error) => Failure::Busy("another writer has just inserted this key".to_owned()),
        // A replica, after a failover: another connection may reach the new primary. Or MySQL has ended an idle connection, and said so.
        1290 | 1792 | 1836 | 4031 => Failure::Lost(message()),
        1146 => Failure::corrupt("there is no such table; make it with `switchover init` or Django's `migrate`"),
        1054 | 1142 | 1143 => Failure::corrupt(message()),
        // The statements that this connection keeps are gone.
        1243 | 1615 => Failure::Lost(message()),
        _ if OF_THE_SERVER.contains(&number) => Failure::Refused(DatabaseError::Unavailable { message: message() }),
        // A value that does not fit, a constraint, a trigger that raises by whatever number: one row is to blame. The message may name
        // the value.
        _ => Failure::Row(format!("the database refuses (error {number})")),
    }
}

/// As [`failure`], for statements that carry no values of rows: the message is kept.
pub(super) fn schema_failure(error: &Error, written: &mut bool) -> Failure {
    match (failure(error, written), error) {
        (Failure::Row(_), Error::Database(refused)) => {
            Failure::corrupt(format!("{} (error {})", refused.message(), number(error).unwrap_or_default()))
        }
        (failure, _) => failure,
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
