//! The secure store of a device, which outlives its sleep and, where saved, a loss of power.

use linarite_env::UnixMillis;

use crate::observation::Generation;
use crate::pki::Credential;

#[derive(Debug)]
struct Held {
    credential: Credential,
    /// Whether it survives a loss of power.
    saved: bool,
}

/// Credentials by generation, oldest first.
#[derive(Debug, Default)]
pub(super) struct SecureStore(Vec<Held>);

impl SecureStore {
    /// Keeps `credential`, in memory alone unless `saved`; tells whether its generation was not
    /// there yet. The first is always saved: a device does not leave the factory without.
    pub(super) fn insert(&mut self, credential: Credential, saved: bool) -> bool {
        let saved = saved || self.0.is_empty();
        let place = self
            .0
            .binary_search_by_key(&credential.generation(), |held| {
                held.credential.generation()
            });
        match place {
            Ok(_) => false,
            Err(place) => {
                self.0.insert(place, Held { credential, saved });
                true
            }
        }
    }

    /// Has that credential survive a loss of power.
    pub(super) fn save(&mut self, generation: Generation) {
        for held in &mut self.0 {
            held.saved |= held.credential.generation() == generation;
        }
    }

    /// Drops what was not saved, and says what.
    pub(super) fn forget_unsaved(&mut self) -> Vec<Generation> {
        let unsaved = |held: &Held| (!held.saved).then(|| held.credential.generation());
        let lost = self.0.iter().filter_map(unsaved).collect();
        self.0.retain(|held| held.saved);
        lost
    }

    pub(super) fn get(&self, generation: Generation) -> Option<&Credential> {
        self.0
            .iter()
            .map(|held| &held.credential)
            .find(|credential| credential.generation() == generation)
    }

    pub(super) fn oldest(&self) -> Option<Generation> {
        self.0.first().map(|held| held.credential.generation())
    }

    /// The newest whose life has begun at `now`.
    pub(super) fn newest_begun(&self, now: UnixMillis) -> Option<Generation> {
        let begun = |held: &&Held| held.credential.not_before() <= now.seconds().0;
        let newest = self.0.iter().rev().find(begun)?;
        Some(newest.credential.generation())
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
            .partition_point(|held| held.credential.generation() < generation);
        self.0
            .drain(..kept)
            .map(|held| held.credential.generation())
            .collect()
    }
}
