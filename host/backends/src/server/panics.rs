//! A driver that panics affects only the operations that it was working on, and no later ones.

use std::time::{Duration, Instant};

use switchover_core::{Payload, Session, SessionKey};

use super::*;

/// Each operation must be answered long before this.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than there are lanes of any kind.
const PANICS: usize = 5;
/// The payload that makes the driver panic.
const FATAL_PAYLOAD: &str = "fatal";
const FATAL_KEY: &str = "fatalkey";
const FATAL_LIMIT: u32 = 13;

struct Fragile;

struct FragileLink {
    may_have_written: bool,
}

impl Driver for Fragile {
    type Link = FragileLink;

    fn new(_: &str, _: Options) -> Result<Self, DatabaseError> {
        Ok(Self)
    }

    fn summary(&self) -> String {
        "fragile".to_owned()
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::of("fragile")
    }

    async fn connect(&self) -> Result<FragileLink, DatabaseError> {
        Ok(FragileLink { may_have_written: false })
    }
}

fn carry(batch: &[Write]) -> Result<Vec<WriteOutcome>, Failure> {
    let fatal =
        |write: &Write| matches!(write, Write::Upsert(session) if session.payload.as_text() == Some(FATAL_PAYLOAD));
    assert!(!batch.iter().any(fatal), "this driver panics on purpose");
    Ok(batch.iter().map(|_| WriteOutcome::Done(None)).collect())
}

impl SideLink for FragileLink {}

impl Link for FragileLink {
    fn may_have_written(&mut self) -> &mut bool {
        &mut self.may_have_written
    }

    async fn load(&mut self, keys: &[SessionKey], _: Option<&Fence>) -> Result<Vec<Found>, Failure> {
        assert!(!keys.contains(&key(FATAL_KEY)), "this driver panics on purpose");
        Ok(Vec::new())
    }

    async fn existing(&mut self, _keys: &[SessionKey], _: Option<&Fence>) -> Result<Vec<SessionKey>, Failure> {
        Ok(Vec::new())
    }

    async fn write(
        &mut self,
        batch: &[Write],
        _: &Manner,
        _: bool,
        _: [Instant; 2],
    ) -> Result<Vec<WriteOutcome>, Failure> {
        carry(batch)
    }

    async fn begin(&mut self, _: Instant, _: Option<&Fence>) -> Result<(), Failure> {
        Ok(())
    }

    async fn lock(&mut self, keys: &[SessionKey], _: Instant) -> Result<Vec<Option<Session>>, Failure> {
        Ok(vec![None; keys.len()])
    }

    async fn write_in(&mut self, batch: &[Write], _: Instant) -> Result<Vec<WriteOutcome>, Failure> {
        carry(batch)
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn roll_back(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn delete_expired(&mut self, _: Option<Timestamp>, limit: u32, _: u64) -> Result<(u32, u32), Failure> {
        assert_ne!(limit, FATAL_LIMIT, "this driver panics on purpose");
        Ok((0, 0))
    }

    async fn scan(&mut self, _: Option<&Cursor>, _: u32, _: bool) -> Result<Scan, Failure> {
        Ok(Scan::default())
    }

    async fn scan_past(&mut self, _: Option<&Cursor>, _: &str) -> Result<Scan, Failure> {
        Ok(Scan::default())
    }

    async fn strain(&mut self) -> Result<Strain, Failure> {
        Ok(Strain::NONE)
    }

    async fn identity(&mut self) -> Result<Option<Identity>, Failure> {
        Ok(None)
    }

    async fn feeds(&mut self) -> Result<Feeds, Failure> {
        Ok(Feeds::default())
    }

    async fn other_columns(&mut self) -> Result<Vec<switchover_core::Column>, Failure> {
        Ok(Vec::new())
    }

    async fn check_columns(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn expired_left(&mut self, _: Option<Timestamp>, _: Instant) -> Result<ExpiredLeft, Failure> {
        Ok(ExpiredLeft::default())
    }

    async fn statistics(&mut self, _: Instant) -> Result<Statistics, Failure> {
        Ok(Statistics::default())
    }

    async fn missing_schema(&mut self) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    async fn execute_schema(&mut self, _: &[String]) -> Result<(), Failure> {
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn close(self) {}
}

fn key(text: &str) -> SessionKey {
    SessionKey::parse(text).unwrap()
}

fn upsert(payload: &str) -> Vec<Write> {
    let (key, payload) = (key("aaaaaaaa"), Payload::from(payload));
    vec![Write::Upsert(Session::new(key, payload, Timestamp::from_micros(1)))]
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

async fn fragile() -> Server {
    ServerBuilder::of::<Fragile>("").connect().await.unwrap()
}

async fn close(server: &Server) {
    tokio::time::timeout(PATIENCE, server.close()).await.expect("every lane ends, also one that followed another");
}

#[tokio::test]
async fn write_that_panics_has_an_unknown_outcome_and_its_key_can_be_written_again() {
    let server = fragile().await;
    for _ in 0..PANICS {
        let deadline = deadline();
        let lost = server.write(upsert(FATAL_PAYLOAD), Terms::by(deadline)).await.unwrap_err();
        assert!(matches!(lost, DatabaseError::UnknownOutcome { .. }), "{lost:?}");
        assert!(Instant::now() < deadline, "its caller got no answer before the deadline");
        server.write(upsert("v1"), Terms::by(deadline)).await.unwrap();
    }
    close(&server).await;
}

#[tokio::test]
async fn lane_that_panics_is_followed_by_another() {
    let server = fragile().await;
    for _ in 0..PANICS {
        let lost = server.read(vec![Read::Load(key(FATAL_KEY))], Terms::by(deadline())).await.unwrap_err();
        assert!(matches!(lost, DatabaseError::Unavailable { .. }), "{lost:?}");
        let mut transaction = server.begin(Terms::by(deadline())).await.unwrap();
        let lost = transaction.write(upsert(FATAL_PAYLOAD)).await.unwrap_err();
        assert!(matches!(lost, DatabaseError::Unavailable { .. }), "{lost:?}");
        let lost = server.upkeep().delete_expired(None, FATAL_LIMIT, deadline()).await.unwrap_err();
        assert!(matches!(lost, DatabaseError::UnknownOutcome { .. }), "{lost:?}");
    }
    let read = server.read(vec![Read::Load(key("aaaaaaaa"))], Terms::by(deadline())).await.unwrap();
    assert!(matches!(read[..], [ReadOutcome::Session(None)]), "{read:?}");
    let mut transaction = server.begin(Terms::by(deadline())).await.unwrap();
    transaction.write(upsert("v1")).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(server.upkeep().delete_expired(None, 1, deadline()).await.unwrap(), 0);
    close(&server).await;
}
