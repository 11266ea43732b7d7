//! A policy as the operator names it: where its code is, its settings and its grants.

use std::collections::BTreeMap;
#[cfg(feature = "wasm")]
use std::path::PathBuf;
use std::sync::Arc;

use switchover_contract::Description;

use crate::call::Runner;
use crate::native::NativeRunner;
#[cfg(feature = "wasm")]
use crate::wasm::Source;

/// A policy that comes with the library, as a component.
#[cfg(feature = "wasm")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Builtin {
    /// Django's `cached_db` on one database: setting `database` (`default`).
    CachedDb,
    /// The proxy and router of 2016 over two databases: settings `old` (`default`), `new` (`new_session_store`) and
    /// `app_label` (`sessions`), flags `migration_flag` and `new_db_router_flag`. Safe within one host; over several
    /// hosts a change of its flags can lose sessions.
    Fallback,
    /// The phases of `docs/protocol.md` over two databases: settings as `Fallback`, flags `migration_phase` and
    /// `migration_profile`. They come from the control document of a migration. Outside of one a host refuses the
    /// policy in `mirror`, `cutover` and `reverse`.
    Phased,
    /// Sessions spread over n databases by rendezvous hashing of their keys: settings `databases` (must be set,
    /// `a,b,c`), `previous` (the earlier list, while n changes) and `app_label` (`sessions`). Safe within one host;
    /// over several hosts, removing `previous` can lose sessions.
    Shards,
}

#[cfg(feature = "wasm")]
impl Builtin {
    /// All policies that come with the library.
    pub const ALL: [Self; 4] = [Self::CachedDb, Self::Fallback, Self::Phased, Self::Shards];

    /// The policy's name, as in `builtin = "cached-db"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::CachedDb => "cached-db",
            Self::Fallback => "fallback",
            Self::Phased => "phased",
            Self::Shards => "shards",
        }
    }

    /// The component itself.
    pub fn component(self) -> &'static [u8] {
        match self {
            Self::CachedDb => include_bytes!("../components/cached-db.wasm"),
            Self::Fallback => include_bytes!("../components/fallback.wasm"),
            Self::Phased => include_bytes!("../components/phased.wasm"),
            Self::Shards => include_bytes!("../components/shards.wasm"),
        }
    }
}

/// A policy to run: its code, its settings, and what it is granted besides databases and cache.
///
/// ```
/// use switchover_runtime::{Builtin, Policy};
///
/// let policy = Policy::builtin(Builtin::CachedDb).setting("database", "new_session_store");
/// ```
#[derive(Clone)]
pub struct Policy {
    pub(crate) code: Code,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) payload: bool,
}

#[derive(Clone)]
pub(crate) enum Code {
    #[cfg(feature = "wasm")]
    Wasm(Source),
    Native(Arc<dyn Runner>),
}

impl Policy {
    /// A component in a file, at most 32 MiB. The file is read when the policy is loaded, not before.
    #[cfg(feature = "wasm")]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::of(Code::Wasm(Source::File(path.into())))
    }

    /// A component in memory.
    #[cfg(feature = "wasm")]
    pub fn bytes(component: impl Into<Arc<[u8]>>) -> Self {
        Self::of(Code::Wasm(Source::Bytes(component.into())))
    }

    /// A policy that comes with the library.
    #[cfg(feature = "wasm")]
    pub fn builtin(builtin: Builtin) -> Self {
        Self::of(Code::Wasm(Source::Static(builtin.component())))
    }

    /// A policy that is compiled into the service. It runs in the same tasks as a component, with the same imports,
    /// grants and evidence. It does not have wasm's isolation: its processor time and memory are not limited.
    pub fn native<P: switchover_guest::Policy>() -> Self {
        Self::of(Code::Native(Arc::new(NativeRunner::<P>::new())))
    }

    /// The two databases that it moves sessions between, the old one first; `None` if it moves none. A policy that
    /// migrates names them in the settings `old` and `new`, as those that come with Switchover do; without them they
    /// are `default` and `new_session_store`. Both must be among the databases that it describes.
    pub fn migrates_between(&self, description: &Description) -> Option<[String; 2]> {
        let named = |setting: &str, usual: &str| {
            let name = self.settings.get(setting).map_or(usual, String::as_str);
            description.databases.iter().find(|known| *known == name).cloned()
        };
        Some([named("old", "default")?, named("new", "new_session_store")?])
    }

    /// Sets one of the policy's settings.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Allows the policy to read payloads. Once this version of it has read one, its log lines and error messages are
    /// withheld for as long as the version exists.
    #[must_use]
    pub fn grant_payload(mut self) -> Self {
        self.payload = true;
        self
    }

    fn of(code: Code) -> Self {
        Self { code, settings: BTreeMap::new(), payload: false }
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = match &self.code {
            #[cfg(feature = "wasm")]
            Code::Wasm(Source::File(path)) => format!("file {}", path.display()),
            #[cfg(feature = "wasm")]
            Code::Wasm(Source::Bytes(bytes)) => format!("{} bytes", bytes.len()),
            #[cfg(feature = "wasm")]
            Code::Wasm(Source::Static(_)) => "built in".to_owned(),
            Code::Native(_) => "native".to_owned(),
        };
        // A setting's value may be a secret of the operator, so show only the names.
        f.debug_struct("Policy").field("code", &code).field("settings", &self.settings.keys()).finish_non_exhaustive()
    }
}
