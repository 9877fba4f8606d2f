//! Addresses as the maps hold them: sixteen bytes, IPv4 as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2).

/// The first twelve bytes of an IPv4-mapped address.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// The map form of four octets.
#[inline(always)]
pub const fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = v4;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Whether the address can be a provider's: not loopback, unspecified, link-local or multicast. A name that answers
/// with one of those must not make the hooks touch local traffic.
#[inline(always)]
pub const fn is_interceptable(address: &[u8; 16]) -> bool {
    let high = u64::from_be_bytes([
        address[0], address[1], address[2], address[3], address[4], address[5], address[6], address[7],
    ]);
    let low = u64::from_be_bytes([
        address[8],
        address[9],
        address[10],
        address[11],
        address[12],
        address[13],
        address[14],
        address[15],
    ]);
    if high == 0 && (low >> 32) == 0xffff {
        let first = (low >> 24) & 0xff;
        // 0/8, 127/8, 169.254/16, 224/4 and up.
        return first != 0 && first != 127 && first < 224 && ((low >> 16) & 0xffff) != 0xa9fe;
    }
    // The rest of ::/64 holds ::, ::1 and what no host has; fe80::/10 is link-local, ff00::/8 is multicast.
    high != 0 && (high >> 54) != 0x3fa && (high >> 56) != 0xff
}

/// The four octets, if the address is IPv4-mapped.
pub fn to_v4(address: &[u8; 16]) -> Option<[u8; 4]> {
    let (prefix, octets) = address.split_at(12);
    (prefix == MAPPED).then(|| [octets[0], octets[1], octets[2], octets[3]])
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv6Addr};

    use super::*;

    fn interceptable(text: &str) -> bool {
        let octets = match text.parse().expect("an address") {
            IpAddr::V4(v4) => mapped(v4.octets()),
            IpAddr::V6(v6) => Ipv6Addr::octets(&v6),
        };
        is_interceptable(&octets)
    }

    #[test]
    fn providers_and_private_endpoints_can_be_intercepted() {
        for text in
            ["162.159.140.245", "203.0.113.7", "10.0.0.8", "192.168.1.1", "2001:db8::1", "fd00::1", "64:ff9b::1"]
        {
            assert!(interceptable(text), "{text}");
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
        ] {
            assert!(!interceptable(text), "{text}");
        }
    }

    #[test]
    fn only_mapped_addresses_are_ipv4() {
        assert_eq!(to_v4(&mapped([203, 0, 113, 7])), Some([203, 0, 113, 7]));
        assert_eq!(to_v4(&Ipv6Addr::LOCALHOST.octets()), None);
    }
}
