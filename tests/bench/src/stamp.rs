//! What the origin writes into each event's text and the load generator reads there: a number and a time.
//!
//! The time is that of `CLOCK_MONOTONIC`, which all namespaces of one machine share.

use memchr::memmem;
use nix::time::{ClockId, clock_gettime};

/// Bytes of a stamp.
pub const LENGTH: usize = MARK.len() + DIGITS_OF_NUMBER + 1 + DIGITS_OF_TIME + 1;

const MARK: &str = " n=";
const DIGITS_OF_NUMBER: usize = 7;
const DIGITS_OF_TIME: usize = 17;

/// Nanoseconds of the machine's monotonic clock.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has this clock");
    let (seconds, nanoseconds) = (time.tv_sec().unsigned_abs(), time.tv_nsec().unsigned_abs());
    seconds * 1_000_000_000 + nanoseconds
}

/// A stamp, always of the same length and safe in JSON.
pub fn write(number: u32, time: u64) -> [u8; LENGTH] {
    let mut stamp = [b'.'; LENGTH];
    stamp[..MARK.len()].copy_from_slice(MARK.as_bytes());
    digits(&mut stamp[MARK.len()..][..DIGITS_OF_NUMBER], number.into());
    digits(&mut stamp[MARK.len() + DIGITS_OF_NUMBER + 1..][..DIGITS_OF_TIME], time);
    stamp
}

/// The number and time of the first stamp in an event, which may have been written anew on its way.
pub fn read(event: &[u8]) -> Option<(u32, u64)> {
    let at = memmem::find(event, MARK.as_bytes())? + MARK.len();
    let stamp = event.get(at..at + LENGTH - MARK.len())?;
    let number = value(&stamp[..DIGITS_OF_NUMBER])?;
    let time = value(&stamp[DIGITS_OF_NUMBER + 1..][..DIGITS_OF_TIME])?;
    Some((u32::try_from(number).ok()?, time))
}

fn digits(to: &mut [u8], mut value: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn value(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        for (number, time) in [(0, 0), (499, now()), (9_999_999, 99_999_999_999_999_999)] {
            let event = [b"data: {\"content\":\"".as_slice(), &write(number, time), b"\"}"].concat();
            assert_eq!(read(&event), Some((number, time)));
        }
    }

    #[test]
    fn what_has_no_whole_stamp_has_none() {
        for event in ["", "data: [DONE]", " n=", " n=0000001.000000000000000", " n=000000x.00000000000000001."] {
            assert_eq!(read(event.as_bytes()), None, "{event}");
        }
    }
}
