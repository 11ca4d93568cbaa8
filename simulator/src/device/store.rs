//! The secure store of a device, which outlives its sleep.

use linarite_env::UnixMillis;

use crate::observation::Generation;
use crate::pki::Credential;

/// Credentials by generation, oldest first.
#[derive(Debug, Default)]
pub(super) struct SecureStore(Vec<Credential>);

impl SecureStore {
    /// Keeps `credential`; tells whether its generation was not there yet.
    pub(super) fn insert(&mut self, credential: Credential) -> bool {
        let place = self
            .0
            .binary_search_by_key(&credential.generation(), Credential::generation);
        match place {
            Ok(_) => false,
            Err(place) => {
                self.0.insert(place, credential);
                true
            }
        }
    }

    pub(super) fn get(&self, generation: Generation) -> Option<&Credential> {
        self.0
            .iter()
            .find(|credential| credential.generation() == generation)
    }

    pub(super) fn oldest(&self) -> Option<Generation> {
        self.0.first().map(Credential::generation)
    }

    pub(super) fn newest(&self) -> Option<Generation> {
        self.0.last().map(Credential::generation)
    }

    /// Whether the last second of that credential's life is over.
    pub(super) fn is_expired(&self, generation: Generation, now: UnixMillis) -> bool {
        self.get(generation)
            .is_some_and(|held| now.seconds().0 > held.not_after())
    }

    /// Erases everything older than `generation`, and says what.
    pub(super) fn erase_older(&mut self, generation: Generation) -> Vec<Generation> {
        let kept = self
            .0
            .partition_point(|credential| credential.generation() < generation);
        self.0
            .drain(..kept)
            .map(|credential| credential.generation())
            .collect()
    }
}
