//! One suite that every backend passes. It tests the promises in the docs of the traits, claim by claim.
//!
//! A claim is a function over a [`conformance::fixture::Fixture`]; [`claims`] runs it once for each database. Claims
//! about one backend only (a file that Django wrote, a fault) are in files of their own.

#[cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql", feature = "memory", feature = "flag-file"))]
mod conformance {
    /// Runs each claim once for each database. Databases with tables for each layout run it for each.
    macro_rules! claims {
        ($($claim:ident,)*) => {
            mod memory { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::conformance::fixture::Fixture::memory()).await
                }
            )* }
            mod faulty { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::conformance::fixture::Fixture::faulty()).await
                }
            )* }
            mod sqlite { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::conformance::fixture::Fixture::sqlite().await?).await
                }
            )* }
            mod sqlite_own { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    let layout = switchover_core::Layout::SWITCHOVER;
                    super::$claim(crate::conformance::fixture::Fixture::sqlite_of(layout).await?).await
                }
            )* }
            mod postgres { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::conformance::fixture::Fixture::postgres().await?).await
                }
            )* }
            mod postgres_own { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    let layout = switchover_core::Layout::SWITCHOVER;
                    super::$claim(crate::conformance::fixture::Fixture::postgres_of(layout).await?).await
                }
            )* }
            mod mariadb { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::conformance::fixture::Fixture::mariadb().await?).await
                }
            )* }
            mod mariadb_own { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    let layout = switchover_core::Layout::SWITCHOVER;
                    super::$claim(crate::conformance::fixture::Fixture::mariadb_of(layout).await?).await
                }
            )* }
        };
    }

    /// Runs each claim about side tables once for each kind of database.
    macro_rules! on_each {
        ($($claim:ident,)*) => {
            mod postgres { $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::conformance::side_fixture::Place::Postgres).await
                }
            )* }
            mod mariadb { $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::conformance::side_fixture::Place::MariaDb).await
                }
            )* }
            mod sqlite { $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::conformance::side_fixture::Place::Sqlite).await
                }
            )* }
        };
    }

    mod cache;
    mod cache_memory;
    mod character_sets;
    mod collations;
    mod control;
    mod damaged;
    mod expiry;
    mod faults;
    mod fixture;
    mod flags;
    mod holds;
    mod late;
    mod layouts;
    mod mysql_server;
    mod others;
    mod packets;
    mod plans;
    mod pooler;
    mod protections;
    #[cfg(feature = "redis")]
    mod redis_cache;
    #[cfg(feature = "redis")]
    mod redis_connection;
    #[cfg(feature = "redis")]
    mod redis_faults;
    #[cfg(feature = "redis")]
    mod redis_fixture;
    #[cfg(feature = "redis")]
    mod redis_flags;
    #[cfg(feature = "redis")]
    mod redis_interleaving;
    #[cfg(feature = "redis")]
    mod redis_looks;
    mod refusals;
    mod refused;
    mod rows;
    mod server_faults;
    mod server_fixture;
    mod server_work;
    mod settings;
    mod shapes;
    mod side_fence;
    mod side_fixture;
    mod side_locks;
    mod side_marks;
    mod side_plans;
    mod sqlite_file;
    mod sqlite_locks;
    mod statistics;
    mod strain;
    mod sweeps;
    #[cfg(feature = "redis")]
    mod tls;
}
