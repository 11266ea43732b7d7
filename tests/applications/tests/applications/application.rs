//! The applications: what they run on, and how they keep a session.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::environment::{NO_NODE, has_node, node_modules, python};

/// Of the connections of the shop on Express: as far behind UTC as any zone is. connect-pg-simple writes the ends of
/// sessions in it, without saying so.
const ZONE: &str = "Etc/GMT+12";
const PROJECTS: &str = env!("CARGO_MANIFEST_DIR");

/// A shop, by its framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Application {
    /// express-session with connect-pg-simple.
    Express,
    /// Flask-Session with SQLAlchemy.
    Flask,
}

impl Application {
    /// Why it cannot be run here.
    pub(crate) fn is_missing(self) -> Option<&'static str> {
        match self {
            Self::Express if !has_node() => Some(NO_NODE),
            Self::Express | Self::Flask => None,
        }
    }

    /// A process of the shop, which is at a port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// If its packages cannot be had.
    pub(crate) fn command(self, database: &str, port: u16) -> Result<Command> {
        let mut command = match self {
            Self::Express => {
                let project = project("express");
                let mut node = Command::new("node");
                node.env("NODE_PATH", node_modules(&project)?).env("ZONE", ZONE).arg(project.join("shop.js"));
                node
            }
            Self::Flask => {
                let project = project("flask");
                let mut python = Command::new(python(&project)?);
                python.arg("-B").arg(project.join("shop.py"));
                python
            }
        };
        command.arg(port.to_string()).env("DATABASE", database);
        Ok(command)
    }

    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Express => "session",
            Self::Flask => "sessions",
        }
    }

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Express => "sid",
            Self::Flask => "session_id",
        }
    }

    /// What a session has, as something that can be compared.
    pub(crate) fn payload(self) -> &'static str {
        match self {
            Self::Express => "sess::text",
            Self::Flask => "data",
        }
    }

    /// The statement that inserts so many sessions, as the library would, which end at a distance from now. Their keys
    /// are a name and a number. Their payloads are of the sort that is not kept by whoever reads it as a value.
    pub(crate) fn inserts(self, name: &str, count: u32, ends: &str) -> String {
        let keys = format!("'{name}-' || gen_random_uuid() FROM generate_series(1, {count}) AS n");
        match self {
            Self::Express => format!(
                "INSERT INTO session (expire, sess, sid) SELECT (now() + interval '{ends}') AT TIME ZONE '{ZONE}', \
                 ('{{\"cookie\": {{\"originalMaxAge\":null}},  \"n\":' || n || '.00,\"n\":1e2, \"u\":\"\\u0000\\u00e9\"}}')::json, \
                 {keys}"
            ),
            Self::Flask => format!(
                "INSERT INTO sessions (expiry, data, session_id) SELECT now() AT TIME ZONE 'UTC' + interval '{ends}', \
                 '\\x00ff'::bytea || int4send(n), {keys}"
            ),
        }
    }
}

fn project(name: &str) -> PathBuf {
    Path::new(PROJECTS).join(name)
}
