//! A lab whose limits hold, for devices by the thousand: with TLS, or without it and without
//! streams.

use anyhow::Context as _;
use linarite_core::certificate::vouched::{Mould, MouldError};
use linarite_core::certificate::{Certificate, Chain};
use linarite_core::hub::tier::Tier;
use linarite_core::throttle::RateLimit;
use linarite_emulator::{Config, DeskError, DpsThrottles, HubLimits};
use linarite_env::Env;

pub(crate) use linarite_emulator::Desk;

use super::{DPS_HOST, Lab, LabMode};
use crate::pki::Credential;

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

    /// A connection without a wire, on which `chain` is shown.
    pub(crate) fn desk(&self, chain: Chain) -> Result<Desk, DeskError> {
        self.emulator.desk(Some(chain))
    }
}

/// The leaves of a fleet by value. Without TLS nobody proves that he holds the key of his
/// certificate, so keys, signatures, and their checks would only cost time; certificates, and with
/// them names, numbers and thumbprints, are each device's own.
pub(crate) struct Leaves {
    template: Credential,
    mould: Mould,
    above: Vec<Certificate>,
}

impl Leaves {
    /// Leaves after that of `template`, which is shown with its issuers.
    ///
    /// # Errors
    /// If it has none, if they cannot be read, or if it cannot be a template.
    pub(crate) fn after(template: Credential) -> anyhow::Result<Self> {
        let chain = template.chain();
        let mut read = chain.iter().map(|der| Certificate::from_der(der));
        let leaf = read.next().context("a template without a leaf")??;
        let above = read.collect::<Result<Vec<_>, _>>()?;
        let issuer = above.first().context("a template without an issuer")?;
        let mould = Mould::new(leaf, issuer)?;
        Ok(Self {
            template,
            mould,
            above,
        })
    }

    /// What the device `name`, which is the one of that number, has in its store.
    pub(crate) fn credential(&self, name: &str, number: u32) -> Result<Credential, MouldError> {
        let leaf = self.mould.cast(name, u64::from(number))?;
        Ok(self.template.with_leaf(name, &leaf))
    }

    /// What it shows.
    pub(crate) fn chain(&self, name: &str, number: u32) -> Result<Chain, MouldError> {
        let leaf = self.mould.cast(name, u64::from(number))?;
        Ok(Chain::new(leaf, self.above.iter().cloned()))
    }
}
