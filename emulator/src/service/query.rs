//! Queries over twins, in pages (R-G36, R-F7).
//!
//! Documents are made one at a time, in the order of their ids, and dropped once looked at.
//! After every [`QUERY_BATCH`] others have their turn. Where a condition names the only ids it
//! can hold for, no other device is looked at.

use linarite_core::hub::query::{Collection, Condition, Groups, Query, Rows};
use linarite_core::id::{DeviceId, IdentityId};
use serde_json::Value;
use tokio::task::yield_now;

use super::hub::Hub;
use super::twin::TwinView;
use crate::error::ServiceError;
use crate::limits::{QUERY_BATCH, QUERY_PAGE_BYTES_MAX};
use crate::store::page::Page;

/// How a twin is spelled as a document.
pub(crate) type SpellTwin = fn(&TwinView) -> Value;

/// Where a query goes on: how many rows it has given, and the key of the last of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    given: usize,
    key: Option<String>,
}

impl Mark {
    /// Reads the text form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (given, key) = text.split_once(' ')?;
        Some(Self {
            given: given.parse().ok()?,
            key: Some(key.to_owned()),
        })
    }

    /// The key of the last row given.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

/// A page that fills up with rows.
pub(super) struct Filling {
    page: Page<Value>,
    mark: Mark,
    count: usize,
    top: Option<usize>,
    bytes: usize,
}

/// What becomes of a page after a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There is room for more.
    Room,
    /// It is done; the row, if there was no room for it, is not in it.
    Done,
}

impl Filling {
    pub(super) fn new(mark: Mark, count: usize, top: Option<usize>) -> Self {
        let page = Page {
            items: Vec::new(),
            last: None,
        };
        Self {
            page,
            mark,
            count,
            top,
            bytes: 0,
        }
    }

    /// Puts a row in. One that finds the page full only tells that there is a next page.
    pub(super) fn put(&mut self, key: &str, row: impl FnOnce() -> Value) -> Filled {
        if self.top.is_some_and(|top| self.mark.given >= top) {
            return Filled::Done;
        }
        if self.page.items.len() >= self.count || self.bytes > QUERY_PAGE_BYTES_MAX {
            let last = self.mark.key.as_deref().unwrap_or_default();
            self.page.last = Some(format!("{} {last}", self.mark.given));
            return Filled::Done;
        }
        let row = row();
        self.bytes += row.to_string().len();
        self.page.items.push(row);
        self.mark.given += 1;
        self.mark.key = Some(key.to_owned());
        Filled::Room
    }

    pub(super) fn finish(self) -> Page<Value> {
        self.page
    }
}

impl Hub {
    /// A page of what `query` finds after `mark`, at most `count` rows.
    ///
    /// # Errors
    /// If it makes too many groups.
    pub(crate) async fn query_twins(
        &self,
        query: &Query,
        mark: Mark,
        count: usize,
        spell: SpellTwin,
    ) -> Result<Page<Value>, ServiceError> {
        if query.rows() == Rows::Groups {
            return self.query_groups(query, mark, count, spell).await;
        }
        let after = mark.key().and_then(|key| IdentityId::parse(key).ok());
        let mut walk = Walk::new(self, query.collection(), query.device_ids(), after);
        let mut filling = Filling::new(mark, count, query.top());
        while let Some(ids) = walk.next() {
            for id in ids {
                let Some(document) = self.document(&id, spell) else {
                    continue;
                };
                if query.matches(&document)
                    && filling.put(id.as_str(), || query.row(document)) == Filled::Done
                {
                    return Ok(filling.finish());
                }
            }
            yield_now().await;
        }
        Ok(filling.finish())
    }

    async fn query_groups(
        &self,
        query: &Query,
        mark: Mark,
        count: usize,
        spell: SpellTwin,
    ) -> Result<Page<Value>, ServiceError> {
        let mut groups = Groups::new(query);
        let mut walk = Walk::new(self, query.collection(), query.device_ids(), None);
        while let Some(ids) = walk.next() {
            for id in ids {
                let document = self.document(&id, spell);
                if let Some(document) = document.filter(|document| query.matches(document)) {
                    let added = groups.add(&document);
                    added.map_err(|error| ServiceError::invalid(format!("query: {error}")))?;
                }
            }
            yield_now().await;
        }
        let after = mark.key().map(str::to_owned);
        let mut filling = Filling::new(mark, count, query.top());
        let later = |key: &str| after.as_deref().is_none_or(|after| after < key);
        for (key, row) in groups.rows().filter(|(key, _)| later(key)) {
            if filling.put(key, || row) == Filled::Done {
                break;
            }
        }
        Ok(filling.finish())
    }

