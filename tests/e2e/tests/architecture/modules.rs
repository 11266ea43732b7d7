//! The modules of a crate and which of them name which, read from its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::page::Edges;

/// A module, as its path from the crate's root. The path of the root is empty.
type Module = Vec<String>;

/// Every file of a crate's sources, with its text.
pub(crate) fn files(source: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![source.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// Which top-level modules each top-level module names.
pub(crate) fn top(source: &Path) -> Edges {
    let mut edges: Edges =
        modules(source).keys().filter_map(|module| Some((module.first()?.clone(), BTreeSet::new()))).collect();
    for (from, to) in links(source) {
        if let ([from, ..], [to, ..]) = (&from[..], &to[..])
            && from != to
        {
            edges.get_mut(from).unwrap().insert(to.clone());
        }
    }
    edges
}

/// Siblings that depend on each other in a circle, with the path of their parent.
pub(crate) fn circles(source: &Path) -> Vec<String> {
    let mut families: BTreeMap<Module, Edges> = BTreeMap::new();
    for (from, to) in links(source) {
        let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        // A module and its own parent count as one.
        if shared < from.len() && shared < to.len() {
            let family = families.entry(from[..shared].to_vec()).or_default();
            family.entry(from[shared].clone()).or_default().insert(to[shared].clone());
        }
    }
    let mut circles = Vec::new();
    for (parent, edges) in families {
        let around: BTreeSet<_> = edges.keys().filter(|module| reaches(&edges, module, module)).cloned().collect();
        if !around.is_empty() {
            circles.push(format!("{}: {}", parent.join("::"), Vec::from_iter(around).join(", ")));
        }
    }
    circles
}

fn reaches(edges: &Edges, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        for name in edges.get(module).into_iter().flatten() {
            if name == to {
                return true;
            }
            if seen.insert(name) {
                next.push(name);
            }
        }
    }
    false
}

/// The modules and the paths that each names. Tests inside them are left out.
fn modules(source: &Path) -> BTreeMap<Module, Vec<Vec<String>>> {
    let module_of = |path: &Path| -> Module {
        let inside = path.strip_prefix(source).unwrap().with_extension("");
        let mut names: Module = inside.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        if names.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
            names.pop();
        }
        names
    };
    let mut found: BTreeMap<Module, Vec<Vec<String>>> = BTreeMap::new();
    for (path, text) in files(source) {
        found.entry(module_of(&path)).or_default().extend(paths(&code(&text)));
    }
    found
}

/// The source without comments, up to the module of tests.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines();
    lines.map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Every path that a `use` names, and every other path that begins with `crate` or `super`.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        let begin = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "];
        let at = statement.lines().scan(0, |at, line| {
            let here = *at;
            *at += line.len() + 1;
            Some((here, line.trim_start()))
        });
        let at = at.filter(|(_, line)| begin.iter().any(|begin| line.starts_with(begin))).last();
        match at {
            Some((at, _)) => {
                let (before, used) = statement.split_at(at);
                rest.push_str(before);
                let used = used.trim_start();
                tree(used[used.find("use ").unwrap() + 4..].trim_end_matches(';'), &[], &mut found);
            }
            None => rest.push_str(statement),
        }
    }
    for start in ["crate::", "super::"] {
        for (at, _) in rest.match_indices(start) {
            let path = &rest[at..];
            let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(path.len());
            let before = rest[..at].chars().next_back();
            if !before.is_some_and(|c| c == ':' || c == '_' || c.is_alphanumeric()) {
                found.push(path[..end].split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect());
            }
        }
    }
    found
}

/// The paths of one tree of a `use`: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn tree(text: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let text = text.trim();
    if let Some(at) = text.find('{') {
        let head: Vec<_> = text[..at].split("::").map(str::trim).filter(|name| !name.is_empty()).collect();
        let before: Vec<_> = before.iter().cloned().chain(head.into_iter().map(str::to_owned)).collect();
        let (mut depth, mut begun) = (0, 0);
        let inside = &text[at + 1..text.rfind('}').unwrap_or(text.len())];
        for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !inside[begun..at].trim().is_empty() {
                        tree(&inside[begun..at], &before, found);
                    }
                    begun = at + 1;
                }
                _ => {}
            }
        }
    } else {
        let path = text.split(" as ").next().unwrap();
        let names =
            path.split("::").map(str::trim).filter(|name| !name.is_empty() && *name != "self").map(str::to_owned);
        found.push(before.iter().cloned().chain(names).collect());
    }
}

/// Each module with each other module that it names.
fn links(source: &Path) -> BTreeSet<(Module, Module)> {
    let modules = modules(source);
    let resolve = |module: &Module, path: &[String]| -> Option<(Module, Vec<String>)> {
        let mut path = path;
        let mut at = match path.first()?.as_str() {
            "crate" => Module::new(),
            "super" => module.clone(),
            name => {
                let child: Module = module.iter().cloned().chain([name.to_owned()]).collect();
                return modules.contains_key(&child).then(|| descend(&modules, module.clone(), path));
            }
        };
        if path[0] == "crate" {
            path = &path[1..];
        }
        while path.first().is_some_and(|name| name == "super") {
            at.pop();
            path = &path[1..];
        }
        Some(descend(&modules, at, path))
    };
    // What a module re-exports of its children.
    let mut shown: BTreeMap<(Module, String), Module> = BTreeMap::new();
    for (module, paths) in &modules {
        for path in paths {
            if let Some((at, rest)) = resolve(module, path)
                && let Some(name) = rest.last()
                && at != *module
            {
                shown.insert((module.clone(), name.clone()), at);
            }
        }
    }
    let mut links = BTreeSet::new();
    for (module, paths) in &modules {
        for path in paths {
            let Some((mut at, rest)) = resolve(module, path) else { continue };
            // Follows re-exports to the module that defines it.
            for _ in 0..4 {
                let Some(next) = rest.first().and_then(|name| shown.get(&(at.clone(), name.clone()))) else { break };
                at = next.clone();
            }
            if at != *module {
                links.insert((module.clone(), at));
            }
        }
    }
    links
}

fn descend(modules: &BTreeMap<Module, Vec<Vec<String>>>, mut at: Module, path: &[String]) -> (Module, Vec<String>) {
    for (index, name) in path.iter().enumerate() {
        let child: Module = at.iter().cloned().chain([name.clone()]).collect();
        if !modules.contains_key(&child) {
            return (at, path[index..].to_vec());
        }
        at = child;
    }
    (at, Vec::new())
}

#[test]
fn circles_are_found_however_they_are_written() {
    let crates = [
        ("use crate::b::B;", "use crate::a::A;"),
        ("use crate::{b::{B, C}};", "use super::a::A;"),
        ("fn f() -> crate::b::B {}", "use crate::A;"),
        ("use super::b;", "pub(crate) struct B(super::a::A);"),
    ];
    for (a, b) in crates {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        put("lib.rs", "mod a;\nmod b;\npub use a::A;\n");
        put("a.rs", a);
        put("b.rs", "struct B;");
        assert_eq!(circles(folder.path()), Vec::<String>::new(), "{a}");
        put("b.rs", b);
        assert_eq!(circles(folder.path()), [": a, b"], "{a} {b}");
    }
}
