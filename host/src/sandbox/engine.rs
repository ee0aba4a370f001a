//! The engines: two profiles of one compiler, and the clock that CPU limits are counted by.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::thread;

use serde::{Deserialize, Serialize};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::cpu;

/// What one instance of the small profile may have. Rust, C, Zig and the like need a fraction of
/// it.
mod small {
    pub(super) const MEMORIES: u32 = 1;
    pub(super) const TABLES: u32 = 4;
    pub(super) const TABLE_ELEMENTS: u64 = 4096;
    pub(super) const CORE_INSTANCES: u32 = 8;
    /// Initial memory beyond this is image rather than stack, and wants copy-on-write instead of
    /// zeroing.
    pub(super) const INITIAL_MEMORY: u64 = 2 << 20;
    /// What stays resident of a freed instance, and is zeroed by hand: cheaper than giving the
    /// pages back and faulting them in again, as long as it is little.
    pub(super) const KEEP_RESIDENT: usize = 128 << 10;
    /// Stack of a guest's code. Languages that keep their own in linear memory, which is most, use
    /// little of it.
    pub(super) const GUEST_STACK: usize = 256 << 10;
    /// The same with what the host's functions need above it. Page tables are paid for by every 2
    /// MiB that are touched anywhere, so that a smaller stack is a smaller idle connection.
    pub(super) const STACK: usize = 512 << 10;
}

/// What one instance takes to begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Requirements {
    pub(crate) memories: u32,
    /// Bytes, over all memories.
    pub(crate) memory: u64,
    pub(crate) tables: u32,
    /// Of the largest table.
    pub(crate) table_elements: u64,
    pub(crate) core_instances: u32,
    /// Bytes that the host keeps for it beside its memories and tables.
    pub(crate) upkeep: u64,
}

/// Which engine a component runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Profile {
    /// Pooled instances, made in microseconds.
    Small,
    /// Allocated as they come: for components that need more than a place in the pool has.
    Large,
}

/// The engines of one host. Made once, at start.
pub struct Engines {
    instances: u32,
    small: Engine,
    large: OnceLock<Engine>,
}

impl Profile {
    /// As a compiler's process is told it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }

    /// The profile that [`name`](Self::name) is the name of.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Small, Self::Large].into_iter().find(|profile| profile.name() == name)
    }
}

impl Engines {
    /// Reserves room for `instances` of the small profile at once.
    ///
    /// # Errors
    /// The machine can't give that much address space, or that many mappings.
    pub fn new(instances: u32) -> wasmtime::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances)
            .total_core_instances(instances.saturating_mul(small::CORE_INSTANCES))
            .total_memories(instances.saturating_mul(small::MEMORIES))
            .total_tables(instances.saturating_mul(small::TABLES))
            .total_stacks(instances)
            .max_memories_per_component(small::MEMORIES)
            .max_tables_per_component(small::TABLES)
            .max_tables_per_module(small::TABLES)
            .max_core_instances_per_component(small::CORE_INSTANCES)
            .table_elements(small::TABLE_ELEMENTS as usize)
            .linear_memory_keep_resident(small::KEEP_RESIDENT)
            .table_keep_resident(small::KEEP_RESIDENT)
            // Wasmtime issue 14357: pages left over for the next instance, under swap.
            .pagemap_scan(wasmtime::Enabled::No);
        let mut config = config();
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            .memory_init_cow(false)
            .max_wasm_stack(small::GUEST_STACK)
            .async_stack_size(small::STACK);
        let small = Engine::new(&config)?;
        beat(&small);
        Ok(Self { instances, small, large: OnceLock::new() })
    }

    /// Does for this thread now what the first guest on it would: where memory is short by then,
    /// that ends the process.
    ///
    /// # Panics
    /// The machine does not give the memory.
    pub fn prepare_thread() {
        Engine::tls_eager_initialize();
    }

    /// How many instances of the small profile there can be at once.
    pub fn instances(&self) -> u32 {
        self.instances
    }

    pub(crate) fn profile_for(demand: &Requirements) -> Profile {
        let fits = demand.memories <= small::MEMORIES
            && demand.tables <= small::TABLES
            && demand.core_instances <= small::CORE_INSTANCES
            && demand.table_elements <= small::TABLE_ELEMENTS
            && demand.memory <= small::INITIAL_MEMORY;
        if fits { Profile::Small } else { Profile::Large }
    }

    pub(crate) fn engine(&self, profile: Profile) -> &Engine {
        match profile {
            Profile::Small => &self.small,
            Profile::Large => self.large.get_or_init(|| {
                let engine = Engine::new(&config()).expect("the same settings made the small engine");
                beat(&engine);
                engine
            }),
        }
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // Handlers block, as socketserver's do: the machinery of async components would cost each
        // session 11 µs.
        .concurrency_support(false)
        // A cause names the functions that a guest was in. More are not worth the time that each
        // takes.
        .wasm_backtrace_max_frames(NonZeroUsize::new(16));
    config
}

/// Ends an epoch at each beat, for as long as the engine lives.
fn beat(engine: &Engine) {
    let engine = engine.weak();
    let beat = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(cpu::epoch());
        }
    };
    thread::Builder::new().name("epochs".to_owned()).spawn(beat).expect("a thread at start");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_collected_types_are_off() {
        // Once they are on, a sandbox can keep objects behind immutable globals, tables and
        // elements, where nothing that puts it back looks for them: `flatten::survey` has to refuse
        // them first.
        let engines = Engines::new(1).unwrap();
        for profile in [Profile::Small, Profile::Large] {
            let module = wat::parse_str("(module (type (struct (field (mut i32)))))").unwrap();
            wasmtime::Module::new(engines.engine(profile), module).unwrap_err();
        }
    }
}
