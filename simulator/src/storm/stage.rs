//! What a storm takes place on: an emulator with limits, authorities, and one enrollment group.

use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use http::Method;
use linarite_env::{Env, UnixMillis};
use serde_json::{Value, json};

use super::cause::Cause;
use super::{EPOCH, Over, Plan, name_of};
use crate::device::Account;
use crate::lab::Lab;
use crate::lab::bare::{Desk, Leaves};
use crate::observation::{DeviceIndex, Generation};
use crate::pki::{Credential, Pki, PkiError};
use crate::scenario::duration::Span;
use crate::service_client::{Authorization, Call, ConnectionString, ServiceClient};

/// Who signs the devices' certificates.
const ISSUER: &str = "storm-intermediate";
const ROOT: &str = "storm-root";
/// Who signs those that come after them, where the cause of a storm has devices change.
const NEXT_ISSUER: &str = "storm-intermediate-2";
const NEXT_ROOT: &str = "storm-root-2";
/// The generations of both.
const FIRST: Generation = Generation(1);
const NEXT: Generation = Generation(2);
/// Where the management API keeps provisioning services.
const MANAGEMENT: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/\
                          linarite/providers/Microsoft.Devices/provisioningServices";
/// The certificates are good for two years, longer than any storm.
const VALIDITY: (i64, i64) = (EPOCH.0 / 1000 - 86_400, EPOCH.0 / 1000 + 2 * 31_536_000);
/// How long a fleet has to be provisioned before its root expires, in seconds: work takes no time
/// in virtual time, and in real time it does.
const EVE_SECONDS: i64 = 60;
const EVE_MS_EACH_OVER_SOCKETS: i64 = 10;
/// Until both ends of every connection have noticed that it is gone, in milliseconds.
const SETTLING_MS: i64 = 1_000;
/// Identities that one request may delete (R-F2).
const BULK: usize = 100;

pub(super) struct Stage {
    pub(super) lab: Lab,
    pub(super) env: Env,
    pub(super) account: Arc<Account>,
    pki: Pki,
    cause: Cause,
    /// Of the first root and all below it, in Unix seconds.
    validity: (i64, i64),
    /// The devices' certificates and those that come after them, where nobody looks at signatures.
    leaves: Option<[Leaves; 2]>,
}

