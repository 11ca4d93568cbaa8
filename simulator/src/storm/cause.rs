//! Why a fleet comes back, and what each of its devices has to pass for it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use linarite_core::hub::tier::Metered;
use linarite_core::throttle::RateLimit;

use super::Limits;
use crate::scenario::duration::Span;
use crate::scenario::suggest::with_suggestion;

/// Why a whole fleet comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is switched on for the first time: each device registers and connects.
    FirstBoot,
    /// The root of its certificates has expired. Each device holds a new certificate and knows its
    /// hub, which refuses the old one, and registers with the new one (R-C11, R-C14).
    RootExpiry,
    /// The root of its certificates was breached, so the operator has removed it from DPS and the
    /// devices from their hub, which refuses them all (R-E4); they register with new certificates.
    Breach,
    /// The hub has lost all connections in one moment; each device goes straight back to it.
    HubFailover {
        /// For how long from that moment on the hub lets nobody in; not negative.
        down_for: Span,
    },
    /// Power is back after a cut.
    PowerCut {
        /// Whether devices have forgotten their hub, so that each registers first (R-C10).
        forgetful: bool,
    },
}

/// A limit that every device has to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Toll {
    /// What is limited.
    pub name: &'static str,
    /// How often that is let through.
    pub limit: RateLimit,
    /// How often each device has to pass.
    pub times: u32,
}

impl Cause {
    /// All of them, power cuts with the hub remembered.
    const ALL: [Self; 5] = [
        Self::FirstBoot,
        Self::RootExpiry,
        Self::Breach,
        Self::HubFailover { down_for: Span(0) },
        Self::PowerCut { forgetful: false },
    ];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstBoot => "first-boot",
            Self::RootExpiry => "root-expiry",
            Self::Breach => "breach",
            Self::HubFailover { .. } => "hub-failover",
            Self::PowerCut { .. } => "power-cut",
        }
    }

    /// What happens, in a sentence for people.
    #[must_use]
    pub fn told(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::FirstBoot => "devices are switched on for the first time, register and connect",
            Self::RootExpiry => {
                "the hub refuses the expired certificates; devices register with new ones and connect"
            }
            Self::Breach => {
                "the hub knows the devices no longer; they register with new certificates and connect"
            }
            Self::HubFailover { down_for: Span(0) } => {
                "the hub lost every connection; devices connect again"
            }
            Self::HubFailover { down_for } => {
                return Cow::Owned(format!(
                    "the hub lost every connection and lets nobody in for {down_for}; devices connect \
                     again"
                ));
            }
            Self::PowerCut { forgetful: false } => {
                "power is back; devices connect to the hub they remember"
            }
            Self::PowerCut { forgetful: true } => {
                "power is back; devices have forgotten their hub, register and connect"
            }
        })
    }

    /// For how long the hub lets nobody in; none where that is no question.
    #[must_use]
    pub const fn down_for(self) -> Option<Span> {
        match self {
            Self::HubFailover { down_for } => Some(down_for),
            _ => None,
        }
    }

    /// When the hub lets devices in, in milliseconds since the start.
    #[must_use]
    pub fn back_ms(self) -> u64 {
        let down_for = self.down_for().unwrap_or_default();
        u64::try_from(down_for.0).unwrap_or(0)
    }

    /// Whether the fleet has to have been provisioned before.
    #[must_use]
    pub const fn needs_a_past(self) -> bool {
        !matches!(self, Self::FirstBoot)
    }

    /// Whether the devices change their certificates.
    #[must_use]
    pub const fn rolls(self) -> bool {
        matches!(self, Self::RootExpiry | Self::Breach)
    }

    /// Whether devices are given certificates, which end together if they were given together.
    #[must_use]
    pub const fn issues(self) -> bool {
        matches!(self, Self::FirstBoot | Self::RootExpiry | Self::Breach)
    }

    /// Whether devices go through DPS.
    const fn registers(self) -> bool {
        match self {
            Self::FirstBoot | Self::RootExpiry | Self::Breach => true,
            Self::HubFailover { .. } => false,
            Self::PowerCut { forgetful } => forgetful,
        }
    }

    /// What each device has to pass under `limits`, and how often. The hub counts a connection that
    /// it then refuses (R-H5), so who is refused first comes twice.
    #[must_use]
    pub fn tolls(self, limits: &Limits) -> Vec<Toll> {
        let of_hub = |metered| limits.tier.map(|tier| tier.limit(metered));
        let registers = u32::from(self.registers());
        let tolls = [
            ("DPS registrations", limits.registrations(), registers),
            // R-H6: what DPS writes for a device counts as an operation on the hub's registry.
            (
                "hub registry writes",
                of_hub(Metered::RegistryOperations),
                registers,
            ),
            (
                "hub connections",
                of_hub(Metered::Connections),
                1 + u32::from(self.rolls()),
            ),
        ];
        let set = |(name, limit, times): (&'static str, Option<RateLimit>, u32)| {
            let limit = limit.filter(|_| times > 0)?;
            Some(Toll { name, limit, times })
        };
        tolls.into_iter().filter_map(set).collect()
    }
}

impl FromStr for Cause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|cause| cause.name() == text);
        named.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            with_suggestion(format!("no cause is called `{text}`; known: {known}"))
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use linarite_core::hub::tier::{Edition, Tier};

    use super::*;

    #[test]
    fn a_cause_is_read_as_it_is_called_and_a_slip_is_recognised() {
        for cause in Cause::ALL {
            assert_eq!(cause.name().parse(), Ok(cause));
        }
        let message = "hub-fail-over".parse::<Cause>().unwrap_err();
        assert!(
            message.ends_with("did you mean `hub-failover`?"),
            "{message}"
        );
    }

    /// R-C10, R-C11, R-H5, R-H6.
    #[test]
    fn each_cause_has_the_gates_that_its_devices_pass() {
        let limits = Limits {
            registrations_per_minute: NonZeroU32::new(1_000),
            tier: Some(Tier::new(Edition::S1, 1).unwrap()),
            refused_requests_count: false,
        };
        let (dps, registry) = (("DPS registrations", 1), ("hub registry writes", 1));
        let connections = |times| ("hub connections", times);
        let forgetful = Cause::PowerCut { forgetful: true };
        for (cause, expected) in [
            (Cause::FirstBoot, vec![dps, registry, connections(1)]),
            (Cause::RootExpiry, vec![dps, registry, connections(2)]),
            (Cause::Breach, vec![dps, registry, connections(2)]),
            (
                Cause::HubFailover { down_for: Span(0) },
                vec![connections(1)],
            ),
            (Cause::PowerCut { forgetful: false }, vec![connections(1)]),
            (forgetful, vec![dps, registry, connections(1)]),
        ] {
            let tolls = cause.tolls(&limits).into_iter();
            let tolls: Vec<_> = tolls.map(|toll| (toll.name, toll.times)).collect();
            assert_eq!(tolls, expected, "{cause}");
        }
    }
}
