//! The load pipeline: size, digest, kind, compile, contract, description, trial, warm. A policy that fails a step is refused with
//! what is wrong; the one that runs is not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use switchover_contract::{self as contract, Description};
use wasmtime::component::Component;

use super::engine::PolicyEngine;
use super::instance::{WasmRunner, reason};
use super::preflight::{describe, try_out};
use super::runner::Runner;
use super::source::{Code, Policy};
use super::version::Version;
use crate::capabilities::FlagSnapshot;
use crate::counters::Counters;
use crate::error::SwapError;
use crate::imports::{Grants, PolicyScope};
use crate::limits::{COMPONENT_BYTES_MAX, Limits};
use crate::session::DatabaseName;
use crate::version::PolicyVersion;

/// Compiled components that are kept, so that a swap back compiles nothing.
const COMPILED_KEPT_MAX: usize = 4;
/// The first bytes of a component, and of a core module.
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// Loads the policies of one host.
pub(crate) struct Loader {
    engine: Arc<PolicyEngine>,
    limits: Limits,
    databases: BTreeSet<String>,
    counters: Arc<Counters>,
    generations: AtomicU64,
    compiled: Mutex<Vec<([u8; 32], Component)>>,
}

/// A policy that was loaded and not tried: for tools.
pub(crate) struct Loaded {
    pub(crate) digest: String,
    pub(crate) component_bytes: usize,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) description: Description,
}

impl Loader {
    pub(crate) fn new(
        engine: Arc<PolicyEngine>,
        limits: Limits,
        databases: BTreeSet<String>,
        counters: Arc<Counters>,
    ) -> Self {
        let (generations, compiled) = (AtomicU64::new(0), Mutex::default());
        Self { engine, limits, databases, counters, generations, compiled }
    }

    /// A version that is ready to be published.
    pub(crate) async fn load(&self, policy: &Policy, flags: Arc<FlagSnapshot>) -> Result<Arc<Version>, SwapError> {
        let loaded = self.link(policy).await?;
        let unknown = loaded.description.databases.iter().find(|name| !self.databases.contains(*name));
        if let Some(unknown) = unknown {
            let known: Vec<_> = self.databases.iter().map(String::as_str).collect();
            return Err(rejected(format!(
                "policy {} names database `{}`, and this host has {}: configure it, or change the policy's settings",
                name_of(&loaded.description),
                DatabaseName::shown(unknown),
                known.join(", "),
            )));
        }
        let scope = PolicyScope {
            name: name_of(&loaded.description),
            settings: policy.settings.clone(),
            grants: Grants {
                databases: Some(loaded.description.databases.iter().cloned().collect()),
                payload: policy.payload,
            },
            host_calls_max: self.limits.host_calls_max,
            looks_first: AtomicBool::new(true),
            payload_read: AtomicBool::new(false),
        };
        let id = PolicyVersion {
            name: name_of(&loaded.description),
            version: loaded.description.version.chars().take(64).collect(),
            protocol: loaded.description.protocol.chars().take(64).collect(),
            digest: loaded.digest,
            generation: self.generations.fetch_add(1, Ordering::Relaxed),
        };
        let version = Arc::new(Version::new(id, loaded.description, Arc::new(scope), loaded.runner));
        self.try_out(&version, &flags).await?;
        let warm = version.runner.warm(self.limits.warm_instances).await;
        warm.map_err(|_| rejected("no instances of it can be made".to_owned()))?;
        Ok(version)
    }

    /// Tries a version under flags, unless it has passed under just these.
    pub(crate) async fn try_out(&self, version: &Arc<Version>, flags: &Arc<FlagSnapshot>) -> Result<(), SwapError> {
        if !version.was_tried(flags) {
            try_out(version, Arc::clone(flags), &self.counters, &self.limits).await.map_err(rejected)?;
            version.passed(flags);
        }
        Ok(())
    }

    /// Everything up to the description: what tools need to look at a policy by itself.
    pub(crate) async fn link(&self, policy: &Policy) -> Result<Loaded, SwapError> {
        let (runner, component_digest, component_bytes): (Arc<dyn Runner>, _, _) = match &policy.code {
            Code::Native(runner) => (Arc::clone(runner), Sha256::digest(b"native").into(), 0),
            Code::File(_) | Code::Bytes(_) | Code::Static(_) => {
                let (component, digest, bytes) = self.compile(policy.code.clone()).await?;
                check_imports(&component, &self.engine)?;
                let linked = WasmRunner::link(Arc::clone(&self.engine), &component, &self.limits);
                let runner = linked.map_err(|error| rejected(contract_message(&error)))?;
                (Arc::new(runner), digest, bytes)
            }
        };
        let description =
            describe(&runner, policy.settings.clone(), &self.counters, &self.limits).await.map_err(rejected)?;
        let digest = version_digest(&component_digest, &policy.settings, policy.payload, &description);
        Ok(Loaded { digest, component_bytes, runner, description })
    }

