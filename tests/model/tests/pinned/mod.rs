//! Compares the pinned traces and the diagrams of a page with what the model finds, or writes them anew.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use switchover_model::case::Case;
use switchover_model::check::pinned;
use switchover_model::searched::Searched;

fn updates() -> bool {
    env::var_os("UPDATE_GOLDENFILES").is_some_and(|value| value == "1")
}

/// The folder of pinned traces.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Every case breaks its promises by the runs in its file.
pub(crate) fn assert_traces<M: Searched>(name: &str, cases: &[Case<M>]) {
    let mut differing = Vec::new();
    for case in cases {
        let text = match pinned(case) {
            Ok(text) => text,
            Err(kept) => panic!("{} no longer breaks: {kept:?}", case.name),
        };
        let path = folder(name).join(format!("{}.trace", case.name));
        if updates() {
            fs::write(&path, &text).unwrap();
        } else if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            differing.push(case.name);
        }
    }
    assert!(differing.is_empty(), "these traces differ, UPDATE_GOLDENFILES=1 pins them: {differing:?}");
}

/// Every file belongs to a case.
pub(crate) fn assert_no_other_trace<M: Searched>(name: &str, cases: &[Case<M>]) {
    let known: Vec<_> = cases.iter().map(|case| format!("{}.trace", case.name)).collect();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name} belongs to no case: remove it");
    }
}

/// The page has the diagram of each case after a marker that names the case. If two cases have the same run, the marker
/// names both: `<!-- a, b -->`.
pub(crate) fn assert_page(name: &str, diagrams: BTreeMap<&str, String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    let page = fs::read_to_string(&path).unwrap();
    let updated = with_diagrams(&page, diagrams);
    if updates() {
        fs::write(&path, updated).unwrap();
    } else {
        assert!(page == updated, "the page shows other runs than the model finds: UPDATE_GOLDENFILES=1 rewrites them");
    }
}

fn with_diagrams(page: &str, mut left: BTreeMap<&str, String>) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut parts = page.split("<!-- ");
    let mut updated = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (names, rest) = part.split_once(" -->\n").expect("a marker ends its line");
        if names == "end" {
            updated += &format!("<!-- end -->\n{rest}");
            continue;
        }
        let mut diagrams: Vec<_> = names
            .split(", ")
            .map(|name| left.remove(name).unwrap_or_else(|| panic!("no case, or twice: {name}")))
            .collect();
        diagrams.dedup();
        let [diagram] = &diagrams[..] else { panic!("they differ: give each of `{names}` a diagram of its own") };
        assert!(!shown.contains(diagram), "`{names}`: the same is shown above, name both there");
        updated += &format!("<!-- {names} -->\n```mermaid\n{diagram}```\n");
        shown.push(diagram.clone());
    }
    assert!(left.is_empty(), "the page has no marker for {:?}", left.keys());
    updated
}
