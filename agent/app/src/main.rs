//! The `tollgate` command.

use std::process::ExitCode;

/// Requests make and drop many small things on every thread, which glibc's allocator is slower at, and gives less of back. Its settings
/// are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tollgate::main()
}
