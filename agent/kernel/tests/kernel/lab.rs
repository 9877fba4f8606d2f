//! A cgroup, a network namespace with providers in it, and clients that live in both.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    ops::Deref,
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};
use tollgate_kernel::{Flow, Kernel, Listeners, NetnsCookie, Options, cgroup, listen, listener::PORTS};

/// An address whose name is intercepted, and one that nobody cares about.
pub(crate) const PROVIDER: &str = "203.0.113.7";
pub(crate) const OTHER: &str = "203.0.113.8";
pub(crate) const PROVIDER6: &str = "2001:db8::7";
pub(crate) const OTHER6: &str = "2001:db8::8";

/// Long enough for a busy machine; nothing waits for it to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Where a test takes place.
pub(crate) struct Lab {
    pub(crate) scope: cgroup::Scope,
    pub(crate) netns: NetnsCookie,
}

/// Runs a test on a thread in a network namespace of its own, where the provider's addresses are local and answer
/// "direct" on port 443.
pub(crate) fn lab(test: impl FnOnce(&Lab) + Send) {
    assert!(nix::unistd::geteuid().is_root(), "these tests load programs into the kernel: run them as root");
    thread::scope(|threads| {
        let body = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            for arguments in [
                "link set lo up",
                "route add local 203.0.113.0/24 dev lo",
                "addr add 192.0.2.1/32 dev lo",
                "addr add 192.0.2.53/32 dev lo",
                "addr add 2001:db8::7/128 dev lo nodad",
                "addr add 2001:db8::8/128 dev lo nodad",
                "addr add 2001:db8::53/128 dev lo nodad",
            ] {
                run("ip", &arguments.split(' ').collect::<Vec<_>>());
            }
            let server = TcpListener::bind("[::]:443").expect("the provider's port");
            thread::spawn(move || serve(&server, "direct"));
            let root = cgroup::root().unwrap_or_else(|error| panic!("{error}"));
            let scope = cgroup::Scope::create(&root, &unique()).unwrap_or_else(|error| panic!("{error}"));
            test(&Lab { scope, netns: NetnsCookie::current().expect("a cookie") });
        };
        let outcome = thread::Builder::new().spawn_scoped(threads, body).expect("a thread").join();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// A name for a cgroup.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("tollgate-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a program to its successful end.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output().expect("the program is installed");
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Answers every connection with a word, and closes it once the client has.
pub(crate) fn serve(listener: &TcpListener, word: &'static str) {
    while let Ok((stream, _)) = listener.accept() {
        thread::spawn(move || answer(stream, word));
    }
}

/// Answers one connection with a word.
pub(crate) fn answer(mut stream: TcpStream, word: &str) {
    stream.set_nonblocking(false).expect("a blocking socket");
    // The client may be gone already; then it does not need an answer.
    if stream.write_all(word.as_bytes()).is_ok() {
        let _rest = stream.read_to_end(&mut Vec::new());
    }
}

/// The programs, attached to the lab's cgroup, and listeners that they send connections to.
pub(crate) struct Agent {
    pub(crate) kernel: Kernel,
    pub(crate) listeners: Listeners,
}

impl Deref for Agent {
    type Target = Kernel;

    fn deref(&self) -> &Kernel {
        &self.kernel
    }
}

impl Agent {
    /// One that knows the providers and takes their connections.
    pub(crate) fn start(lab: &Lab, options: &Options) -> Self {
        let kernel = load(options);
        let listeners = listen(PORTS).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(listeners.netns, lab.netns);
        kernel.attach(lab.scope.path()).unwrap_or_else(|error| panic!("{error}"));
        kernel.serve(&listeners).expect("a served namespace");
        for address in [PROVIDER, PROVIDER6] {
            kernel.learn(address.parse().expect("an address"), Duration::ZERO).expect("a known address");
        }
        Self { kernel, listeners }
    }

    /// Accepts the next connection and takes its flow at once.
    pub(crate) fn accept(&self) -> (TcpStream, SocketAddr, Option<Flow>) {
        let start = Instant::now();
        loop {
            for listener in [Some(&self.listeners.v4), self.listeners.v6.as_ref()].into_iter().flatten() {
                match listener.accept() {
                    Ok((stream, peer)) => return (stream, peer, self.kernel.take_flow(self.listeners.netns, peer)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("accept: {error}"),
                }
            }
            assert!(start.elapsed() < PATIENCE, "nothing arrives");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Accepts the next connection, answers "agent" and gives back its flow.
    pub(crate) fn take(&self) -> Flow {
        let (stream, peer, flow) = self.accept();
        thread::spawn(move || answer(stream, "agent"));
        flow.unwrap_or_else(|| panic!("the connection from {peer} has no flow"))
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        let counters = self.kernel.counters();
        counters.iter().find(|(counter, _)| *counter == name).unwrap_or_else(|| panic!("no counter {name}")).1
    }
}

/// Options under which the agent never counts as hung, however slow the machine is.
pub(crate) fn patient() -> Options {
    Options { stale_after: Duration::from_hours(1), ..Options::default() }
}

/// Loads the programs, or says why not.
pub(crate) fn load(options: &Options) -> Kernel {
    Kernel::load(options).unwrap_or_else(|error| panic!("{error}"))
}

/// What clients have at hand.
const PRELUDE: &str = r#"
import os, select, socket, struct, sys
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
V4, V6 = socket.AF_INET, socket.AF_INET6
def say(*words):
    print(*words, flush=True)
def talk(s):
    "What the server says, and who the kernel says it is."
    s.settimeout(30)
    word = s.recv(100).decode()
    peer = s.getpeername()
    say(word, peer[0], peer[1])
    s.close()
def call(family, address, port=443):
    s = socket.socket(family, TCP)
    try:
        s.connect((address, port))
    except OSError as error:
        say(os.strerror(error.errno))
    else:
        talk(s)
"#;

/// A Python program in the lab's cgroup and namespace.
pub(crate) struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Lab {
    /// Starts a client in the lab's cgroup. It starts with what clients have at hand and says things line by line.
    pub(crate) fn client(&self, script: &str) -> Client {
        Client::start(&self.scope, script)
    }

    /// Has a client call an address and tells what it heard.
    pub(crate) fn call(&self, address: &str) -> String {
        let family = if address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()) { "V4" } else { "V6" };
        self.client(&format!("call({family}, '{address}')")).line()
    }
}

impl Client {
    /// Starts a client in a cgroup, and in the network namespace of the calling thread.
    pub(crate) fn start(scope: &cgroup::Scope, script: &str) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-I", "-S", "-c", &format!("{PRELUDE}{script}")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        enter(&mut command, scope);
        let mut child = command.spawn().expect("python3 is installed");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, input, output }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it go on from where it reads a line.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the client listens");
    }

    /// The next line it says.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        assert!(!line.is_empty(), "the client ended: {:?}", self.child.wait());
        line.trim_end().to_owned()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It has ended by itself unless the test failed.
        let _ended = self.child.kill();
        self.child.wait().expect("a child of this process");
    }
}

/// Makes a command start in a cgroup.
pub(crate) fn enter(command: &mut Command, scope: &cgroup::Scope) {
    let procs = std::fs::OpenOptions::new().write(true).open(scope.procs()).expect("the cgroup's file");
    let join = move || (&procs).write_all(b"0");
    // SAFETY: between fork and exec the child only makes the system call `write` on an open file.
    unsafe { command.pre_exec(join) };
}
