//! What differs between the kinds of servers, as commands to run and addresses to give.

use std::process::{Command, Output};

use crate::programs::Programs;
use crate::site::Site;

/// One kind of server.
pub(crate) trait Kind: Send + Sync + 'static {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// The users who may run it in the place of root, the best one first.
    fn users(&self) -> &'static [&'static str];

    /// Finds its programs.
    fn programs(&self) -> anyhow::Result<Programs>;

    /// Makes the data folder, if that takes more than an empty one.
    fn initialise(&self, site: &Site) -> Option<Command>;

    /// The server, in the foreground.
    fn serve(&self, site: &Site) -> Command;

    /// Asks the server something through its socket, and makes what belongs to a fresh server.
    fn ask(&self, site: &Site) -> Command;

    /// Whether it answered what was asked.
    fn answered(&self, output: &Output) -> bool;

    /// The signal, without `SIG`, after which it ends orderly and soon.
    fn stop_signal(&self) -> &'static str;

    /// The name of the database that it begins with.
    fn first_database(&self) -> &'static str;

    /// Makes a database; `None` where all that there are exist from the start.
    fn create_database(&self, site: &Site, name: &str) -> Option<Command>;

    /// The address of a database over TCP.
    fn url(&self, site: &Site, database: &str) -> String;

    /// The address of a database over TCP with TLS that checks the certificate.
    fn tls_url(&self, site: &Site, database: &str) -> String;

    /// The address of a database through the unix socket.
    fn socket_url(&self, site: &Site, database: &str) -> String;
}
