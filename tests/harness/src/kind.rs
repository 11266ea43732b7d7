//! What differs between the kinds of servers: commands to run and addresses to return.

use std::process::{Command, Output};

use crate::programs::Programs;
use crate::site::Site;

/// One kind of server.
pub(crate) trait Kind: Send + Sync + 'static {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// The users who may run it instead of root, the best one first.
    fn users(&self) -> &'static [&'static str];

    /// Finds its programs.
    fn programs(&self) -> anyhow::Result<Programs>;

    /// Makes the data folder, if an empty one is not enough.
    fn initialise(&self, site: &Site) -> Option<Command>;

    /// Starts the server, in the foreground.
    fn serve(&self, site: &Site) -> Command;

    /// Asks the server something through its socket, and creates what a fresh server needs.
    fn ask(&self, site: &Site) -> Command;

    /// Whether the server gave the right answer.
    fn answered(&self, output: &Output) -> bool;

    /// The signal, without `SIG`, that ends it in an orderly way and soon.
    fn stop_signal(&self) -> &'static str;

    /// The name of the first database.
    fn first_database(&self) -> &'static str;

    /// Creates a database. `None` if all databases exist from the start.
    fn create_database(&self, site: &Site, name: &str) -> Option<Command>;

    /// The address of a database over TCP.
    fn url(&self, site: &Site, database: &str) -> String;

    /// The address of a database over TCP with TLS that checks the certificate.
    fn tls_url(&self, site: &Site, database: &str) -> String;

    /// The address of a database through the unix socket.
    fn socket_url(&self, site: &Site, database: &str) -> String;
}
