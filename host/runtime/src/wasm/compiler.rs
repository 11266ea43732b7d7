//! Turns the bytes of a component into code that runs: size, kind, digest, compilation, the contract.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use switchover_contract as contract;
use switchover_core::sync::Mutex;
use wasmtime::component::Component;

use super::engine::PolicyEngine;
use super::instance::{WasmRunner, reason};
use super::limits::COMPONENT_BYTES_MAX;
use crate::error::{Rejection, SwapError};
use crate::limits::Limits;

/// Compiled components that are kept, so that a swap back compiles nothing.
const COMPILED_KEPT_MAX: usize = 4;
/// The first bytes of a component.
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
/// The first bytes of a core module.
const MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// Where a component is.
#[derive(Clone)]
pub(crate) enum Source {
    File(PathBuf),
    Bytes(Arc<[u8]>),
    Static(&'static [u8]),
}

/// A component that is compiled and linked.
pub(crate) struct Compiled {
    pub(crate) runner: Arc<WasmRunner>,
    pub(crate) digest: [u8; 32],
    pub(crate) bytes: usize,
}

/// Compiles the components of one host.
pub(crate) struct Compiler {
    engine: Arc<PolicyEngine>,
    compiled: Mutex<Vec<([u8; 32], Component)>>,
}

impl Compiler {
    /// # Errors
    ///
    /// Says why no engine can be made on this machine.
    pub(crate) fn new(limits: &Limits) -> Result<Self, String> {
        let engine = PolicyEngine::new(limits).map_err(|error| error.to_string())?;
        Ok(Self { engine, compiled: Mutex::default() })
    }

    /// Does everything up to code that can be called.
    pub(crate) async fn link(&self, source: &Source, limits: &Limits) -> Result<Compiled, SwapError> {
        let (component, digest, bytes) = self.compile(source.clone()).await?;
        check_imports(&component, &self.engine)?;
        let linked = WasmRunner::link(Arc::clone(&self.engine), &component, limits);
        let runner = linked.map_err(|error| Rejection::Contract.because(contract_message(&error)))?;
        Ok(Compiled { runner: Arc::new(runner), digest, bytes })
    }

    async fn compile(&self, source: Source) -> Result<(Component, [u8; 32], usize), SwapError> {
        let engine = self.engine.engine.clone();
        let kept = self.compiled.lock().clone();
        let compile = move || {
            let bytes: Cow<'_, [u8]> = match &source {
                Source::File(path) => read_component(path)?.into(),
                Source::Bytes(bytes) => (&**bytes).into(),
                Source::Static(bytes) => (*bytes).into(),
            };
            check_kind(&bytes)?;
            let digest: [u8; 32] = Sha256::digest(&bytes).into();
            if let Some((_, component)) = kept.into_iter().find(|(kept, _)| *kept == digest) {
                return Ok((component, digest, bytes.len()));
            }
            let component = Component::from_binary(&engine, &bytes).map_err(|error| {
                Rejection::NotAComponent.because(format!(
                    "it is not a valid component, or needs what this host does not have (the component model's async \
                     ABI): {}",
                    reason(&error)
                ))
            })?;
            // Optional: without the image, each instance copies its memory and still runs.
            let _optional = component.initialize_copy_on_write_image();
            Ok((component, digest, bytes.len()))
        };
        // Compiling takes milliseconds to seconds, so it never runs on the threads that serve calls.
        let compiled = tokio::task::spawn_blocking(compile).await;
        let (component, digest, bytes) =
            compiled.unwrap_or_else(|_| Err(Rejection::NotAComponent.because("its compilation panicked")))?;
        let mut kept = self.compiled.lock();
        kept.retain(|(other, _)| *other != digest);
        kept.push((digest, component.clone()));
        if kept.len() > COMPILED_KEPT_MAX {
            kept.remove(0);
        }
        Ok((component, digest, bytes))
    }
}

/// Reads a component. It reads at most one byte more than a component may have.
fn read_component(path: &Path) -> Result<Vec<u8>, SwapError> {
    let unreadable =
        |error: std::io::Error| Rejection::Unreadable.because(format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn check_kind(bytes: &[u8]) -> Result<(), SwapError> {
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        return Err(Rejection::Unreadable
            .because(format!("it is larger than the {} MiB that a component may have", COMPONENT_BYTES_MAX >> 20)));
    }
    if bytes.starts_with(COMPONENT_HEADER) {
        return Ok(());
    }
    // Precompiled code is native code, which nothing confines, so it is always refused.
    Err(Rejection::NotAComponent.because(if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        "it is precompiled native code; give the component itself".to_owned()
    } else if bytes.starts_with(MODULE_HEADER) {
        "it is a core module, not a component; build it with `cargo guests --crate DIR --out FILE`, or wrap it with \
         `wasm-tools component new`"
            .to_owned()
    } else {
        "it is not WebAssembly: a component starts with the bytes `\\0asm`".to_owned()
    }))
}

/// Checks the names of the imports, because the linker's own message would only name a type that does not match.
fn check_imports(component: &Component, engine: &PolicyEngine) -> Result<(), SwapError> {
    for (name, _) in component.component_type().imports(&engine.engine) {
        if name.starts_with("wasi:http") {
            return Err(
                Rejection::Contract.because("it imports `wasi:http`, which this host does not have: build it without")
            );
        }
        let of_contract = name.strip_prefix(contract::PACKAGE).is_some_and(|rest| rest.starts_with('/'));
        if of_contract && name.rsplit('@').next() != Some(contract::VERSION) {
            return Err(Rejection::Contract.because(format!(
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

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &[u8] = include_bytes!("../../components/fallback.wasm");

    #[test]
    fn precompiled_native_code_is_refused() {
        let engine = wasmtime::Engine::default();
        let native = engine.precompile_component(COMPONENT).unwrap();
        assert!(check_kind(COMPONENT).is_ok());
        let error = check_kind(&native).unwrap_err().to_string();
        assert!(error.contains("precompiled"), "{error}");
    }
}
