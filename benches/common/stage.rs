//! A tree of authorities, credentials below it, and the enrollment that lets them in.

use std::sync::Arc;

use anyhow::Context as _;
use http::Method;
use linarite::endpoint::{Connector, Services};
use linarite::observation::Generation;
use linarite::pki::{Credential, Pki};
use linarite::service_client::{Authorization, Call, ConnectionString, ServiceClient};
use linarite_env::Clock;
use serde_json::{Value, json};

/// The authorities: a verified root, and the intermediate that signs devices.
pub(crate) const ROOT: &str = "root";
/// See [`ROOT`].
pub(crate) const ISSUER: &str = "issuer";

/// Host name of DPS.
pub(crate) const DPS: &str = "dps.linarite.test";
/// Host name of the one hub.
pub(crate) const HUB: &str = "hub-1";

/// First and last second of everything, far from any moment a bench runs at.
const LIFE: (i64, i64) = (0, 4_000_000_000);

/// A root with one intermediate.
pub(crate) fn authorities() -> anyhow::Result<Pki> {
    tower(1)
}

/// A root with `intermediates` one above the other; the lowest is [`ISSUER`].
pub(crate) fn tower(intermediates: usize) -> anyhow::Result<Pki> {
    let mut pki = Pki::new();
    pki.add_root(ROOT, LIFE.0, LIFE.1)?;
    let mut above = ROOT.to_owned();
    for number in (0..intermediates).rev() {
        let name = match number {
            0 => ISSUER.to_owned(),
            _ => format!("{ISSUER}-{number}"),
        };
        pki.add_intermediate(&name, &above, LIFE.0, LIFE.1)?;
        above = name;
    }
    Ok(pki)
}

/// A credential of `device`, signed by `issuer`.
pub(crate) fn credential(
    pki: &Pki,
    issuer: &str,
    device: &str,
    generation: u32,
) -> anyhow::Result<Credential> {
    Ok(pki.leaf(issuer, device, Generation(generation), LIFE.0, LIFE.1)?)
}

/// Uploads [`ROOT`] as verified and enrolls a group under [`ISSUER`], through the public APIs.
pub(crate) async fn enroll_group(
    services: &Services,
    connector: Arc<dyn Connector>,
    clock: &Clock,
    pki: &Pki,
) -> anyhow::Result<()> {
    let client = ServiceClient::new(services, connector, clock.clone())?;
    let root = pki.certificate_pem(ROOT)?;
    let root: String = root
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let management = format!(
        "/subscriptions/0/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/{}\
         /certificates/{ROOT}?api-version=2022-02-05",
        services.dps_name
    );
    let body = json!({ "properties": { "certificate": root, "isVerified": true } });
    let bearer = Authorization::Bearer("bench");
    send(&client, services, (Method::PUT, management), &bearer, body).await?;
    enroll(&client, services, "fleet", &pki.certificate_pem(ISSUER)?).await
}

/// Enrolls the group `name` under the authority `issuer`, in PEM.
pub(crate) async fn enroll(
    client: &ServiceClient,
    services: &Services,
    name: &str,
    issuer: &str,
) -> anyhow::Result<()> {
    let body = json!({
        "enrollmentGroupId": name,
        "attestation": { "type": "x509", "x509": {
            "signingCertificates": { "primary": { "certificate": issuer } },
        } },
    });
    let path = format!("/enrollmentGroups/{name}?api-version=2021-10-01");
    let owner = owner(services)?;
    send(client, services, (Method::PUT, path), &owner, body)
        .await
        .map(drop)
}

/// The key that opens everything at DPS.
pub(crate) fn owner(services: &Services) -> anyhow::Result<Authorization> {
    let key = ConnectionString::parse(&services.dps_connection_string)?;
    Ok(Authorization::Sas(Arc::new(key)))
}

/// Asks DPS for something and gives its answer.
pub(crate) async fn send(
    client: &ServiceClient,
    services: &Services,
    (method, path): (Method, String),
    authorization: &Authorization,
    body: Value,
) -> anyhow::Result<Value> {
    let call = Call {
        method,
        host: &services.dps_host,
        path,
        authorization,
        if_match: None,
        body: Some(body),
    };
    client.send(&call).await.context("enrolling the fleet")
}
