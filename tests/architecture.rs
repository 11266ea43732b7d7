//! The layers of the library hold: a test fails on any edge between modules that `docs/architecture.md` does not name.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of the library a module may name. `error`, `limits`, `session` and `version` are words that everybody may use.
const EDGES: [(&str, &[&str]); 14] = [
    ("backends", &["capabilities"]),
    ("capabilities", &[]),
    ("config", &["backends", "capabilities", "host", "policy"]),
    ("counters", &[]),
    ("fakes", &["capabilities", "gate", "store"]),
    ("gate", &[]),
    ("host", &["capabilities", "counters", "gate", "imports", "policy", "router", "sessions", "store"]),
    ("imports", &["capabilities", "counters", "gate", "store"]),
    ("isolation", &["capabilities", "counters", "fakes", "gate", "imports", "policy"]),
    ("policy", &["capabilities", "counters", "fakes", "gate", "imports"]),
    ("router", &["host", "policy", "sessions"]),
    ("sessions", &["host", "policy"]),
    ("store", &["capabilities", "counters", "gate"]),
    ("version", &[]),
];
const WORDS: [&str; 4] = ["error", "limits", "session", "version"];

/// What is known in one place alone: a name, and the modules that may use it.
const KNOWN_IN: [(&str, &[&str]); 6] = [
    ("wasmtime", &["policy", "imports"]),
    ("quick_cache", &["backends"]),
    ("redis", &["backends"]),
    ("rusqlite", &["backends"]),
    ("sqlx", &["backends"]),
    ("toml", &["backends", "config"]),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/switchover/src")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each file with its module and its code, comments left out.
fn modules() -> Vec<(String, PathBuf, String)> {
    let mut found = Vec::new();
    files(&source(), &mut found);
    found
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(source()).unwrap().to_owned();
            let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (first.trim_end_matches(".rs").to_owned(), inside, code.join("\n"))
        })
        .collect()
}

fn names_after<'a>(code: &'a str, before: &str) -> impl Iterator<Item = &'a str> {
    code.match_indices(before).map(move |(at, _)| {
        let rest = &code[at + before.len()..];
        &rest[..rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())]
    })
}

#[test]
fn modules_name_only_the_modules_below_them() {
    let all: BTreeSet<_> = EDGES.iter().map(|(module, _)| *module).collect();
    let mut seen = BTreeSet::new();
    for (module, path, code) in modules() {
        for name in names_after(&code, "crate::") {
            if !all.contains(name) || name == module || WORDS.contains(&name) {
                continue;
            }
            let allowed = EDGES.iter().find(|(from, _)| *from == module).map_or(&[][..], |(_, to)| to);
            assert!(
                module == "lib" || allowed.contains(&name),
                "{}: `{module}` must not know `{name}`",
                path.display()
            );
            seen.insert((module.clone(), name.to_owned()));
        }
    }
    for (module, to) in EDGES {
        for name in to {
            let edge = (module.to_owned(), (*name).to_owned());
            assert!(seen.contains(&edge), "the edge {module} -> {name} is allowed and not used: take it out");
        }
    }
}

#[test]
fn drivers_and_wasmtime_are_known_in_one_place() {
    for (module, path, code) in modules() {
        for (name, places) in KNOWN_IN {
            let used = code.contains(&format!("{name}::")) || code.contains(&format!("use {name}"));
            assert!(!used || places.contains(&module.as_str()), "{}: `{module}` must not know {name}", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (_, path, _) in modules() {
        let text = fs::read_to_string(source().join(&path)).unwrap();
        assert!(text.starts_with("//! "), "{} does not open with a sentence that says what it is for", path.display());
    }
}

#[test]
fn architecture_page_names_every_module() {
    let page = fs::read_to_string(source().join("../../../docs/architecture.md")).unwrap();
    for (module, _) in EDGES {
        assert!(page.contains(&format!("`{module}`")), "docs/architecture.md does not name `{module}`");
    }
}
