//! Bulk operations on the identity registry: each item by itself, in order (behaviour F.2).

use linarite_core::hub::import::{ImportAction, ImportMode};
use linarite_core::hub::twin::{DeviceTwin, InitialTwin};
use linarite_core::id::{ETag, IdentityId, Precondition};
use serde_json::Value;

use super::hub::Hub;
use super::registry::IdentityDraft;
use super::twin::{TwinDraft, refused};
use crate::error::ServiceError;
use crate::names::rfc3339;

/// What is asked for one identity.
#[derive(Debug)]
pub(crate) struct BulkItem {
    pub(crate) id: IdentityId,
    pub(crate) mode: ImportMode,
    /// Which version of the identity is meant.
    pub(crate) etag: Precondition,
    /// Which version of the twin is meant.
    pub(crate) twin_etag: Precondition,
    pub(crate) draft: IdentityDraft,
    pub(crate) twin: TwinDraft,
}

/// An item that was not carried out.
#[derive(Debug)]
pub(crate) struct BulkFailure {
    pub(crate) id: IdentityId,
    pub(crate) mode: ImportMode,
    pub(crate) error: ServiceError,
}

impl Hub {
    /// Carries out each item; gives those that failed. One that fails does not stop the others.
    pub(crate) fn bulk(&self, items: Vec<BulkItem>) -> Vec<BulkFailure> {
        let mut failures = Vec::new();
        for item in items {
            let (id, mode) = (item.id.clone(), item.mode);
            if let Err(error) = self.import(item) {
                failures.push(BulkFailure { id, mode, error });
            }
        }
        failures
    }

    fn import(&self, item: BulkItem) -> Result<(), ServiceError> {
        let BulkItem {
            id,
            mode,
            etag,
            twin_etag,
            draft,
            twin,
        } = item;
        let allow = |current: Option<&ETag>| mode.check(&etag, current);
        match mode.action() {
            ImportAction::Delete => self.delete_identity(&id, allow),
            ImportAction::Twin => {
                let allow = |current: Option<&ETag>| mode.check(&twin_etag, current);
                self.write_twin(&id, allow, &twin, true).map(drop)
            }
            ImportAction::Write => {
                let mut existed = false;
                let allow = |current: Option<&ETag>| {
                    existed = current.is_some();
                    allow(current)
                };
                self.put_identity(&id, allow, draft, self.first_twin(&twin)?)?;
                if existed && (twin.tags.is_some() || twin.desired.is_some()) {
                    let allow = |current: Option<&ETag>| twin_etag.check_delete(current);
                    self.write_twin(&id, allow, &twin, false)?;
                }
                Ok(())
            }
        }
    }

    /// The twin an item brings for an identity that is made, within its bounds.
    fn first_twin(&self, draft: &TwinDraft) -> Result<Option<DeviceTwin>, ServiceError> {
        if draft.tags.is_none() && draft.desired.is_none() {
            return Ok(None);
        }
        let section = |value: &Option<Value>| value.clone().unwrap_or_default();
        let (tags, desired) = (section(&draft.tags), section(&draft.desired));
        let initial = InitialTwin::new(&tags, &desired).map_err(|wrong| refused(&wrong.error))?;
        let now = rfc3339(self.env.clock.now_ms());
        Ok(Some(DeviceTwin::from_initial(&initial, &now)))
    }
}