impl Stage {
    /// A stage on which no limit holds yet if the fleet has to be provisioned before the storm.
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
        lab.lift_limits(plan.cause.needs_a_past());
        let mut pki = Pki::new();
        let validity = validity(plan);
        for (root, issuer, (first, last)) in
            [(ROOT, ISSUER, validity), (NEXT_ROOT, NEXT_ISSUER, VALIDITY)]
        {
            pki.add_root(root, first, last)?;
            pki.add_intermediate(issuer, root, first, last)?;
        }
        let account = Account {
            dps_host: lab.services.dps_host.as_str().into(),
            id_scope: lab.services.id_scope.as_str().into(),
        };
        let mut stage = Self {
            lab,
            env,
            account: Arc::new(account),
            pki,
            cause: plan.cause,
            validity,
            leaves: None,
        };
        if plan.over == Over::Nothing {
            let template = name_of(0);
            let leaves = [stage.leaf(&template)?, stage.next_leaf(&template)?];
            let [first, next] = leaves.map(Leaves::after);
            stage.leaves = Some([first?, next?]);
        }
        let operator = stage.operator()?;
        operator.upload_root(ROOT).await?;
        operator.put_group(ISSUER, None).await?;
        operator.client.rest();
        Ok(stage)
    }

    fn leaf(&self, name: &str) -> Result<Credential, PkiError> {
        let (first, last) = self.validity;
        self.pki.leaf(ISSUER, name, FIRST, first, last)
    }

    fn next_leaf(&self, name: &str) -> Result<Credential, PkiError> {
        let (first, last) = VALIDITY;
        self.pki.leaf(NEXT_ISSUER, name, NEXT, first, last)
    }

    /// The certificate of a device.
    pub(super) fn credential(&self, device: DeviceIndex) -> anyhow::Result<Credential> {
        let name = name_of(device.0);
        match &self.leaves {
            Some([leaves, _]) => Ok(leaves.credential(&name, device.0)?),
            None => Ok(self.leaf(&name)?),
        }
    }

    /// The certificate that a device is given before the storm, below another root; none where it
    /// keeps the one it has.
    pub(super) fn next_credential(
        &self,
        device: DeviceIndex,
    ) -> anyhow::Result<Option<Credential>> {
        if !self.cause.rolls() {
            return Ok(None);
        }
        let name = name_of(device.0);
        let made = match &self.leaves {
            Some([_, leaves]) => leaves.credential(&name, device.0)?,
            None => self.next_leaf(&name)?,
        };
        Ok(Some(made))
    }

    /// A connection without a wire, on which a device shows `credential`.
    pub(super) fn desk(
        &self,
        device: DeviceIndex,
        credential: &Credential,
    ) -> anyhow::Result<Desk> {
        let leaves = self.leaves.as_ref();
        let [first, next] = leaves.context("a storm with TLS has no desks")?;
        let leaves = match credential.generation() {
            FIRST => first,
            _ => next,
        };
        let chain = leaves.chain(credential.common_name(), device.0)?;
        Ok(self.lab.desk(chain)?)
    }

    /// Has happen what the storm comes of, once the fleet is provisioned and its connections are
    /// gone; from then on the limits hold.
    pub(super) async fn bring_about(&self, devices: u32) -> anyhow::Result<()> {
        let operator = self.operator()?;
        match self.cause {
            Cause::RootExpiry => {
                operator.upload_root(NEXT_ROOT).await?;
                operator.put_group(ISSUER, Some(NEXT_ISSUER)).await?;
                let over = UnixMillis((self.validity.1 + 1) * 1000);
                self.env.clock.sleep_until(over).await;
            }
            Cause::Breach => {
                operator.delete_root(ROOT).await?;
                operator.upload_root(NEXT_ROOT).await?;
                operator.put_group(NEXT_ISSUER, None).await?;
                operator.delete_identities(devices).await?;
            }
            Cause::FirstBoot | Cause::HubFailover { .. } | Cause::PowerCut { .. } => {}
        }
        operator.client.rest();
        let settled = self.env.clock.now_ms().0 + SETTLING_MS;
        self.env.clock.sleep_until(UnixMillis(settled)).await;
        self.lab.lift_limits(false);
        Ok(())
    }

    /// Has the hub let nobody in from now on, if it is down for a while in the storm. What devices
    /// are told is what they are told in a scenario whose hub restarts.
    pub(super) async fn fail_over(&self) -> anyhow::Result<()> {
        let down_for = self.cause.down_for().unwrap_or_default();
        if down_for == Span(0) {
            return Ok(());
        }
        let trouble = self.lab.connector.trouble();
        let trouble = trouble.context("the lab cannot be made to fail")?;
        let (host, _) = { self.lab.services.hubs.first() }.context("the storm has no hub")?;
        let failed_over = trouble.restart_hub(host, down_for.duration()).await;
        failed_over.map_err(|error| anyhow!("the hub cannot fail over: {error}"))
    }

    fn operator(&self) -> anyhow::Result<Operator<'_>> {
        let services = &self.lab.services;
        let connector = Arc::clone(&self.lab.connector);
        let key = ConnectionString::parse(&services.dps_connection_string)?;
        Ok(Operator {
            stage: self,
            client: ServiceClient::new(services, connector, self.env.clock.clone())?,
            sas: Authorization::Sas(Arc::new(key)),
        })
    }
}

