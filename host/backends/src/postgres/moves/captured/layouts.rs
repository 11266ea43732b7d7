//! Tables of session libraries that are known by their columns, and which of their rows live.

use switchover_core::moves::KnownTable;

use super::Captured;

/// The columns are from the libraries' own schemas.
const KNOWN: [KnownTable; 6] = [
    KnownTable {
        name: "django",
        columns: &["session_key", "session_data", "expire_date"],
        living: "expire_date > now()",
        upserts: false,
    },
    // `expire` has no time zone, and is written in that of the application. `localtimestamp` is in UTC here, as the driver
    // asks for, and a day is more than any zone is away from it.
    KnownTable {
        name: "connect-pg-simple",
        columns: &["sid", "sess", "expire"],
        living: "expire > localtimestamp - interval '1 day'",
        upserts: true,
    },
    KnownTable {
        name: "tower-sessions",
        columns: &["id", "data", "expiry_date"],
        living: "expiry_date > now()",
        upserts: false,
    },
    KnownTable {
        name: "axum-session",
        columns: &["id", "session", "expires"],
        living: "expires IS NULL OR expires > extract(epoch FROM now())",
        upserts: false,
    },
    KnownTable {
        name: "symfony",
        columns: &["sess_id", "sess_data", "sess_lifetime", "sess_time"],
        living: "sess_lifetime > extract(epoch FROM now())",
        upserts: false,
    },
    KnownTable {
        name: "flask-session",
        columns: &["session_id", "data", "expiry"],
        living: "expiry > localtimestamp - interval '1 day'",
        upserts: false,
    },
];

impl Captured {
    /// The library whose table this is, by its columns.
    pub(in super::super) fn known_table(&self) -> Option<&'static KnownTable> {
        let has = |name: &&str| self.shape.columns.contains(&format!("\"{name}\""));
        KNOWN.iter().find(|known| known.columns.iter().all(has))
    }
}
