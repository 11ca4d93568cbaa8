//! Does a registration cost more where many are enrolled?
//!
//! Unit: CPU time of one thread that holds both ends, for each registration in an open session at
//! DPS: the request, its 202, the poll and its 200, without a handshake. Two devices take part,
//! one with an entry of its own and one of a group. Yardstick: the same in an instance with 100
//! individual enrollments in place of 100,000. Both instances have 100 groups.
//!
//! Estimate: the signature checks of the judgement are 110 µs, packets and records 20 µs. Looking
//! up one entry among a thousand times as many costs a few more cache misses, below 1 µs. So 1.01 ×.

mod registered;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use linarite::endpoint::{Connector, Services};
use linarite::pki::{Credential, Pki};
use linarite::service_client::ServiceClient;
use linarite::tls::Client;
use linarite_emulator::{Config, Emulator};
use linarite_env::{Clock, Env};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::common::client::Line;
use crate::common::ratio::{self, Effort, Subject, interleave};
use crate::common::stage::{self, DPS, HUB, ISSUER};
use crate::reprovision::{EPOCH, reach, runtime, timed};

/// Groups of an instance, as many by certificate as Azure allows.
const GROUPS: usize = 100;
/// Individual enrollments of the yardstick.
const FEW: usize = 100;
/// Individual enrollments of the figure.
const MANY: usize = 100_000;
/// The same where the bench only has to show that it works.
const SOME: usize = 300;
/// Enrollments of one bulk operation.
const BULK: usize = 10;

/// The device with an entry of its own, and the one of a group.
const DEVICES: [(&str, &str); 2] = [
    ("individual", "registration, 100,000 individual entries"),
    ("of-a-group", "registration by group, 100,000 entries"),
];

/// A registration among many over one among few.
pub(crate) fn ratios(thorough: bool) -> anyhow::Result<Vec<ratio::Line>> {
    let runtime = runtime()?;
    let pki = stage::authorities()?;
    let credentials = DEVICES.map(|(device, _)| stage::credential(&pki, ISSUER, device, 1));
    let credentials = credentials
        .into_iter()
        .collect::<anyhow::Result<Vec<_>>>()?;
    let instance = |size| runtime.block_on(Instance::new(&pki, &credentials[0], size));
    let few = instance(FEW)?;
    let many = instance(if thorough { MANY } else { SOME })?;
    let mut lines = Vec::new();
    for ((device, figure), credential) in DEVICES.into_iter().zip(&credentials) {
        let mut subjects: [Subject<'_>; 2] = [
            many.registering(&runtime, device, credential)?,
            few.registering(&runtime, device, credential)?,
        ];
        let samples = interleave(Effort::new(thorough, 60, 50), &mut subjects)?;
        lines.push(samples.line(figure, 0, ("the same among 100", 1), Some(1.2)));
    }
    lines.extend(registered::ratios(thorough)?);
    Ok(lines)
}

/// An emulator with so many enrollments.
struct Instance {
    emulator: Emulator,
    services: Services,
    connector: Arc<dyn Connector>,
    clock: Clock,
}

impl Instance {
    async fn new(pki: &Pki, own: &Credential, enrollments: usize) -> anyhow::Result<Self> {
        let clock = Clock::tokio(EPOCH);
        let mut config = Config::local(DPS, &[HUB.to_owned()])?;
        config.assignment_latency = Duration::ZERO;
        let emulator = Emulator::new(config, Env::new(clock.clone(), 1))?;
        let (services, connector) = reach(emulator.clone());
        let instance = Self {
            emulator,
            services,
            connector,
            clock,
        };
        instance.fill(pki, own, enrollments).await?;
        Ok(instance)
    }

    /// All entries are keys but `own`, the leaf of the device that registers; without entries it
    /// is one of a group.
    async fn fill(&self, pki: &Pki, own: &Credential, enrollments: usize) -> anyhow::Result<()> {
        let (services, connector) = (&self.services, &self.connector);
        stage::enroll_group(services, Arc::clone(connector), &self.clock, pki).await?;
        let client = ServiceClient::new(services, Arc::clone(connector), self.clock.clone())?;
        for number in 1..GROUPS {
            let other = stage::authorities()?;
            let (name, issuer) = (format!("fleet-{number}"), other.certificate_pem(ISSUER)?);
            stage::enroll(&client, services, &name, &issuer).await?;
        }
        let entry = json!({
            "registrationId": own.common_name(),
            "attestation": { "type": "x509", "x509": {
                "clientCertificates": { "primary": { "certificate": own.leaf_pem() } },
            } },
        });
        let mut entries = vec![entry];
        entries.truncate(enrollments);
        for number in 1..enrollments {
            entries.push(json!({
                "registrationId": format!("somebody-{number:06}"),
                "attestation": { "type": "symmetricKey" },
            }));
        }
        for entries in entries.chunks(BULK) {
            self.create(&client, entries).await?;
        }
        Ok(())
    }

    async fn create(&self, client: &ServiceClient, entries: &[Value]) -> anyhow::Result<()> {
        let request = (
            Method::POST,
            "/enrollments?api-version=2021-10-01".to_owned(),
        );
        let body = json!({ "mode": "create", "enrollments": entries });
        let owner = stage::owner(&self.services)?;
        let answer = stage::send(client, &self.services, request, &owner, body).await?;
        anyhow::ensure!(answer["isSuccessful"] == true, "not enrolled: {answer}");
        Ok(())
    }

    /// A session of `device` in which it registers again and again.
    fn registering<'a>(
        &self,
        runtime: &'a Runtime,
        device: &'a str,
        credential: &Credential,
    ) -> anyhow::Result<Subject<'a>> {
        let client = Client::new(&self.services.ca_der, &self.clock)?;
        let tls = client.connector(Some(credential))?;
        let line = runtime.block_on(async {
            let mut line = Line::open(&*self.connector, &tls, DPS).await?;
            line.enter_dps(&self.services.id_scope, device).await?;
            anyhow::Ok(line)
        })?;
        let line = RefCell::new(line);
        Ok(Box::new(move |times| {
            let line = &mut *line.borrow_mut();
            timed(runtime, times, async || {
                let hub = line.registration(device).await?;
                anyhow::ensure!(hub == HUB, "assigned to {hub}");
                Ok(())
            })
        }))
    }
}
