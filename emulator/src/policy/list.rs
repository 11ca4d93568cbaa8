//! The policies of one service, and the judgement of tokens made from them.

use std::sync::{PoisonError, RwLock};

use linarite_core::sas::SharedAccessSignature;
use linarite_core::secret::SymmetricKey;
use linarite_core::time::UnixTime;

use super::{Policy, Right, Rights};
use crate::error::ServiceError;

/// The policies of one service in their order. The first is the owner, who holds every right.
#[derive(Debug)]
pub struct Policies(RwLock<Vec<Policy>>);

impl Policies {
    /// What a new provisioning service has: the owner alone (R-F9).
    #[must_use]
    pub fn dps() -> Self {
        let owner = Policy::generate("provisioningserviceowner", Rights::of(&Right::DPS));
        Self(RwLock::new(vec![owner]))
    }

    /// What a new hub has (R-F9).
    #[must_use]
    pub fn hub() -> Self {
        use Right::{DeviceConnect, RegistryRead, RegistryWrite, ServiceConnect};
        let table: [(&str, &[Right]); 5] = [
            ("iothubowner", &Right::HUB),
            ("service", &[ServiceConnect]),
            ("device", &[DeviceConnect]),
            ("registryRead", &[RegistryRead]),
            ("registryReadWrite", &[RegistryRead, RegistryWrite]),
        ];
        let generate = |(name, rights)| Policy::generate(name, Rights::of(rights));
        Self(RwLock::new(table.map(generate).to_vec()))
    }

    /// All policies, the owner first.
    #[must_use]
    pub fn all(&self) -> Vec<Policy> {
        self.read(<[Policy]>::to_vec)
    }

