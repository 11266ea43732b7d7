//! The settings `databases` and `previous`, parsed once for each call.

use switchover_guest::{Error, ErrorCode, Host, Result};

use crate::owner::owner;

/// Databases of both lists together. A call of `clear-expired` asks each of them, and a host allows 64 host calls.
pub(crate) const DATABASES_MAX: usize = 32;

/// Which databases there are now, and before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lists {
    now: Vec<String>,
    /// Empty: n does not change.
    before: Vec<String>,
}

/// Where a key lives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place<'s> {
    /// Decides every write, and is read first.
    pub(crate) home: &'s str,
    /// Where the key is on its way to. `None`: it stays.
    pub(crate) next: Option<&'s str>,
}

impl Lists {
    /// Of this version's settings; the error names the setting and what to write instead.
    pub(crate) fn of(host: &impl Host) -> Result<Self> {
        let Some(now) = host.setting("databases") else {
            return Err(invalid("databases", "is not set", "name the databases that sessions are spread over"));
        };
        let now = parse("databases", &now)?;
        let before = host.setting("previous").map(|before| parse("previous", &before)).transpose()?.unwrap_or_default();
        let lists = Self { now, before };
        let count = lists.all().len();
        if count > DATABASES_MAX {
            let what = format!("names {count} databases together with `previous`; {DATABASES_MAX} are allowed");
            return Err(invalid("databases", &what, "spread sessions over fewer"));
        }
        Ok(lists)
    }

    /// Each database of both lists once.
    pub(crate) fn all(&self) -> Vec<&str> {
        let before = self.before.iter().filter(|name| !self.now.contains(name));
        self.now.iter().chain(before).map(String::as_str).collect()
    }

    /// Where a key lives under these settings.
    pub(crate) fn place(&self, key: &str) -> Place<'_> {
        let now = owner_of(&self.now, key);
        match owner_of(&self.before, key).filter(|before| Some(*before) != now) {
            Some(before) => Place { home: before, next: now },
            // `parse` refuses an empty list.
            None => Place { home: now.unwrap_or_default(), next: None },
        }
    }
}

fn owner_of<'s>(names: &'s [String], key: &str) -> Option<&'s str> {
    owner(&names.iter().map(String::as_str).collect::<Vec<_>>(), key)
}

fn parse(setting: &str, list: &str) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for name in list.split(',').map(str::trim) {
        if name.is_empty() {
            let remedy = match setting {
                "previous" => "name the databases of before, or leave it out while n does not change",
                _ => "name the databases that sessions are spread over",
            };
            return Err(invalid(setting, "has an empty name in it", remedy));
        }
        if names.iter().any(|known| known == name) {
            return Err(invalid(setting, &format!("names {name:.64} twice"), "name each database once"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn invalid(setting: &str, what: &str, remedy: &str) -> Error {
    let message = format!("the setting `{setting}` {what}: {remedy}, with commas in between (`{setting} = \"a,b,c\"`)");
    Error::new(ErrorCode::Invalid, message)
}
