//! Addresses as the maps hold them: sixteen bytes, IPv4 as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2).

/// An address as two numbers, for byte arrays are dear to the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    high: u64,
    low: u64,
}

/// An address as a map has it: network byte order in memory.
pub type Key = [u64; 2];

/// What stands before the four octets of an IPv4-mapped address.
const MAPPED: u64 = 0xffff;

impl Address {
    /// From an IPv4 address.
    #[inline(always)]
    pub const fn v4(bits: u32) -> Self {
        Self { high: 0, low: (MAPPED << 32) | bits as u64 }
    }

    /// From the upper and the lower half of an IPv6 address.
    #[inline(always)]
    pub const fn v6(high: u64, low: u64) -> Self {
        Self { high, low }
    }

    /// From the four words of an IPv6 address, each in network order, as the kernel's contexts have it.
    #[inline(always)]
    pub const fn from_words([first, second, third, last]: [u32; 4]) -> Self {
        const fn join(upper: u32, lower: u32) -> u64 {
            ((u32::from_be(upper) as u64) << 32) | u32::from_be(lower) as u64
        }
        Self { high: join(first, second), low: join(third, last) }
    }

    /// From the bytes of an IPv6 address.
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        let bits = u128::from_be_bytes(octets);
        Self { high: (bits >> 64) as u64, low: bits as u64 }
    }

    /// As a map has it.
    #[inline(always)]
    pub const fn key(self) -> Key {
        [self.high.to_be(), self.low.to_be()]
    }

    /// Whether it is IPv4-mapped.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.high == 0 && self.low >> 32 == MAPPED
    }

    /// Whether it is 127.0.0.1, IPv4-mapped, or ::1: where listeners are.
    #[inline(always)]
    pub const fn is_localhost(self) -> bool {
        self.high == 0 && (self.low == 1 || self.low == (MAPPED << 32) | 0x7f00_0001)
    }

    /// Whether it can be a provider's: not loopback, unspecified, link-local or multicast. A name that answers with
    /// one of those must not make the hooks touch local traffic.
    #[inline(always)]
    pub const fn is_interceptable(self) -> bool {
        if self.is_v4() {
            let bits = self.low as u32;
            let first = bits >> 24;
            // 0/8, 127/8, 224/4 and up, 169.254/16.
            return first != 0 && first != 127 && first < 224 && bits >> 16 != 0xa9fe;
        }
        // The rest of ::/64 holds ::, ::1 and what no host has; fe80::/10 is link-local, ff00::/8 is multicast.
        self.high != 0 && self.high >> 54 != 0x3fa && self.high >> 56 != 0xff
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    fn address(text: &str) -> Address {
        match text.parse().expect("an address") {
            IpAddr::V4(v4) => Address::v4(v4.to_bits()),
            IpAddr::V6(v6) => Address::from_octets(v6.octets()),
        }
    }

    #[test]
    fn providers_and_private_endpoints_can_be_intercepted() {
        for text in
            ["162.159.140.245", "203.0.113.7", "10.0.0.8", "192.168.1.1", "2001:db8::1", "fd00::1", "64:ff9b::1"]
        {
            assert!(address(text).is_interceptable(), "{text}");
        }
    }

    #[test]
    fn local_addresses_are_never_intercepted() {
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "224.0.0.251",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "ff02::fb",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
        ] {
            assert!(!address(text).is_interceptable(), "{text}");
        }
    }

    #[test]
    fn only_the_listeners_addresses_are_localhost() {
        for (text, localhost) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("::1", true),
            ("127.0.0.2", false),
            ("::2", false),
            ("1::1", false),
        ] {
            assert_eq!(address(text).is_localhost(), localhost, "{text}");
        }
    }

    #[test]
    fn keys_are_in_network_order() {
        let bytes: [u8; 16] = core::array::from_fn(|index| index as u8);
        let [high, low] = Address::from_octets(bytes).key();
        assert_eq!([high.to_ne_bytes(), low.to_ne_bytes()].as_flattened(), bytes);
        assert_eq!(address("203.0.113.7"), address("::ffff:203.0.113.7"));
    }
}
