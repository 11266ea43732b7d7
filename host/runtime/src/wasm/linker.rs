//! How a guest's imports are linked. The bindings link the contract. `wasi:*` is linked for guests that import it. What
//! every load asks for is linked by hand: the host then reads its strings in the guest's memory and does not copy them.

use std::future::Future;

use switchover_contract::interface;
use wasmtime::StoreContextMut;
use wasmtime::component::{HasSelf, Linker, WasmStr};

use super::bindings::Policy;
use super::state::GuestState;

type Store<'a> = StoreContextMut<'a, GuestState>;
type Waiting<'a, T> = Box<dyn Future<Output = wasmtime::Result<(T,)>> + Send + 'a>;

/// Links the contract, and `wasi:*` for guests that import it.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>, with_wasi: bool) -> wasmtime::Result<()> {
    if with_wasi {
        wasmtime_wasi::p2::add_to_linker_async(linker)?;
    }
    Policy::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
    link_hot_imports(linker)
}

/// Replaces what the bindings linked under the same names.
fn link_hot_imports(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(&interface("flags"))?.func_wrap("enabled", |store: Store<'_>, (name,): (WasmStr,)| {
        Ok((store.data().call_ref()?.admission.flags.enabled(&name.to_str(&store)?),))
    })?;
    linker.instance(&interface("cache"))?.func_wrap_async(
        "get",
        |mut store: Store<'_>, (key,): (WasmStr,)| -> Waiting<'_, _> {
            Box::new(async move {
                let call = store.data_mut().call()?;
                let found = call.cache_get(&key.to_str(&store)?).await;
                Ok((store.data_mut().hand_over_lookup(found),))
            })
        },
    )?;
    linker.instance(&interface("databases"))?.func_wrap_async(
        "load",
        |mut store: Store<'_>, (database, key): (WasmStr, WasmStr)| -> Waiting<'_, _> {
            Box::new(async move {
                let call = store.data_mut().call()?;
                let found = call.load(&database.to_str(&store)?, &key.to_str(&store)?).await;
                Ok((store.data_mut().hand_over(found),))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
