//! Generated from `wit/`.

wasmtime::component::bindgen!({
    world: "policy",
    path: "wit",
    imports: {
        "switchover:policy/databases": async | trappable,
        "switchover:policy/cache.[drop]lease": trappable,
        "switchover:policy/cache": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "switchover:policy/types.session": super::handles::HostSession,
        "switchover:policy/cache.lease": super::handles::GuestLease,
    },
});