    async fn compile(&self, code: Code) -> Result<(Component, [u8; 32], usize), SwapError> {
        let engine = self.engine.engine.clone();
        let kept = self.compiled.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let compile = move || {
            let bytes = match &code {
                Code::File(path) => read_component(path)?.into(),
                Code::Bytes(bytes) => Arc::clone(bytes),
                Code::Static(bytes) => Arc::from(*bytes),
                Code::Native(_) => Arc::from([]),
            };
            check_kind(&bytes)?;
            let digest: [u8; 32] = Sha256::digest(&bytes).into();
            if let Some((_, component)) = kept.into_iter().find(|(kept, _)| *kept == digest) {
                return Ok((component, digest, bytes.len()));
            }
            let component = Component::from_binary(&engine, &bytes).map_err(|error| {
                rejected(format!("it is not a valid component, or needs what this host does not have (the component model's async ABI): {}", reason(&error)))
            })?;
            // Without the image each instance copies its memory; it still runs.
            let _optional = component.initialize_copy_on_write_image();
            Ok((component, digest, bytes.len()))
        };
        // Compiling takes milliseconds to seconds: never on the threads that serve calls.
        let compiled = tokio::task::spawn_blocking(compile).await;
        let (component, digest, bytes) =
            compiled.unwrap_or_else(|_| Err(rejected("its compilation panicked".to_owned())))?;
        let mut kept = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(other, _)| *other != digest);
        kept.push((digest, component.clone()));
        if kept.len() > COMPILED_KEPT_MAX {
            kept.remove(0);
        }
        Ok((component, digest, bytes))
    }
}

/// Reads a component, never more of a file than a component may have.
pub(crate) fn read_component(path: &Path) -> Result<Vec<u8>, SwapError> {
    let unreadable = |error: std::io::Error| rejected(format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn check_kind(bytes: &[u8]) -> Result<(), SwapError> {
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        return Err(rejected(format!(
            "it is larger than the {} MiB that a component may have",
            COMPONENT_BYTES_MAX >> 20
        )));
    }
    if bytes.starts_with(COMPONENT_HEADER) {
        return Ok(());
    }
    // Precompiled code is native code, which nothing confines: it is refused whoever signed it.
    Err(rejected(if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        "it is precompiled native code; give the component itself".to_owned()
    } else if bytes.starts_with(MODULE_HEADER) {
        "it is a core module, not a component; build it with `cargo guests --crate DIR --out FILE`, or wrap it with \
         `wasm-tools component new`"
            .to_owned()
    } else {
        "it is not WebAssembly: a component starts with the bytes `\\0asm`".to_owned()
    }))
}

/// Names what is not there before the linker names a type that does not fit.
fn check_imports(component: &Component, engine: &PolicyEngine) -> Result<(), SwapError> {
    for (name, _) in component.component_type().imports(&engine.engine) {
        if name.starts_with("wasi:http") {
            return Err(rejected("it imports `wasi:http`, which this host does not have: build it without".to_owned()));
        }
        let of_contract = name.strip_prefix(contract::PACKAGE).is_some_and(|rest| rest.starts_with('/'));
        if of_contract && name.rsplit('@').next() != Some(contract::VERSION) {
            return Err(rejected(format!(
                "it is for another version of the contract, `{name}`; this host has {}: build it again with wit/",
                contract::VERSION
            )));
        }
    }
    Ok(())
}

fn contract_message(error: &wasmtime::Error) -> String {
    let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
    format!("it does not fit the world `{}` (see wit/world.wit): {}", contract::interface("policy"), causes.join(": "))
}

fn name_of(description: &Description) -> String {
    description.name.chars().take(64).collect()
}

fn version_digest(
    component: &[u8; 32],
    settings: &BTreeMap<String, String>,
    payload: bool,
    description: &Description,
) -> String {
    let mut hash = Sha256::new();
    hash.update(component);
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

pub(super) fn rejected(message: String) -> SwapError {
    SwapError::Rejected { message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Builtin;

    #[test]
    fn precompiled_native_code_is_refused() {
        let engine = wasmtime::Engine::default();
        let native = engine.precompile_component(Builtin::Fallback.component()).unwrap();
        assert!(check_kind(Builtin::Fallback.component()).is_ok());
        let error = check_kind(&native).unwrap_err().to_string();
        assert!(error.contains("precompiled"), "{error}");
    }
}
