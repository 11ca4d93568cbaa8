//! A lab whose limits hold, for devices by the thousand: with TLS, or without it and without
//! streams.

use anyhow::Context as _;
use linarite_core::hub::tier::Tier;
use linarite_core::throttle::RateLimit;
use linarite_emulator::{Config, DeskError, DpsThrottles, HubLimits};
use linarite_env::Env;
use rustls::pki_types::CertificateDer;

pub(crate) use linarite_emulator::Desk;

use super::{DPS_HOST, Lab, LabMode};

/// Host name of the hub.
const HUB_HOST: &str = "hub.linarite.test";

impl Lab {
    /// A lab with one hub, where DPS accepts so many `registrations` and the limits of `tier`
    /// hold; neither is limited without one. `refused_requests_count` is the setting (R-H1).
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) async fn under_limits(
        env: Env,
        mode: LabMode,
        registrations: Option<RateLimit>,
        tier: Option<Tier>,
        refused_requests_count: bool,
    ) -> anyhow::Result<Self> {
        let hubs = [HUB_HOST.to_owned()];
        let mut config = Config::local(DPS_HOST, &hubs).context("the lab's host names")?;
        config.settings.refused_requests_count = refused_requests_count;
        if registrations.is_some() {
            config.dps.throttles = DpsThrottles {
                registrations,
                service_operations: None,
                ..DpsThrottles::azure()
            };
        }
        if let (Some(tier), Some(hub)) = (tier, config.hubs.first_mut()) {
            hub.tier = Some(tier);
            hub.limits = HubLimits::of_tier(tier);
        }
        Self::with(env, mode, config).await
    }

    /// Has no limit hold until they are not `lifted` any more, so that a fleet can be made that is
    /// measured afterwards.
    pub(crate) fn lift_limits(&self, lifted: bool) {
        self.emulator.lift_limits(lifted);
    }

    /// A connection without a wire, on which `chain` is shown, leaf first.
    pub(crate) fn desk(&self, chain: &[CertificateDer<'_>]) -> Result<Desk, DeskError> {
        self.emulator.desk(chain)
    }
}
