//! The how-to pages, as an operator follows them: each command of the page, on a site that stands as the page takes for
//! granted.

use std::fs;
use std::os::unix::fs::symlink;

use switchover_harness::free_port;

use crate::reader::Reader;
use crate::{checkout, folder, page};

const SITE: &str = "\
[databases.default]
address = \"sqlite:old.sqlite3\"

[databases.new_session_store]
address = \"sqlite:new.sqlite3\"
";
const MIGRATION: &str = "
[migration]
name = \"to-new\"
host = \"web-1\"
control = \"sqlite:control.sqlite3\"
";

/// Two databases with their tables.
fn site(name: &str, more: &str) -> Reader {
    let reader = Reader::new(&folder(name), free_port().unwrap(), Vec::new());
    reader.write("switchover.toml", &[SITE, more].concat(), false);
    for file in ["sqlite:old.sqlite3", "sqlite:new.sqlite3"] {
        reader.run(&format!("switchover init {file}"));
    }
    reader
}

/// A policy of the reader's own, with its scripts.
fn bring_policy(name: &str) {
    let (of, into) = (checkout(), folder(name).join("site"));
    fs::copy(of.join("guest/components/fallback.wasm"), into.join("my-policy.wasm")).unwrap();
    symlink(of.join("guest/policies/fallback/scripts"), into.join("scripts")).unwrap();
}

#[test]
fn swap() {
    let mut reader = site("how-to-swap", "");
    bring_policy("how-to-swap");
    let said = reader.try_out(&page("docs/swap.md"));
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[1].contains("fallback"), "{said:?}");
}

#[test]
fn monitor() {
    let mut reader = site("how-to-monitor", "");
    bring_policy("how-to-monitor");
    let said = reader.try_out(&page("docs/monitor.md"));
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn roll_back() {
    let mut reader = site("how-to-roll-back", MIGRATION);
    for command in ["init", "advance"] {
        reader.run(&format!("switchover migrate {command}"));
    }
    let said = reader.try_out(&page("docs/roll-back.md"));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("would be made") && said[1].contains("mirror -> off"), "{said:?}");
}

/// The host comes where the page says so: no host starts before the migration has begun.
#[test]
fn migration() {
    let mut reader = site("how-to-migration", MIGRATION);
    let page = page("docs/migration.md");
    let (before, after) = page.split_once("#   now start the hosts").unwrap();
    let begun = reader.try_out(&format!("{before}\n```"));
    assert_eq!(begun.len(), 2, "{begun:?}");
    reader.start("switchover serve");
    // An operator looks again until the epoch is sealed.
    reader.run("timeout 60 bash -c 'until switchover migrate status; do sleep 0.2; done'");
    let said = reader.try_out(&format!("\n```sh\n#{after}"));
    assert_eq!(said.len(), 9, "{said:?}");
    assert!(said.last().unwrap().contains("reverse -> complete"), "{said:?}");
}
