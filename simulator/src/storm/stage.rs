//! What a storm takes place on: an emulator with limits, authorities, and one enrollment group.

use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use http::Method;
use linarite_env::Env;
use serde_json::json;

use super::{EPOCH, Over, Plan};
use crate::device::Account;
use crate::lab::Lab;
use crate::lab::bare::{Desk, Leaves};
use crate::observation::{DeviceIndex, Generation};
use crate::pki::{Credential, Pki};
use crate::service_client::{Authorization, Call, ConnectionString, ServiceClient};

/// Who signs the devices' certificates.
const ISSUER: &str = "storm-intermediate";
const ROOT: &str = "storm-root";
/// Where the management API keeps provisioning services.
const MANAGEMENT: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/\
                          linarite/providers/Microsoft.Devices/provisioningServices";
/// The certificates are good for two years, longer than any storm.
const VALIDITY: (i64, i64) = (EPOCH.0 / 1000 - 86_400, EPOCH.0 / 1000 + 2 * 31_536_000);

pub(super) struct Stage {
    pub(super) lab: Lab,
    pub(super) env: Env,
    pub(super) account: Arc<Account>,
    pki: Pki,
    /// The devices' certificates, where nobody looks at signatures.
    leaves: Option<Leaves>,
}

/// The registration id of a device.
pub(super) fn name(device: DeviceIndex) -> String {
    format!("dev-{:07}", u64::from(device.0) + 1)
}

impl Stage {
    pub(super) async fn set_up(plan: &Plan, env: Env) -> anyhow::Result<Self> {
        let limits = &plan.limits;
        let lab = Lab::under_limits(
            env.clone(),
            plan.over.mode(plan.devices),
            limits.registrations(),
            limits.tier,
            limits.refused_requests_count,
        )
        .await?;
        let mut pki = Pki::new();
        pki.add_root(ROOT, VALIDITY.0, VALIDITY.1)?;
        pki.add_intermediate(ISSUER, ROOT, VALIDITY.0, VALIDITY.1)?;
        let account = Account {
            dps_host: lab.services.dps_host.as_str().into(),
            id_scope: lab.services.id_scope.as_str().into(),
        };
        let mut stage = Self {
            lab,
            env,
            account: Arc::new(account),
            pki,
            leaves: None,
        };
        stage.enroll().await?;
        if plan.over == Over::Nothing {
            let first = stage.credential(DeviceIndex(0))?;
            stage.leaves = Some(Leaves::after(first)?);
        }
        Ok(stage)
    }

    /// The certificate of a device.
    pub(super) fn credential(&self, device: DeviceIndex) -> anyhow::Result<Credential> {
        let (first, last) = VALIDITY;
        let name = name(device);
        match &self.leaves {
            Some(leaves) => Ok(leaves.credential(&name, device.0)?),
            None => Ok(self.pki.leaf(ISSUER, &name, Generation(1), first, last)?),
        }
    }

    /// A connection without a wire, on which a device shows `credential`.
    pub(super) fn desk(
        &self,
        device: DeviceIndex,
        credential: &Credential,
    ) -> anyhow::Result<Desk> {
        let leaves = self.leaves.as_ref();
        let leaves = leaves.context("a storm with TLS has no desks")?;
        let chain = leaves.chain(credential.common_name(), device.0)?;
        Ok(self.lab.desk(chain)?)
    }

    /// Puts the root and the fleet's group into DPS, through the APIs that operators use.
    async fn enroll(&self) -> anyhow::Result<()> {
        let services = &self.lab.services;
        let connector = Arc::clone(&self.lab.connector);
        let client = ServiceClient::new(services, connector, self.env.clock.clone())?;
        let put = |path, authorization, body| Call {
            method: Method::PUT,
            host: &services.dps_host,
            path,
            authorization,
            if_match: None,
            body: Some(body),
        };
        let root = BASE64.encode(self.pki.certificate_der(ROOT)?);
        let name = &services.dps_name;
        let bearer = Authorization::Bearer("linarite");
        let upload = put(
            format!("{MANAGEMENT}/{name}/certificates/{ROOT}?api-version=2022-02-05"),
            &bearer,
            json!({ "properties": { "certificate": root, "isVerified": true } }),
        );
        let uploaded = client.send(&upload).await;
        uploaded.context("cannot upload the fleet's root")?;
        let issuer = self.pki.certificate_pem(ISSUER)?;
        let key = ConnectionString::parse(&services.dps_connection_string)?;
        let sas = Authorization::Sas(Arc::new(key));
        let enroll = put(
            "/enrollmentGroups/storm?api-version=2021-10-01".to_owned(),
            &sas,
            json!({
                "enrollmentGroupId": "storm",
                "attestation": { "type": "x509", "x509": { "signingCertificates": {
                    "primary": { "certificate": issuer },
                } } },
                "provisioningStatus": "enabled",
            }),
        );
        let enrolled = client.send(&enroll).await;
        enrolled.context("cannot enroll the fleet")?;
        client.rest();
        Ok(())
    }
}
