//! Builds the kernel programs from their sources into `OUT_DIR/programs`.
//!
//! The BPF target has no prebuilt `core`, so this needs a compiler with the library's sources and leave to use them:
//! the pinned toolchain with rustup's `rust-src`, or Debian's `rustc-web` with `rust-web-src`. The inner cargo has a
//! target directory of its own and knows nothing of the flags and wrappers of the outer one.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// What the programs' sources need: the edition, and what their dependencies ask for.
const OLDEST_RUSTC: (u32, u32) = (1, 95);

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            for line in reason.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for input in ["ebpf/src", "ebpf/Cargo.toml", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(variable("OUT_DIR")?);
    let toolchain = Toolchain::find().ok_or_else(|| {
        lacks("library sources for the compiler (rustup's rust-src for the pinned toolchain, or Debian's rustc-web and rust-web-src)")
    })?;
    let linker = bpf_linker().ok_or_else(|| lacks("bpf-linker"))?;
    let llvm = toolchain.provide_llvm(&out)?;
    let target = match variable("CARGO_CFG_TARGET_ENDIAN")?.to_str() {
        Some("big") => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    let architecture = variable("CARGO_CFG_TARGET_ARCH")?.to_string_lossy().into_owned();
    let path = env::join_paths(linker.parent().into_iter().map(Path::to_path_buf).chain(search_path()))
        .map_err(|error| format!("PATH cannot be extended: {error}"))?;
    let mut cargo = Command::new(&toolchain.cargo);
    for (name, _) in env::vars_os().filter(|(name, _)| belongs_to_outer_cargo(name)) {
        cargo.env_remove(name);
    }
    cargo
        .args(["build", "--release", "--locked", "--quiet", "-Zbuild-std=core", "--target", target])
        .args(["--package", "tollgate-ebpf", "--bin", "programs", "--features", "programs"])
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(out.join("ebpf"))
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "")
        .env("PATH", path)
        .env("LD_LIBRARY_PATH", llvm)
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{architecture}\""))
        // The workspace's release profile is for the agent. Debug information would only make the object larger.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    let done = cargo.output().map_err(|error| format!("cannot run {}: {error}", toolchain.cargo.display()))?;
    if !done.status.success() {
        return Err(format!("the kernel programs do not build:\n{}", String::from_utf8_lossy(&done.stderr)));
    }
    let built = out.join("ebpf").join(target).join("release/programs");
    fs::copy(&built, out.join("programs")).map_err(|error| format!("cannot copy {}: {error}", built.display()))?;
    Ok(())
}

/// A compiler that can build `core`.
struct Toolchain {
    rustc: PathBuf,
    cargo: PathBuf,
    sysroot: PathBuf,
    /// The major version of its LLVM, whose code the linker must understand.
    llvm: String,
}

impl Toolchain {
    /// The toolchain that builds the agent if it has the sources, else the distribution's.
    fn find() -> Option<Self> {
        let own = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        [own, "/usr/bin/rustc".into()].iter().find_map(|rustc| Self::at(rustc))
    }

    fn at(rustc: &OsStr) -> Option<Self> {
        let sysroot = PathBuf::from(output(rustc, &["--print", "sysroot"])?.trim());
        let version = output(rustc, &["--version", "--verbose"])?;
        let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let mut release = field("release:")?.split('.').map_while(|part| part.parse::<u32>().ok());
        let is_new = (release.next()?, release.next()?) >= OLDEST_RUSTC;
        let llvm = field("LLVM version:")?.split('.').next()?.to_owned();
        // Not through rustup's proxies, which the workspace's toolchain file would send elsewhere.
        let (cargo, rustc) = (sysroot.join("bin/cargo"), sysroot.join("bin/rustc"));
        let has_sources = sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file();
        (is_new && has_sources && cargo.is_file() && rustc.is_file()).then_some(Self { rustc, cargo, sysroot, llvm })
    }

    /// A directory with nothing but the LLVM of this toolchain, for a linker that brings none: it takes the first it
    /// finds, and a distribution's directory may hold several.
    fn provide_llvm(&self, out: &Path) -> Result<PathBuf, String> {
        let directory = out.join("llvm");
        let mut places = vec![self.sysroot.join("lib"), format!("/usr/lib/llvm-{}/lib", self.llvm).into()];
        places.extend(entries(Path::new("/usr/lib")).into_iter().filter(|path| path.is_dir()));
        let starts = [format!("libLLVM-{}", self.llvm), format!("libLLVM.so.{}", self.llvm)];
        let is_llvm = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            starts.iter().any(|start| name.starts_with(start)) && path.metadata().is_ok_and(|file| file.len() > 1 << 20)
        };
        let Some(library) = places.iter().flat_map(|place| entries(place)).find(is_llvm) else {
            return Ok(directory); // The linker may have its own.
        };
        let link = directory.join("libLLVM.so");
        let linked = fs::create_dir_all(&directory).and_then(|()| match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => std::os::unix::fs::symlink(&library, &link),
        });
        linked.map_err(|error| format!("cannot link {}: {error}", link.display()))?;
        Ok(directory)
    }
}

/// Where the linker is: in the search path, or where `cargo install` puts it.
fn bpf_linker() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let places = search_path().into_iter().chain(home.map(|home| home.join("bin")));
    places.map(|place| place.join("bpf-linker")).find(|path| path.is_file())
}

fn search_path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// Whether a variable is what the outer cargo tells its build scripts, and not how to reach registries.
fn belongs_to_outer_cargo(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let kept = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE", "RUSTUP_HOME"];
    let own = ["CARGO", "RUST", "DEP_", "CLIPPY_"];
    !kept.iter().any(|start| name.starts_with(start)) && own.iter().any(|start| name.starts_with(start))
}

fn output(program: &OsStr, arguments: &[&str]) -> Option<String> {
    // Not in the workspace, whose toolchain file rustup's proxies would follow.
    let done = Command::new(program).args(arguments).current_dir("/").output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("cargo did not set {name}"))
}

fn lacks(what: &str) -> String {
    format!("the kernel programs cannot be built without {what}; run `cargo xtask setup`")
}
