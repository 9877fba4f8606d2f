//! What a contender uses, and how noisy the machine is.

mod cpu;
mod memory;
mod noise;
mod programs;

pub use cpu::{Usage, cores_between, cpu_time};
pub use memory::{Memory, of_cgroup, processes};
pub use noise::{Noise, Watch, load_average, spin};
pub use programs::{Counting, Runs, programs};
