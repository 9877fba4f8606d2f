//! What the programs count.

/// Declares the counters once: their index in the map, their name in the metrics, and what they count.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// A reason that is counted, by its index in the per-CPU array.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Counter {
            /// All of them, in the order of their index.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name it is exported under.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

counters! {
    /// Connections sent to the agent's listener.
    Redirected => "redirected",
    /// Connections to known addresses made by the agent itself.
    Agent => "agent",
    /// Connections left alone because the socket is bound to a device.
    BoundDevice => "bound_device",
    /// Connections to known addresses left alone because of their port.
    OtherPort => "other_port",
    /// Connections left alone because the namespace has no listener, or its listener is gone.
    NoListener => "no_listener",
    /// Connections left alone because the agent's heartbeat is stale.
    Stale => "stale",
    /// Connections refused because no live listener could take them and the setting is closed.
    Refused => "refused",
    /// Connections left alone because the flow could not be remembered.
    FlowLost => "flow_lost",
    /// UDP to port 443 of a known address, refused.
    QuicRefused => "quic_refused",
    /// DNS answers whose question is an intercepted name.
    DnsMatched => "dns_matched",
    /// Addresses learned or refreshed from DNS answers.
    DnsLearned => "dns_learned",
    /// DNS answers given up on because they are malformed or too long to follow.
    DnsMalformed => "dns_malformed",
}

/// The length of the map.
pub const COUNTERS: u32 = Counter::ALL.len() as u32;
