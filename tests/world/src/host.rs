//! The client host's files: where it asks for names and whom it trusts, seen by its processes alone.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

use crate::link::NAME_SERVER;
use crate::namespace::Namespace;

const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n";
const NSSWITCH: &str =
    "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n";
/// The directory that holds the bundle on Debian, Ubuntu, Alpine and SUSE, and individual roots that programs read too.
const CERTS: &str = "/etc/ssl/certs";
/// Bundles that other distributions and programs read; laid over where they exist.
const OTHER_BUNDLES: [&str; 5] = [
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];
/// A running nscd would answer look-ups from the machine's own network.
const NAME_CACHES: [&str; 2] = ["/run/nscd", "/var/run/nscd"];

/// Where an agent keeps its ledger, and the world's own folder for that.
const STATE: (&str, &str) = ("/var/lib/tollgate", "state");
/// Where it keeps its audit, and the world's own folder for that.
const LOG: (&str, &str) = ("/var/log/tollgate", "log");
/// Where an agent keeps what must outlive it, in memory, as on a machine: the world has its own.
const RUN: &str = "/run/tollgate";

/// The files, in a directory that is also readable from outside.
pub(crate) struct Host {
    directory: PathBuf,
}

impl Host {
    /// Writes the files into `directory` and lays them over the machine's, inside `client`'s mount namespace.
    pub(crate) fn new(directory: &Path, client: &Namespace, root_pem: &str) -> Result<Self> {
        let host = Self { directory: directory.to_owned() };
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
            .context("cannot open the world's directory")?;
        for folder in ["certs", "certs/java", "etc", "home", "empty"] {
            fs::create_dir(directory.join(folder)).with_context(|| format!("cannot make the directory {folder}"))?;
        }
        // Like /tmp: clients run as any user.
        fs::set_permissions(host.home(), fs::Permissions::from_mode(0o1777)).context("cannot open the home")?;
        host.write("root.pem", root_pem)?;
        host.write("certs/ca-certificates.crt", root_pem)?;
        host.write("etc/hosts", HOSTS)?;
        host.write("etc/nsswitch.conf", NSSWITCH)?;
        host.set_name_server(NAME_SERVER.v4.into())?;

        for file in ["etc/resolv.conf", "etc/hosts", "etc/nsswitch.conf"] {
            let over = Path::new("/").join(file);
            if !over.exists() {
                bail!("{} does not exist, so the world's cannot be laid over it; create it, empty", over.display());
            }
            lay(client, &directory.join(file), &over)?;
        }
        if !Path::new(CERTS).is_dir() {
            bail!("{CERTS} does not exist; install ca-certificates (`cargo xtask setup`)");
        }
        lay(client, &directory.join("certs"), Path::new(CERTS))?;
        for over in OTHER_BUNDLES.map(Path::new).into_iter().filter(|path| path.exists()) {
            // On some systems these are links into the directory that was laid over just now.
            if !over.canonicalize().is_ok_and(|real| real.starts_with(CERTS)) {
                lay(client, &host.bundle(), over)?;
            }
        }
        for over in NAME_CACHES.map(Path::new).into_iter().filter(|path| path.is_dir()) {
            lay(client, &directory.join("empty"), over)?;
        }
        // So that commands of one world share a ledger and an audit, as on a machine, and no two worlds do.
        for over in [STATE.0, LOG.0, RUN] {
            fs::create_dir_all(over).with_context(|| format!("cannot make {over} to lay the world's over"))?;
        }
        for (over, folder) in [STATE, LOG] {
            fs::create_dir(directory.join(folder)).with_context(|| format!("cannot make the directory {folder}"))?;
            lay(client, &directory.join(folder), Path::new(over))?;
        }
        client
            .run(|| async { mount(Some("tmpfs"), RUN, Some("tmpfs"), MsFlags::empty(), Some("mode=755")) })
            .with_context(|| format!("cannot mount memory over {RUN}"))?;
        Ok(host)
    }

    /// The system bundle as the clients see it.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.directory.join("certs/ca-certificates.crt")
    }

    /// The world's root alone.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("root.pem")
    }

    /// Where `/var/lib/tollgate` of the client host is, seen from outside.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Where `/var/log/tollgate` of the client host is, seen from outside.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join(LOG.1)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    /// Written in place, so that what is mounted changes with it.
    pub(crate) fn set_name_server(&self, address: IpAddr) -> Result<()> {
        self.write("etc/resolv.conf", &format!("nameserver {address}\noptions timeout:2 attempts:2\n"))
    }

    /// Adds certificates to the system bundle, in place.
    pub(crate) fn trust(&self, pem: &str) -> Result<()> {
        let mut bundle = fs::OpenOptions::new().append(true).open(self.bundle()).context("cannot open the bundle")?;
        write!(bundle, "\n{pem}").context("cannot add to the bundle")
    }

    /// Makes Debian's Java trust store (`/etc/ssl/certs/java/cacerts`) of the certificates in the system bundle.
    pub(crate) fn trust_in_java(&self) -> Result<PathBuf> {
        let store = self.directory.join("certs/java/cacerts");
        let bundle = fs::read_to_string(self.bundle()).context("cannot read the bundle")?;
        if store.exists() {
            fs::remove_file(&store).context("cannot replace the Java store")?;
        }
        for (number, certificate) in certificates(&bundle).enumerate() {
            let file = self.directory.join(format!("java-{number}.pem"));
            fs::write(&file, certificate).context("cannot write a certificate for keytool")?;
            import(&store, &format!("world-{number}"), &file)?;
        }
        fs::set_permissions(&store, fs::Permissions::from_mode(0o644)).context("cannot open the Java store")?;
        Ok(store)
    }

    fn write(&self, file: &str, content: &str) -> Result<()> {
        fs::write(self.directory.join(file), content).with_context(|| format!("cannot write the world's {file}"))
    }
}

/// Lays `file` (or a directory) over `over` for the client's processes, running ones included.
pub(crate) fn lay(client: &Namespace, file: &Path, over: &Path) -> Result<()> {
    let (from, to) = (file.to_owned(), over.to_owned());
    client
        .run(move || async move { mount(Some(&from), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>) })
        .with_context(|| format!("cannot bind {} over {}", file.display(), over.display()))
}

fn certificates(bundle: &str) -> impl Iterator<Item = String> {
    const END: &str = "-----END CERTIFICATE-----";
    bundle.split_inclusive(END).filter(|part| part.contains(END)).map(|part| format!("{}\n", part.trim_start()))
}

fn import(store: &Path, alias: &str, certificate: &Path) -> Result<()> {
    // Java opens its default store without the password, and reads certificates that way in JKS, not in PKCS #12.
    let done = Command::new("keytool")
        .args(["-importcert", "-noprompt", "-storetype", "JKS", "-storepass", "changeit", "-alias", alias])
        .arg("-keystore")
        .arg(store)
        .arg("-file")
        .arg(certificate)
        .output()
        .context("cannot run keytool; install a JDK (`cargo xtask setup`)")?;
    if !done.status.success() {
        bail!("keytool failed: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::certificates;

    #[test]
    fn a_bundle_is_split_into_its_certificates() {
        let one = "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n";
        let two = one.replace("AA", "BB");
        let parts: Vec<String> = certificates(&format!("{one}\n{two}\n")).collect();
        assert_eq!(parts, [one, two.as_str()]);
        assert_eq!(certificates("").count(), 0);
    }
}
