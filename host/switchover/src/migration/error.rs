//! Why two databases could not be compared.

use std::fmt;

use switchover_core::capabilities::DatabaseError;

/// Why two databases could not be compared.
#[derive(Debug)]
#[non_exhaustive]
pub enum CompareError {
    /// A database did not answer, or gave a wrong answer: check the database and compare again.
    Database {
        /// The database, for people.
        database: String,
        /// Its error.
        source: DatabaseError,
    },
    /// The new table cannot hold everything that the old one can: change it first.
    NotCarried {
        /// Which column, and what to do.
        message: String,
    },
    /// Too many sessions differ: wait until the migration has copied more.
    TooManyDifferences {
        /// The most differences that are looked at.
        max: usize,
    },
}

impl fmt::Display for CompareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database { database, source } => write!(f, "{database}: {source}"),
            Self::NotCarried { message } => f.write_str(message),
            Self::TooManyDifferences { max } => {
                write!(f, "more than {max} sessions differ: the migration has hardly begun; try again later")
            }
        }
    }
}

/// Without `source`: the text of a variant already has its cause.
impl std::error::Error for CompareError {}