    /// The devices or modules that `condition` is for, by id.
    pub(super) async fn targets(&self, condition: &Condition, spell: SpellTwin) -> Vec<IdentityId> {
        let mut targets = Vec::new();
        let ids = condition.device_ids();
        let mut walk = Walk::new(self, condition.collection(), ids, None);
        while let Some(mut ids) = walk.next() {
            if !condition.is_all() {
                let document = |id: &IdentityId| self.document(id, spell);
                ids.retain(|id| document(id).is_some_and(|found| condition.matches(&found)));
            }
            targets.append(&mut ids);
            yield_now().await;
        }
        targets
    }

    fn document(&self, id: &IdentityId, spell: SpellTwin) -> Option<Value> {
        self.twin(id).ok().map(|view| spell(&view))
    }
}

/// Goes through the ids of a collection in order, some at a time.
struct Walk<'h> {
    hub: &'h Hub,
    modules: bool,
    /// The only devices to look at, in order, if they are known.
    only: Option<std::vec::IntoIter<DeviceId>>,
    /// The last device looked at.
    last: Option<DeviceId>,
    /// Where to go on within the modules of one device.
    inside: Option<IdentityId>,
}

impl<'h> Walk<'h> {
    fn new(
        hub: &'h Hub,
        collection: Collection,
        only: Option<std::collections::BTreeSet<&str>>,
        after: Option<IdentityId>,
    ) -> Self {
        let modules = collection == Collection::Modules;
        let last = after.as_ref().map(IdentityId::device);
        // The device that a module belongs to is not done with.
        let inside = after.filter(|_| modules);
        let only = only.map(|ids| {
            let ids = ids.into_iter().filter_map(|id| DeviceId::parse(id).ok());
            let ids = ids.filter(|id| last.as_ref().is_none_or(|last| last < id));
            ids.collect::<Vec<_>>().into_iter()
        });
        Self {
            hub,
            modules,
            only,
            last,
            inside,
        }
    }

    /// The next ids; empty where there is nothing among those looked at, `None` at the end.
    fn next(&mut self) -> Option<Vec<IdentityId>> {
        if let Some(inside) = self.inside.take() {
            let mut ids = self.modules_of(&inside.device());
            ids.retain(|id| *id > inside);
            return Some(ids);
        }
        let devices: Vec<DeviceId> = match &mut self.only {
            Some(only) => only.take(QUERY_BATCH).collect(),
            None => self.hub.devices.after(self.last.as_ref(), QUERY_BATCH),
        };
        self.last = Some(devices.last()?.clone());
        Some(if self.modules {
            devices.iter().flat_map(|id| self.modules_of(id)).collect()
        } else {
            devices.into_iter().map(IdentityId::from).collect()
        })
    }

    fn modules_of(&self, device: &DeviceId) -> Vec<IdentityId> {
        self.hub.devices.module_ids(device).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-F7.
    #[test]
    fn a_mark_reads_back_and_nothing_else_is_one() {
        let mut filling = Filling::new(Mark::default(), 1, None);
        assert_eq!(filling.put("a b/c", || Value::Null), Filled::Room);
        assert_eq!(filling.put("d", || Value::Null), Filled::Done);
        let last = filling.finish().last.unwrap();
        let mark = Mark::parse(&last).unwrap();
        assert_eq!((mark.given, mark.key()), (1, Some("a b/c")));
        assert_eq!(Mark::parse("1"), None);
        assert_eq!(Mark::parse("x a"), None);
    }

    /// R-F7, R-G36: TOP counts over all pages, and an exact page is the last.
    #[test]
    fn a_page_ends_by_count_by_top_and_by_size() {
        let fill = |count, top, rows: usize, size: usize| {
            let mut filling = Filling::new(Mark::default(), count, top);
            let row = || Value::String("x".repeat(size));
            let mut keys = (0..rows).map(|row| row.to_string());
            while keys
                .next()
                .is_some_and(|key| filling.put(&key, row) == Filled::Room)
            {}
            let page = filling.finish();
            (page.items.len(), page.last)
        };
        assert_eq!(fill(3, None, 3, 1), (3, None));
        assert_eq!(fill(3, None, 4, 1), (3, Some("3 2".to_owned())));
        assert_eq!(fill(3, Some(2), 4, 1), (2, None));
        assert_eq!(fill(3, Some(3), 4, 1), (3, None));
        assert_eq!(fill(3, Some(9), 4, 1), (3, Some("3 2".to_owned())));
        let large = QUERY_PAGE_BYTES_MAX / 2 + 1;
        assert_eq!(fill(9, None, 9, large), (2, Some("2 1".to_owned())));
    }
}
