//! What guests may open in a granted folder: regular files and folders. To open a FIFO takes as
//! long as nobody opens its other end, a device does what it likes, and what either is read for is
//! not there to be read again.
//!
//! The library opens whatever is there. So its two functions that open are asked only once the kind
//! of the file is known. What another session puts in its place in between costs a thread of the
//! plugin's own ([`crate::sandbox::file_work`]).

use wasmtime::component::{self, Resource};
use wasmtime::{AsContextMut, Caller, Extern, Linker};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView};
use wasmtime_wasi::p1::types::{Filetype, Lookupflags};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self, WasiSnapshotPreview1};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorType, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
};
use wiggle::{GuestMemory, GuestPtr};

use super::super::state::State;

/// The version that the library links its interfaces as.
const VERSION: &str = "0.2.12";

/// WASI 0.1's `notsup`.
const NOT_SUPPORTED: i32 = 58;

/// `path_open`'s parameters.
type Open = (i32, i32, i32, i32, i32, i64, i64, i32, i32);

/// Has WASI 0.1, which is linked already, open nothing else.
pub(super) fn link_0_1(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.func_wrap_async(
        "wasi_snapshot_preview1",
        "path_open",
        |mut caller: Caller<'_, State>, (folder, lookup, path, length, how, rights, inherited, flags, opened): Open| {
            Box::new(async move {
                let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                    return Err(wasmtime::format_err!("missing required memory export"));
                };
                let fuel = caller.as_context_mut().hostcall_fuel();
                let (memory, state) = memory.data_and_store_mut(&mut caller);
                let (mut memory, wasi) = (GuestMemory::Unshared(memory), state.wasi_0_1());
                wasi.set_hostcall_fuel(fuel);
                let name = GuestPtr::<str>::new((path.cast_unsigned(), length.cast_unsigned()));
                // What is wrong with these is the other function's to say.
                if let Ok(lookup) = Lookupflags::try_from(lookup.cast_unsigned()) {
                    let found = wasi.path_filestat_get(&mut memory, folder.cast_unsigned().into(), lookup, name).await;
                    let may_be_opened = [Filetype::RegularFile, Filetype::Directory, Filetype::SymbolicLink];
                    if found.is_ok_and(|found| !may_be_opened.contains(&found.filetype)) {
                        return Ok(NOT_SUPPORTED);
                    }
                }
                wasi.set_hostcall_fuel(fuel);
                wasi_snapshot_preview1::path_open(
                    wasi,
                    &mut memory,
                    folder,
                    lookup,
                    path,
                    length,
                    how,
                    rights,
                    inherited,
                    flags,
                    opened,
                )
                .await
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Has WASI 0.2, which is linked already, open nothing else.
pub(super) fn link_0_2(linker: &mut component::Linker<State>) -> wasmtime::Result<()> {
    type Open = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);
    linker.allow_shadowing(true);
    linker.instance(&format!("wasi:filesystem/types@{VERSION}"))?.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store, (folder, lookup, path, how, flags): Open| {
            Box::new(async move {
                let mut files = store.data_mut().filesystem();
                let folder_again = Resource::new_borrow(folder.rep());
                let opened = match files.stat_at(folder_again, lookup, path.clone()).await {
                    Ok(found) if !may_be_opened(found.type_) => Err(ErrorCode::Unsupported.into()),
                    _ => files.open_at(folder, lookup, path, how, flags).await,
                };
                Ok((match opened {
                    Ok(file) => Ok(file),
                    Err(error) => Err(error.downcast()?),
                },))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn may_be_opened(kind: DescriptorType) -> bool {
    matches!(kind, DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink)
}