    /// The policy of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Policy> {
        self.read(|policies| {
            policies
                .iter()
                .find(|policy| *policy.name == *name)
                .cloned()
        })
    }

    /// Whether `key` is one of the keys of policy `name`, and the policy has every right `needed`.
    #[must_use]
    pub fn grants(&self, name: &str, key: &SymmetricKey, needed: &[Right]) -> bool {
        self.find(name).is_some_and(|policy| {
            policy.keys().contains(&key) && needed.iter().all(|right| policy.rights.hold(*right))
        })
    }

    /// Puts `policies` in the place of those held; the owner stays the first of them.
    pub(crate) fn replace(&self, policies: Vec<Policy>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = policies;
    }

    /// The connection string of `host` with the owner's primary key.
    #[must_use]
    pub fn connection_string(&self, host: &str) -> String {
        self.read(|policies| {
            let owner = policies.first();
            owner.map_or_else(String::new, |owner| owner.connection_string(host))
        })
    }

    /// Judges the `Authorization` header of a request to `host` that takes the right `needed`
    /// (R-F9, W2).
    ///
    /// # Errors
    /// 401 in words that do not repeat the token.
    pub fn authorize(
        &self,
        header: Option<&str>,
        host: &str,
        needed: Right,
        now: UnixTime,
    ) -> Result<(), ServiceError> {
        let header = header.ok_or_else(|| {
            ServiceError::unauthorized(format!(
                "The request has no Authorization header; expected a SharedAccessSignature of \
                 a policy with the right {needed}"
            ))
        })?;
        let token = SharedAccessSignature::parse(header).map_err(|error| {
            ServiceError::unauthorized(format!("The Authorization header is not readable: {error}"))
        })?;
        let policy = self.named(token.skn())?;
        if !names_host(&token.resource(), host) {
            return Err(ServiceError::unauthorized(format!(
                "The token is for another resource; expected sr={host}"
            )));
        }
        token.verify(&policy.keys(), now).map_err(|error| {
            ServiceError::unauthorized(format!("The token is refused: {error}"))
        })?;
        if policy.rights.hold(needed) {
            return Ok(());
        }
        Err(ServiceError::unauthorized(format!(
            "The request takes the right {needed}; policy {} has {}",
            policy.name, policy.rights
        )))
    }

    /// The policy a token names.
    fn named(&self, skn: Option<&str>) -> Result<Policy, ServiceError> {
        skn.and_then(|name| self.find(name)).ok_or_else(|| {
            let all = self.all();
            let names: Vec<&str> = all.iter().map(|policy| &*policy.name).collect();
            ServiceError::unauthorized(format!(
                "The token names no policy of this service; expected skn to be one of {}",
                names.join(", ")
            ))
        })
    }

    fn read<T>(&self, work: impl FnOnce(&[Policy]) -> T) -> T {
        work(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether `resource` names `host`, with or without scheme, port and path (ENDPOINTS §1).
fn names_host(resource: &str, host: &str) -> bool {
    let rest = resource
        .split_once("://")
        .map_or(resource, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let name = authority
        .rsplit_once(':')
        .map_or(authority, |(name, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) {
                name
            } else {
                authority
            }
        });
    let host = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            name
        } else {
            host
        }
    });
    name.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_000);

    #[test]
    fn a_token_of_the_policy_opens_and_others_do_not() {
        let policies = Policies::dps();
        let owner = policies.all().remove(0);
        let rights = Rights::of(&Right::DPS);
        let other = Policy::generate(&owner.name, rights.clone());
        let stranger = Policy::generate("stranger", rights);
        let authorize = |header: Option<&str>, host| {
            let judged = policies.authorize(header, host, Right::EnrollmentRead, NOW);
            judged.map_err(|error| error.status())
        };
        let good = owner.token("hub.test", NOW.plus(60));
        assert_eq!(authorize(Some(&good), "hub.test:8443"), Ok(()));
        let refused = [
            None,
            Some("Bearer x".to_owned()),
            Some(owner.token("hub.test", NOW.plus(-600))),
            Some(owner.token("hub2.test", NOW.plus(60))),
            Some(other.token("hub.test", NOW.plus(60))),
            Some(stranger.token("hub.test", NOW.plus(60))),
        ];
        for header in refused {
            let answer = authorize(header.as_deref(), "hub.test");
            assert_eq!(answer, Err(401), "{header:?}");
        }
    }

    /// A.5, 400209.
    #[test]
    fn a_policy_grants_what_it_holds_to_who_has_its_key() {
        use Right::{RegistryWrite, ServiceConnect};
        let policies = Policies::hub();
        let keys = |name: &str| policies.find(name).unwrap().keys().map(Clone::clone);
        let needed = [RegistryWrite, ServiceConnect];
        for key in keys("iothubowner") {
            assert!(policies.grants("iothubowner", &key, &needed));
            assert!(!policies.grants("service", &key, &[ServiceConnect]));
            assert!(!policies.grants("nobody", &key, &[]));
        }
        for name in ["service", "registryReadWrite"] {
            assert!(!policies.grants(name, &keys(name)[0], &needed), "{name}");
        }
    }

    #[test]
    fn each_default_policy_of_a_hub_opens_what_azure_says() {
        let policies = Policies::hub();
        let opens = |policy: &Policy, needed| {
            let token = policy.token("hub.test", NOW.plus(60));
            let judged = policies.authorize(Some(&token), "hub.test", needed, NOW);
            judged.map_err(|error| error.message.contains(&needed.to_string()))
        };
        let table = [
            ("iothubowner", [true; 4]),
            ("service", [false, false, true, false]),
            ("device", [false, false, false, true]),
            ("registryRead", [true, false, false, false]),
            ("registryReadWrite", [true, true, false, false]),
        ];
        for (policy, (name, expected)) in policies.all().iter().zip(table) {
            assert_eq!(*policy.name, *name);
            for (needed, opened) in Right::HUB.into_iter().zip(expected) {
                let expected = if opened { Ok(()) } else { Err(true) };
                assert_eq!(opens(policy, needed), expected, "{name} {needed}");
            }
        }
    }

    #[test]
    fn a_resource_may_carry_scheme_port_and_path() {
        let table = [
            ("localhost", true),
            ("LOCALHOST", true),
            ("https://localhost:40197", true),
            ("localhost:8443/devices/d", true),
            ("localhost.evil", false),
            ("hub", false),
            ("", false),
        ];
        for (resource, expected) in table {
            assert_eq!(names_host(resource, "localhost"), expected, "{resource}");
        }
    }
}
