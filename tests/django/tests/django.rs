//! Django and Switchover on one table, both ways, on SQLite, PostgreSQL and MariaDB.
//!
//! A [`django::place::Place`] is a database that both open: Switchover by its backend, Django in a
//! [`django::peer::Peer`], a Python process that a test asks to create, load, save and delete sessions as a request
//! would. What is stored is compared as the database's driver gives it, without Django and without Switchover. Django
//! comes from PyPI, into a virtual environment that the first test makes.

mod django {
    /// Runs each claim once for each database.
    macro_rules! claims {
        ($($claim:ident,)*) => {
            mod sqlite { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::django::place::Kind::Sqlite).await
                }
            )* }
            mod postgres { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::django::place::Kind::Postgres).await
                }
            )* }
            mod mariadb { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::django::place::Kind::MariaDb).await
                }
            )* }
        };
    }

    mod caches;
    mod cleaner;
    mod door;
    mod environment;
    mod fallback;
    mod fuzzed;
    mod interpreters;
    mod peer;
    mod place;
    mod program;
    mod rows;
    mod samples;
    mod shop;
    mod tables;
    mod zones;
}
