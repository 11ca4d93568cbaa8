//! CA certificates, groups and entries: reading, changing and saving them.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Operator;
use super::per_device::Entry;
use crate::observation::{DeviceIndex, Generation};
use crate::scenario::{Action, Allocation, GroupStyle, Reprovision};
use crate::service_client::{Call, ServiceError};

const MANAGEMENT: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/\
                          linarite/providers/Microsoft.Devices/provisioningServices";

/// Which version of the question a function is asked.
const FUNCTION_VERSION: &str = "2021-10-01";

impl Operator {
    /// Uploads a CA certificate, asks for a code, and proves possession of the key (R-D3), unless
    /// the operator forgets to.
    pub(super) async fn add_ca_certificate(
        &self,
        name: &str,
        verified: bool,
    ) -> Result<(), String> {
        let pem = self
            .tools
            .pki
            .certificate_pem(name)
            .map_err(|error| error.to_string())?;
        let body = json!({ "properties": { "certificate": base64_of(&pem) } });
        let stored = self.manage(Method::PUT, name, "", None, Some(body)).await?;
        if !verified {
            return Ok(());
        }
        let coded = self
            .manage(
                Method::POST,
                name,
                "/generateVerificationCode",
                etag(&stored),
                None,
            )
            .await?;
        let code = coded["properties"]["verificationCode"]
            .as_str()
            .ok_or("the answer holds no properties.verificationCode")?;
        let now = self.tools.env.clock.now().0;
        let proof = self
            .tools
            .pki
            .proof_of_possession(name, code, now)
            .map_err(|error| error.to_string())?;
        let body = json!({ "certificate": base64_of(&proof) });
        let verified = self
            .manage(Method::POST, name, "/verify", etag(&coded), Some(body))
            .await?;
        match verified["properties"]["isVerified"].as_bool() {
            Some(true) => Ok(()),
            _ => Err("the certificate is still not verified".to_owned()),
        }
    }

    pub(super) async fn delete_ca_certificate(&self, name: &str) -> Result<(), String> {
        let stored = self.manage(Method::GET, name, "", None, None).await?;
        self.manage(Method::DELETE, name, "", etag(&stored), None)
            .await
            .map(|_| ())
    }

    async fn manage(
        &self,
        method: Method,
        certificate: &str,
        verb: &str,
        if_match: Option<&str>,
        body: Option<Value>,
    ) -> Result<Value, String> {
        let services = &self.tools.services;
        let call = Call {
            method,
            host: &services.dps_host,
            path: format!(
                "{MANAGEMENT}/{}/certificates/{certificate}{verb}?api-version=2022-02-05",
                services.dps_name
            ),
            authorization: &self.management,
            if_match,
            body,
        };
        self.client
            .send(&call)
            .await
            .map_err(|error| error.to_string())
    }

