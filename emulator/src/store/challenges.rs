//! What TPMs were challenged with: one challenge for each registration, and so many at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use linarite_core::dps::attestation::tpm::TpmChallenge;
use linarite_core::id::RegistrationId;
use linarite_core::time::UnixTime;

/// Challenges by registration id; ids compare without case (R-A3).
#[derive(Debug)]
pub(crate) struct Challenges {
    most: usize,
    map: Mutex<HashMap<RegistrationId, Arc<TpmChallenge>>>,
}

/// There is no room for another challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Challenges {
    /// Room for `most` challenges.
    pub(crate) fn new(most: usize) -> Self {
        let map = Mutex::new(HashMap::new());
        Self { most, map }
    }

    /// What the device was last challenged with.
    pub(crate) fn get(&self, id: &RegistrationId) -> Option<Arc<TpmChallenge>> {
        let map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(id).cloned()
    }

    /// Keeps a challenge in place of the device's earlier one. Those that are over make room.
    pub(crate) fn put(
        &self,
        id: RegistrationId,
        challenge: TpmChallenge,
        now: UnixTime,
    ) -> Result<(), Full> {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= self.most && !map.contains_key(&id) {
            map.retain(|_, challenge| !challenge.is_over(now));
            if map.len() >= self.most {
                return Err(Full);
            }
        }
        map.insert(id, Arc::new(challenge));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use linarite_core::dps::attestation::tpm::{TpmKey, TpmKeys};
    use linarite_core::limits::TPM_CHALLENGE_SECONDS;
    use linarite_core::secret::SymmetricKey;

    use super::*;

    fn id(text: &str) -> RegistrationId {
        RegistrationId::parse(text).unwrap()
    }

    fn challenge(now: UnixTime) -> TpmChallenge {
        let key = TpmKey::from_base64("a2V5").unwrap();
        let secret = SymmetricKey::from_bytes(&[1; 32]).unwrap();
        let keys = TpmKeys {
            endorsement_key: key.clone(),
            storage_root_key: key,
        };
        TpmChallenge::new(keys, secret.clone(), secret, now)
    }

    #[test]
    fn a_device_has_one_challenge_and_those_that_are_over_make_room() {
        let challenges = Challenges::new(2);
        let (begin, soon) = (UnixTime(0), UnixTime(1));
        let put = |name: &str, now| challenges.put(id(name), challenge(now), now);
        assert_eq!(put("d1", begin), Ok(()));
        assert_eq!(put("d2", soon), Ok(()));
        assert_eq!(put("d3", soon), Err(Full));
        let first = challenges.get(&id("d1")).unwrap();
        assert_eq!(put("D1", soon), Ok(()));
        assert_ne!(challenges.get(&id("d1")).unwrap(), first);

        let over = UnixTime(TPM_CHALLENGE_SECONDS);
        assert_eq!(put("d3", over), Err(Full));
        assert_eq!(put("d3", over.plus(1)), Ok(()));
        assert_eq!(challenges.get(&id("d1")), None);
    }
}
