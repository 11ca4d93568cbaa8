//! Names in order, sorted when somebody asks for the order and not before.
//!
//! Devices come by the hundred thousand and are listed once in a while; a name finds its place
//! among a million through dozens of others, none of which is near.

use std::collections::BTreeSet;
use std::ops::Bound;

/// A set of names that is read in order.
#[derive(Debug)]
pub(crate) struct Order<K> {
    sorted: BTreeSet<K>,
    /// Put in since somebody last asked, in no order; some may be there twice.
    fresh: Vec<K>,
}

impl<K> Default for Order<K> {
    fn default() -> Self {
        Self {
            sorted: BTreeSet::new(),
            fresh: Vec::new(),
        }
    }
}

impl<K: Ord> Order<K> {
    pub(crate) fn insert(&mut self, name: K) {
        self.fresh.push(name);
    }

    pub(crate) fn remove(&mut self, name: &K) {
        self.settle();
        self.sorted.remove(name);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sorted.is_empty() && self.fresh.is_empty()
    }

    /// The names after `after`, in order.
    pub(crate) fn after(&mut self, after: Option<&K>) -> impl Iterator<Item = &K> {
        self.settle();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.sorted.range((from, Bound::Unbounded))
    }

    fn settle(&mut self) {
        // Taken, so that no room is kept for what is sorted now.
        self.sorted.extend(std::mem::take(&mut self.fresh));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However it is asked meanwhile, it is an ordered set.
        #[test]
        fn it_holds_what_a_sorted_set_holds(
            steps in prop::collection::vec((0_u8..20, any::<bool>(), any::<bool>()), 0..60),
        ) {
            let (mut order, mut model) = (Order::default(), BTreeSet::new());
            for (name, comes, is_read) in steps {
                if comes {
                    order.insert(name);
                    model.insert(name);
                } else {
                    order.remove(&name);
                    model.remove(&name);
                }
                prop_assert_eq!(order.is_empty(), model.is_empty());
                if is_read {
                    let rest: Vec<_> = order.after(Some(&name)).copied().collect();
                    let wanted: Vec<_> = model.range(name + 1..).copied().collect();
                    prop_assert_eq!(rest, wanted);
                }
            }
            let all: Vec<_> = order.after(None).copied().collect();
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