/// Of the certificates that the fleet is provisioned with.
fn validity(plan: &Plan) -> (i64, i64) {
    let (first, last) = VALIDITY;
    if plan.cause != Cause::RootExpiry {
        return (first, last);
    }
    let work = match plan.over {
        Over::Nothing | Over::Pipes => 0,
        Over::Sockets => i64::from(plan.devices) * EVE_MS_EACH_OVER_SOCKETS / 1000,
    };
    (first, EPOCH.0 / 1000 + EVE_SECONDS + work)
}

/// Does what operators do, through the APIs that they use.
struct Operator<'a> {
    stage: &'a Stage,
    client: ServiceClient,
    sas: Authorization,
}

impl Operator<'_> {
    /// Puts a root into DPS.
    async fn upload_root(&self, root: &str) -> anyhow::Result<()> {
        let der = BASE64.encode(self.stage.pki.certificate_der(root)?);
        let body = json!({ "properties": { "certificate": der, "isVerified": true } });
        let uploaded = self.manage(Method::PUT, root, None, Some(body)).await;
        uploaded.context("cannot upload the fleet's root")
    }

    async fn delete_root(&self, root: &str) -> anyhow::Result<()> {
        let deleted = self.manage(Method::DELETE, root, Some("*"), None).await;
        deleted.context("cannot delete the fleet's root")
    }

    async fn manage(
        &self,
        method: Method,
        root: &str,
        if_match: Option<&str>,
        body: Option<Value>,
    ) -> anyhow::Result<()> {
        let services = &self.stage.lab.services;
        let name = &services.dps_name;
        let call = Call {
            method,
            host: &services.dps_host,
            path: format!("{MANAGEMENT}/{name}/certificates/{root}?api-version=2022-02-05"),
            authorization: &Authorization::Bearer("linarite"),
            if_match,
            body,
        };
        self.client.send(&call).await?;
        Ok(())
    }

    /// Saves the fleet's group with these issuers: a new one with its first issuer alone, else the
    /// one that is there.
    async fn put_group(&self, primary: &str, secondary: Option<&str>) -> anyhow::Result<()> {
        let slot = |issuer: Option<&str>| match issuer {
            Some(issuer) => {
                let pem = self.stage.pki.certificate_pem(issuer)?;
                Ok::<_, PkiError>(json!({ "certificate": pem }))
            }
            None => Ok(Value::Null),
        };
        let slots = json!({ "primary": slot(Some(primary))?, "secondary": slot(secondary)? });
        let first = (primary, secondary) == (ISSUER, None);
        let call = Call {
            method: Method::PUT,
            host: &self.stage.lab.services.dps_host,
            path: "/enrollmentGroups/storm?api-version=2021-10-01".to_owned(),
            authorization: &self.sas,
            if_match: (!first).then_some("*"),
            body: Some(json!({
                "enrollmentGroupId": "storm",
                "attestation": { "type": "x509", "x509": { "signingCertificates": slots } },
                "provisioningStatus": "enabled",
            })),
        };
        let enrolled = self.client.send(&call).await;
        enrolled.context("cannot enroll the fleet")?;
        Ok(())
    }

    /// Deletes every device from its hub.
    async fn delete_identities(&self, devices: u32) -> anyhow::Result<()> {
        let hubs = &self.stage.lab.services.hubs;
        let (host, key) = hubs.first().context("the storm has no hub")?;
        let key = Authorization::Sas(Arc::new(ConnectionString::parse(key)?));
        let names: Vec<String> = (0..devices).map(name_of).collect();
        for some in names.chunks(BULK) {
            let delete = |name: &String| json!({ "id": name, "importMode": "delete" });
            let call = Call {
                method: Method::POST,
                host,
                path: "/devices?api-version=2021-04-12".to_owned(),
                authorization: &key,
                if_match: None,
                body: Some(some.iter().map(delete).collect()),
            };
            let deleted = self.client.send(&call).await;
            let deleted = deleted.context("cannot delete the fleet from its hub")?;
            ensure!(
                deleted["isSuccessful"] == true,
                "cannot delete the fleet from its hub: {}",
                deleted["errors"]
            );
        }
        Ok(())
    }
}
