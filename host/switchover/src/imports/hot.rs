//! The imports that every load asks for, linked by hand: their strings are read where they are in the guest, not copied out.

use std::future::Future;

use switchover_contract::interface;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use super::types::GuestState;

type Store<'a> = StoreContextMut<'a, GuestState>;
type Waiting<'a, T> = Box<dyn Future<Output = wasmtime::Result<(T,)>> + Send + 'a>;

/// Takes the place of what the bindings linked under the same names.
pub(super) fn link_hot_imports(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(&interface("flags"))?.func_wrap("enabled", |store: Store<'_>, (name,): (WasmStr,)| {
        Ok((store.data().call_ref()?.flags.enabled(&name.to_str(&store)?),))
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
