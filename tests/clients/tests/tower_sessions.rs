//! What tower-sessions' own tests do not ask of a store: logouts, outages, ends, and both versions of its core.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use switchover::backends::{Fault, Faulty, MemoryCache, MemoryDatabase, Operation};
use switchover::capabilities::{Database, DatabaseError};
use switchover::{Builtin, Layout, Policy, Switchover};
use switchover_tower_sessions::SwitchoverStore;

async fn store() -> (SwitchoverStore, Faulty<MemoryDatabase>) {
    let database = Faulty::new(MemoryDatabase::with_layout(Layout::SWITCHOVER));
    let switchover = Switchover::builder()
        .database("default", Arc::new(database.clone()) as Arc<dyn Database>)
        .cache(MemoryCache::default())
        .policy(Policy::builtin(Builtin::CachedDb))
        .build()
        .await
        .unwrap();
    (SwitchoverStore::new(switchover.sessions()), database)
}

macro_rules! of_core {
    ($core:ident, $module:ident) => {
        mod $module {
            use std::collections::HashMap;

            use $core::session::{Id, Record};
            use $core::session_store::Error;
            use $core::{ExpiredDeletion, SessionStore};
            use time::{Duration, OffsetDateTime};

            use super::{DatabaseError, Fault, Operation, store};

            fn record(end: OffsetDateTime) -> Record {
                let data = HashMap::from([("cat".to_owned(), serde_json::json!({ "is": ["a", 1, null] }))]);
                Record { id: Id::default(), data: data.into_iter().collect(), expiry_date: end }
            }

            /// Databases keep microseconds.
            fn in_an_hour() -> OffsetDateTime {
                (OffsetDateTime::now_utc() + Duration::hours(1)).replace_nanosecond(123_456_000).unwrap()
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn record_is_found_as_it_was_saved() {
                let (store, _) = store().await;
                let mut record = record(in_an_hour());
                store.create(&mut record).await.unwrap();
                assert_eq!(store.load(&record.id).await.unwrap(), Some(record.clone()));
                record.data.insert("dog".to_owned(), 2.into());
                record.expiry_date += Duration::hours(1);
                store.save(&record).await.unwrap();
                assert_eq!(store.load(&record.id).await.unwrap(), Some(record));
                assert_eq!(store.load(&Id(1)).await.unwrap(), None);
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn key_that_is_taken_is_replaced_by_another() {
                let (store, _) = store().await;
                let mut first = record(in_an_hour());
                store.create(&mut first).await.unwrap();
                let mut second = Record { id: first.id, ..record(in_an_hour()) };
                second.data.clear();
                store.create(&mut second).await.unwrap();
                assert_ne!(first.id, second.id);
                assert_eq!(store.load(&first.id).await.unwrap(), Some(first));
                assert_eq!(store.load(&second.id).await.unwrap(), Some(second));
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn save_after_a_logout_fails_and_brings_nothing_back() {
                let (store, _) = store().await;
                let mut record = record(in_an_hour());
                store.create(&mut record).await.unwrap();
                store.delete(&record.id).await.unwrap();
                store.delete(&record.id).await.unwrap();
                assert!(matches!(store.save(&record).await, Err(Error::Backend(_))));
                assert_eq!(store.load(&record.id).await.unwrap(), None);
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn ended_records_are_not_found_and_are_deleted() {
                let (store, _) = store().await;
                let mut ended = record(OffsetDateTime::now_utc() - Duration::hours(1));
                let mut before_1970 = record(OffsetDateTime::UNIX_EPOCH - Duration::days(1));
                let mut living = record(in_an_hour());
                for record in [&mut ended, &mut before_1970, &mut living] {
                    store.create(record).await.unwrap();
                }
                assert_eq!(store.load(&ended.id).await.unwrap(), None);
                assert_eq!(store.load(&before_1970.id).await.unwrap(), None);
                store.delete_expired().await.unwrap();
                assert_eq!(store.load(&living.id).await.unwrap(), Some(living));
                let mut again = Record { id: ended.id, ..record(in_an_hour()) };
                store.create(&mut again).await.unwrap();
                assert_eq!(again.id, ended.id, "its row is gone");
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn outage_is_an_error_and_never_no_session() {
                let (store, database) = store().await;
                let mut record = record(in_an_hour());
                store.create(&mut record).await.unwrap();
                let away = || Fault::Before(DatabaseError::Unavailable { message: "it is away".to_owned() });
                database.inject(Operation::Read, away());
                database.inject(Operation::Write, away());
                assert!(store.load(&Id(7)).await.is_err());
                for result in [store.save(&record).await, store.delete(&record.id).await] {
                    let error = result.unwrap_err().to_string();
                    assert!(!error.contains(&record.id.to_string()), "{error}");
                }
                database.heal();
                store.save(&record).await.unwrap();
            }
        }
    };
}

of_core!(core_0_14, with_core_0_14);
of_core!(core_0_15, with_core_0_15);
