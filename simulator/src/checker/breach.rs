//! Sessions opened with certificates that a thief holds as well, and how long they lived.

use std::collections::BTreeMap;

use linarite_env::event::ConnectionId;

/// Who has a session with a breached certificate.
#[derive(Debug, Default)]
pub(super) struct BreachedSessions {
    open: BTreeMap<ConnectionId, u32>,
    /// Longest life of one after DPS had stopped to admit its certificate, in milliseconds.
    pub(super) outlived_ms: i64,
}

impl BreachedSessions {
    pub(super) fn opened(&mut self, connection: ConnectionId, device: u32) {
        self.open.insert(connection, device);
    }

    /// The device whose breached session ended so, if it was one.
    pub(super) fn closed(&mut self, connection: ConnectionId) -> Option<u32> {
        self.open.remove(&connection)
    }

    /// Takes note that a session lived so long after its certificate was retired at DPS.
    pub(super) fn outlived(&mut self, ms: i64) {
        self.outlived_ms = self.outlived_ms.max(ms);
    }

    /// Devices with a breached session, each as often as it has one.
    pub(super) fn still_open(&self) -> impl Iterator<Item = u32> {
        self.open.values().copied()
    }
}
