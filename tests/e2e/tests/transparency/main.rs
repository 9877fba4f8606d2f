//! What the client sends is what the provider gets, and the other way round: compared with a direct call of the same client in
//! the same world.

mod http;
mod large;
mod random;
mod raw;
mod stream;

use std::fmt::Debug;
use std::time::Duration;

use tollgate_e2e::wire::Fields;

const PROBE: &str = env!("CARGO_BIN_EXE_probe");
const GENEROUS: Duration = Duration::from_mins(1);

/// Where two things differ, in few words, for they are long.
pub(crate) fn difference<T: PartialEq + Debug>(what: &str, direct: &T, steered: &T) -> Option<String> {
    if direct == steered {
        return None;
    }
    // Heads are one long string otherwise.
    let [direct, steered] = [direct, steered].map(|seen| format!("{seen:#?}").replace("\\r\\n", "\n"));
    let (direct, steered): (Vec<&str>, Vec<&str>) = (direct.lines().collect(), steered.lines().collect());
    let only = |these: &[&str], those: &[&str], mark: &str| -> String {
        let lines = these.iter().filter(|line| !those.contains(line)).take(6);
        lines.map(|line| format!("{mark}{:.160}\n", line.trim())).collect::<Vec<_>>().concat()
    };
    let (less, more) = (only(&direct, &steered, "-"), only(&steered, &direct, "+"));
    let order = if less.is_empty() && more.is_empty() { "the same lines in another order" } else { "" };
    Some(format!("{what} other things through the agent (+) than directly (-):\n{less}{more}{order}"))
}

/// The same fields in the order in which their names first occur: HTTP libraries keep equal names together, and only their own
/// order has a meaning (RFC 9110 § 5.3).
pub(crate) fn grouped(fields: &Fields) -> Fields {
    let first = |name: &str| fields.iter().position(|(other, _)| other.eq_ignore_ascii_case(name));
    let mut fields = fields.clone();
    let order: Vec<_> = fields.iter().map(|(name, _)| first(name)).collect();
    let mut numbered: Vec<_> = order.into_iter().zip(fields.drain(..)).collect();
    numbered.sort_by_key(|(place, _)| *place);
    numbered.into_iter().map(|(_, field)| field).collect()
}
