//! Sets of certificates, read from and written to the places where TLS clients look.

use std::collections::HashSet;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::{digest, rand};
use pem::Pem;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::TrustError;

/// Where Linux distributions keep their bundle. The environment is not asked: it is the client's, and dealt with apart.
const SYSTEM_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",                            // openSUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // CentOS, RHEL 7
    "/etc/pki/tls/cacert.pem",                           // OpenELEC
    "/etc/ssl/cert.pem",                                 // Alpine
];
/// Where they keep single certificates, for systems without a bundle.
const SYSTEM_DIRS: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];
/// Real bundles are a quarter of a megabyte. The path may come from a user's environment.
const MAX_FILE: u64 = 32 * 1024 * 1024;

/// Certificates in order, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Bundle {
    certificates: Vec<CertificateDer<'static>>,
}

impl Bundle {
    pub(super) fn of(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        let mut seen = HashSet::new();
        Self { certificates: certificates.into_iter().filter(|certificate| seen.insert(certificate.clone())).collect() }
    }

    /// The system's roots; empty where it has none.
    pub(super) fn system() -> Self {
        let files = SYSTEM_FILES.iter().map(|path| Self::read_file(Path::new(path)));
        let dirs = SYSTEM_DIRS.iter().map(|path| Self::read_dir(Path::new(path)));
        files.chain(dirs).flatten().find(|bundle| !bundle.is_empty()).unwrap_or_default()
    }

    /// The certificates at `path`: a PEM file, or a directory of such.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        if fs::metadata(path)?.is_dir() { Self::read_dir(path) } else { Self::read_file(path) }
    }

    /// Every `CERTIFICATE` section of a file. Damaged ones are passed over, as clients do.
    fn read_file(path: &Path) -> io::Result<Self> {
        // Before it is opened: opening a pipe would wait for its other end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut text = Vec::new();
        let taken = fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut text)?;
        if taken as u64 == MAX_FILE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too long for a bundle of certificates"));
        }
        Ok(Self::of(CertificateDer::pem_slice_iter(&text).flatten()))
    }

    fn read_dir(path: &Path) -> io::Result<Self> {
        let mut all = Vec::new();
        for entry in fs::read_dir(path)? {
            // A link that leads nowhere, or a file that is not for us, is not the others' fault.
            if let Ok(bundle) = Self::read_file(&entry?.path()) {
                all.extend(bundle.certificates);
            }
        }
        all.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        Ok(Self::of(all))
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self::of(self.certificates.iter().chain(&other.certificates).cloned())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Whether both hold the same certificates, in whatever order.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.certificates.iter().collect::<HashSet<_>>() == other.certificates.iter().collect::<HashSet<_>>()
    }

    pub(super) fn to_pem(&self) -> String {
        // Line feeds only: some readers of these files are shell scripts.
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let sections: Vec<_> = self.certificates.iter().map(|der| Pem::new("CERTIFICATE", der.to_vec())).collect();
        pem::encode_many_config(&sections, config)
    }

    /// A short name for exactly this set, for the names of files.
    pub(super) fn digest(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for certificate in &self.certificates {
            context.update(certificate);
        }
        let digest = context.finish();
        let head = digest.as_ref().first_chunk().expect("a SHA-256 digest is longer than four bytes");
        format!("{:08x}", u32::from_be_bytes(*head))
    }
}

/// Makes the directory for files that every user may read, and those above it, whatever the umask. Those that are there stay as
/// they are.
pub(super) fn make_dir(dir: &Path) -> Result<(), TrustError> {
    let io_error = |source| TrustError::Io { path: dir.to_owned(), source };
    let missing: Vec<_> =
        dir.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.is_dir()).collect();
    for missing in missing.into_iter().rev() {
        fs::create_dir(missing).map_err(io_error)?;
        fs::set_permissions(missing, Permissions::from_mode(0o755)).map_err(io_error)?;
    }
    Ok(())
}

/// Replaces a file that every user may read, in one step and whatever the umask.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), TrustError> {
    let io_error = |source| TrustError::Io { path: path.to_owned(), source };
    let mut random = [0; 4];
    rand::fill(&mut random).expect("the kernel's random numbers are there");
    let aside = path.with_added_extension(format!("{:08x}", u32::from_ne_bytes(random)));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&aside).and_then(|mut file| {
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.write_all(content)?;
        fs::rename(&aside, path)
    });
    written.map_err(|error| {
        // The first error is the one to tell.
        drop(fs::remove_file(&aside));
        io_error(error)
    })
}
