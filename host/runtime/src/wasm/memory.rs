//! Memory and tables of one instance: how much it may have, and how much it has.

use wasmtime::ResourceLimiter;

use super::limits::{GUEST_MEMORY_BYTES_MAX, GUEST_TABLE_ELEMENTS_MAX};

/// The total size of the memories and tables of one instance.
#[derive(Default)]
pub(crate) struct GuestMemory {
    memory_bytes: usize,
    table_elements: usize,
}

impl GuestMemory {
    pub(crate) fn bytes(&self) -> usize {
        self.memory_bytes
    }
}

impl ResourceLimiter for GuestMemory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        let allowed = bytes <= GUEST_MEMORY_BYTES_MAX;
        if allowed {
            self.memory_bytes = bytes;
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.table_elements.saturating_add(desired.saturating_sub(current));
        let allowed = elements <= GUEST_TABLE_ELEMENTS_MAX;
        if allowed {
            self.table_elements = elements;
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        16
    }

    fn memories(&self) -> usize {
        4
    }

    fn tables(&self) -> usize {
        8
    }
}
