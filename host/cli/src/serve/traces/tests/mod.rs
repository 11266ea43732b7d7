//! What a collector is sent for requests at the doors of a server.

mod collector;
mod door;
mod stories;
