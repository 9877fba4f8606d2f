//! Where and when a run took place.

use std::fs;

use serde::Serialize;

/// The machine and the time.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    /// When the run began, UTC.
    pub(super) date: String,
    pub(super) kernel: String,
    pub(super) processor: String,
    pub(super) processors: usize,
    pub(super) memory_bytes: u64,
    pub(super) is_virtual: bool,
    /// The generators of load.
    pub(super) generators: Vec<String>,
}

impl Machine {
    pub(super) fn here() -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = cpu.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = read("/proc/meminfo");
        let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            processor: field("model name"),
            processors: cpu.lines().filter(|line| line.starts_with("processor")).count(),
            memory_bytes: memory.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or_default() * 1024,
            is_virtual: field("flags").split(' ').any(|flag| flag == "hypervisor"),
            generators: generators(),
        }
    }

    /// In one line.
    pub(super) fn line(&self) -> String {
        let kind = if self.is_virtual { "virtual machine" } else { "machine" };
        format!(
            "{}; {} × {}, {:.0} GiB ({kind}); {}; {}",
            self.date,
            self.processors,
            self.processor,
            self.memory_bytes as f64 / f64::from(1 << 30),
            self.kernel,
            self.generators.join(", "),
        )
    }
}

fn generators() -> Vec<String> {
    let first = |program: &str, argument: &str| {
        let said = std::process::Command::new(program).arg(argument).output().ok()?;
        let text =
            String::from_utf8_lossy(if said.stdout.is_empty() { &said.stderr } else { &said.stdout }).into_owned();
        text.lines().next().map(str::to_owned)
    };
    let h2load = first("h2load", "--version");
    let wrk = first("wrk", "-v").and_then(|line| Some(line.split(" [").next()?.to_owned()));
    h2load.into_iter().chain(wrk).collect()
}
