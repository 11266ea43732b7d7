//! What docs/architecture.md says about crates and modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The crates whose modules the page lists.
pub(crate) const WITH_MODULES: [&str; 4] =
    ["switchover", "switchover-backends", "switchover-core", "switchover-runtime"];

pub(crate) type Edges = BTreeMap<String, BTreeSet<String>>;

/// Reads the lines "* `a`: … May name `b`, `c`." of a text. "May name nothing" gives an empty set.
fn list(text: &str) -> Edges {
    let mut found = Edges::new();
    // Joins the lines that continue one, which begin with spaces.
    let text = text.replace("\n  ", " ");
    for line in text.lines().filter_map(|line| line.strip_prefix("* `")) {
        let (name, rest) = line.split_once('`').unwrap();
        let (_, names) = rest.split_once("May name ").unwrap_or_else(|| panic!("{name}: what may it name?"));
        let names = names.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(found.insert(name.to_owned(), names).is_none(), "{name} stands twice");
    }
    found
}

fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, after) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    after.split("\n#").next().unwrap()
}

fn read(root: &Path) -> String {
    fs::read_to_string(root.join("docs/architecture.md")).unwrap()
}

/// The crates and what each may name.
pub(crate) fn crates(root: &Path) -> Edges {
    list(section(&read(root), "## Crates"))
}

/// The modules of some crates and what each may name.
pub(crate) fn modules(root: &Path) -> BTreeMap<String, Edges> {
    let page = read(root);
    let headings = page.lines().filter_map(|line| line.strip_prefix("### Modules of `")?.strip_suffix('`'));
    let of = |name: &str| (name.to_owned(), list(section(&page, &format!("### Modules of `{name}`"))));
    headings.map(of).collect()
}
