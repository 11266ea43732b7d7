//! The library on real servers: strict mirrors of rows that a database refuses or cannot read, and a Redis that is
//! killed.

#[cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql", feature = "memory", feature = "redis"))]
mod strict {
    mod columns;
    #[expect(dead_code, reason = "the suite of the backends uses more of it")]
    #[path = "../../../backends/tests/conformance/fixture.rs"]
    mod fixture;
    mod packets;
    mod redis_calls;
    #[expect(dead_code, reason = "the suite of the backends uses more of it")]
    #[path = "../../../backends/tests/conformance/redis_fixture.rs"]
    mod redis_fixture;
    #[path = "../../../backends/tests/conformance/refusals.rs"]
    mod refusals;
    mod refused;
    mod unreadable;
}
