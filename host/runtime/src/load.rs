//! The load pipeline: code, description, databases, trial, warm. A policy that fails a step is refused, and the error
//! says what is wrong. The running policy is not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use switchover_contract::Description;
use switchover_core::DatabaseName;
use switchover_core::capabilities::FlagSnapshot;

use crate::call::Runner;
use crate::call::{Grants, PolicyScope, Serves};
use crate::counters::Counters;
use crate::error::{Rejection, SwapError};
use crate::limits::LimitsInForce;
use crate::run::Linked;
use crate::source::{Code, Policy};
use crate::status::PolicyVersion;
use crate::trial::{describe, try_out};
use crate::version::Version;
#[cfg(feature = "wasm")]
use crate::wasm::Compiler;

/// Loads the policies of one host.
pub struct Loader {
    #[cfg(feature = "wasm")]
    compiler: Compiler,
    limits: LimitsInForce,
    databases: BTreeSet<String>,
    serves: Serves,
    counters: Arc<Counters>,
    generations: AtomicU64,
}

/// A policy that was loaded but not tried, for tools.
pub(crate) struct Loaded {
    pub(crate) digest: String,
    pub(crate) component_bytes: usize,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) description: Description,
}

impl Loader {
    /// A loader for a host with these databases, whose store serves these targets.
    ///
    /// # Errors
    ///
    /// Says why no engine for components can be made on this machine.
    pub fn new(
        limits: LimitsInForce,
        databases: BTreeSet<String>,
        serves: Serves,
        counters: Arc<Counters>,
    ) -> Result<Self, String> {
        Ok(Self {
            #[cfg(feature = "wasm")]
            compiler: Compiler::new(&limits.now())?,
            limits,
            databases,
            serves,
            counters,
            generations: AtomicU64::new(0),
        })
    }

    /// Loads a policy into a version that is ready to be published.
    ///
    /// # Errors
    ///
    /// [`SwapError::Rejected`] says what is wrong with the policy.
    pub async fn load(&self, policy: &Policy, flags: Arc<FlagSnapshot>) -> Result<Arc<Version>, SwapError> {
        let loaded = self.link(policy).await?;
        let unknown = loaded.description.databases.iter().find(|name| !self.databases.contains(*name));
        if let Some(unknown) = unknown {
            let known: Vec<_> = self.databases.iter().map(String::as_str).collect();
            return Err(Rejection::UnknownDatabase.because(format!(
                "policy {} names database `{}`, and this host has {}: configure it, or change the policy's settings",
                name_of(&loaded.description),
                DatabaseName::shown(unknown),
                known.join(", "),
            )));
        }
        let grants =
            Grants { databases: Some(loaded.description.databases.iter().cloned().collect()), payload: policy.payload };
        let scope = PolicyScope::new(name_of(&loaded.description), policy.settings.clone(), grants, &self.limits.now());
        let id = PolicyVersion {
            name: name_of(&loaded.description),
            version: loaded.description.version.chars().take(64).collect(),
            protocol: loaded.description.protocol.chars().take(64).collect(),
            digest: loaded.digest,
            generation: self.generations.fetch_add(1, Ordering::Relaxed),
        };
        let linked = Linked { scope, runner: loaded.runner };
        let version = Arc::new(Version::new(id, loaded.description, linked));
        self.try_out(&version, &flags).await?;
        let warm = version.linked().runner.warm(self.limits.snapshot().warm_instances).await;
        warm.map_err(|_| Rejection::Machine.because("no instances of it can be made"))?;
        Ok(version)
    }

    /// Tries a version under flags, unless its last passed trial was under the same flags.
    ///
    /// # Errors
    ///
    /// [`SwapError::Rejected`] names the vector that failed.
    pub async fn try_out(&self, version: &Arc<Version>, flags: &Arc<FlagSnapshot>) -> Result<(), SwapError> {
        if !version.was_tried(flags) {
            let databases = &version.description().databases;
            let flags_to_try = Arc::clone(flags);
            let limits = self.limits.snapshot();
            let tried = try_out(version.linked(), databases, flags_to_try, &self.counters, &limits, self.serves).await;
            tried.map_err(|message| Rejection::Trial.because(message))?;
            version.passed(flags);
        }
        Ok(())
    }

    /// Does everything up to the description, which is what tools need for a policy by itself.
    pub(crate) async fn link(&self, policy: &Policy) -> Result<Loaded, SwapError> {
        let (runner, code_digest, component_bytes): (Arc<dyn Runner>, [u8; 32], _) = match &policy.code {
            Code::Native(runner) => (Arc::clone(runner), Sha256::digest(b"native").into(), 0),
            #[cfg(feature = "wasm")]
            Code::Wasm(source) => {
                let compiled = self.compiler.link(source, &self.limits.snapshot()).await?;
                (compiled.runner, compiled.digest, compiled.bytes)
            }
        };
        let limits = self.limits.snapshot();
        let described = describe(Arc::clone(&runner), policy.settings.clone(), &self.counters, &limits).await;
        let description = described.map_err(|message| Rejection::Description.because(message))?;
        let digest = version_digest(&code_digest, &policy.settings, policy.payload, &description);
        Ok(Loaded { digest, component_bytes, runner, description })
    }
}

fn name_of(description: &Description) -> String {
    description.name.chars().take(64).collect()
}

fn version_digest(
    code: &[u8; 32],
    settings: &BTreeMap<String, String>,
    payload: bool,
    description: &Description,
) -> String {
    let mut hash = Sha256::new();
    hash.update(code);
    let mut field = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    field(&description.name);
    for (name, value) in settings {
        field(name);
        field(value);
    }
    field(if payload { "payload" } else { "" });
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