    /// Saves a group as the portal does: read, change the slots, write under the etag read.
    pub(super) async fn put_group(&self, action: &Action) -> Result<(), String> {
        let Action::PutGroup {
            group,
            primary,
            secondary,
            style,
            disabled,
            hub,
            reprovision,
            allocation,
        } = action
        else {
            return Err("not a group".to_owned());
        };
        let path = format!("/enrollmentGroups/{group}");
        let read = match self.dps(Method::GET, &path, None, None).await {
            Ok(document) => Some(document),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => None,
            Err(error) => return Err(error.to_string()),
        };
        let etag = read.as_ref().and_then(etag).map(str::to_owned);
        let mut document = read.unwrap_or_else(|| json!({ "enrollmentGroupId": group }));
        document["attestation"] =
            json!({ "type": "x509", "x509": self.group_slots(*style, primary, secondary)? });
        document["provisioningStatus"] = json!(if *disabled { "disabled" } else { "enabled" });
        if let Some(name) = hub {
            document["iotHubs"] = json!([self.host_of(name)?]);
        }
        match reprovision {
            // What was read names a policy though there be none.
            Some(Reprovision::Unset) => document["reprovisionPolicy"] = Value::Null,
            Some(policy) => {
                document["reprovisionPolicy"] = json!({
                    "updateHubAssignment": *policy != Reprovision::Never,
                    "migrateDeviceData": *policy == Reprovision::Migrate,
                });
            }
            None => {}
        }
        self.allocate(&mut document, *allocation)?;
        self.dps(Method::PUT, &path, etag.as_deref(), Some(document))
            .await
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    /// Enters who chooses hubs; nothing said leaves `document` as it is.
    fn allocate(&self, document: &mut Value, allocation: Option<Allocation>) -> Result<(), String> {
        let (policy, definition) = match allocation {
            None => return Ok(()),
            Some(Allocation::Hashed) => ("hashed", Value::Null),
            Some(Allocation::Custom) => {
                let function = self.tools.function.as_ref();
                let function = function.ok_or("there is no function to ask")?;
                let definition = json!({
                    "webhookUrl": function.url(),
                    "apiVersion": FUNCTION_VERSION,
                });
                ("custom", definition)
            }
        };
        document["allocationPolicy"] = json!(policy);
        document["customAllocationDefinition"] = definition;
        Ok(())
    }

    /// Puts a version of the function in place.
    pub(super) fn deploy_function(
        &self,
        hub: &str,
        linked: bool,
        one_in: u32,
    ) -> Result<(), String> {
        let function = self.tools.function.as_ref();
        let function = function.ok_or("there is no place for a function")?;
        let host = match linked {
            true => self.host_of(hub)?.to_owned(),
            false => format!("{hub}.azure-devices.net"),
        };
        function.function.deploy(&host, one_in);
        Ok(())
    }

    /// The host name of the hub with a short name.
    fn host_of(&self, hub: &str) -> Result<&str, String> {
        let mut hosts = self
            .tools
            .services
            .hubs
            .iter()
            .map(|(host, _)| host.as_str());
        let is_it = |host: &&str| host.split('.').next() == Some(hub);
        hosts
            .find(is_it)
            .ok_or_else(|| format!("there is no hub {hub}"))
    }

    fn group_slots(
        &self,
        style: GroupStyle,
        primary: &Option<String>,
        secondary: &Option<String>,
    ) -> Result<Value, String> {
        let slot = |name: &Option<String>| match (name, style) {
            (None, _) => Ok(Value::Null),
            (Some(name), GroupStyle::CaReferences) => Ok(json!(name)),
            (Some(name), GroupStyle::SigningCertificates) => {
                let pem = self.tools.pki.certificate_pem(name);
                pem.map(|pem| json!({ "certificate": pem }))
                    .map_err(|error| error.to_string())
            }
        };
        let slots = json!({ "primary": slot(primary)?, "secondary": slot(secondary)? });
        Ok(match style {
            GroupStyle::SigningCertificates => json!({ "signingCertificates": slots }),
            GroupStyle::CaReferences => json!({ "caReferences": slots }),
        })
    }

    pub(super) async fn delete_group(&self, group: &str) -> Result<(), String> {
        let path = format!("/enrollmentGroups/{group}");
        let delete = async {
            let document = self.dps(Method::GET, &path, None, None).await?;
            self.dps(Method::DELETE, &path, etag(&document), None).await
        };
        delete
            .await
            .map(|_| ())
            .map_err(|error: ServiceError| error.to_string())
    }

    /// Saves one device's own entry; the etag of the last save stands for having read it.
    pub(super) async fn put_individual(
        &self,
        device: DeviceIndex,
        entry: &Entry,
    ) -> Result<(), String> {
        let id = self.registration_id(device)?;
        let attestation = match entry.slots {
            // A block without the certificate at hand: keys that DPS makes and nobody has.
            [None, None] => json!({ "type": "symmetricKey" }),
            [primary, secondary] => {
                json!({ "type": "x509", "x509": { "clientCertificates": {
                    "primary": self.leaf_slot(device, primary)?,
                    "secondary": self.leaf_slot(device, secondary)?,
                } } })
            }
        };
        let mut document = json!({
            "registrationId": &*id,
            "attestation": attestation,
            "provisioningStatus": if entry.disabled { "disabled" } else { "enabled" },
        });
        self.allocate(&mut document, entry.allocation)?;
        let path = format!("/enrollments/{id}");
        let known = self.etag(&path);
        let saved = self
            .dps(Method::PUT, &path, known.as_deref(), Some(document.clone()))
            .await;
        let saved = match saved {
            Err(error) if is_conflict(&error) => {
                // Somebody else saved in between: look at it again, then save over it.
                let read = self.dps(Method::GET, &path, None, None).await;
                let read = read.map_err(|error| error.to_string())?;
                self.dps(Method::PUT, &path, etag(&read), Some(document))
                    .await
            }
            other => other,
        };
        let saved = saved.map_err(|error| error.to_string())?;
        self.remember(&path, &saved);
        Ok(())
    }

    pub(super) async fn delete_individual(&self, device: DeviceIndex) -> Result<(), String> {
        let path = format!("/enrollments/{}", self.registration_id(device)?);
        let etag = self.etag(&path);
        let deleted = self.dps(Method::DELETE, &path, etag.as_deref(), None).await;
        self.remember(&path, &Value::Null);
        deleted.map(|_| ()).map_err(|error| error.to_string())
    }

    fn leaf_slot(
        &self,
        device: DeviceIndex,
        generation: Option<Generation>,
    ) -> Result<Value, String> {
        match generation {
            None => Ok(Value::Null),
            Some(generation) => {
                let credential = self.credential(device, generation)?;
                Ok(json!({ "certificate": credential.leaf_pem() }))
            }
        }
    }
}

fn is_conflict(error: &ServiceError) -> bool {
    matches!(
        error.status(),
        Some(StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED)
    )
}

fn etag(document: &Value) -> Option<&str> {
    document.get("etag").and_then(Value::as_str)
}

/// The base64 between the lines of a PEM block, which is the certificate's DER form.
fn base64_of(pem: &str) -> String {
    pem.lines()
        .filter(|line| !line.starts_with("-----"))
        .map(str::trim)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_management_plane_gets_bare_base64() {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n";
        assert_eq!(base64_of(pem), "AAAABBBB");
    }
}
