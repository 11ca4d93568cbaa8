//! Part of a list in the order of its keys (R-F7).

/// A page, and where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// The key after which the list goes on; `None` at its end.
    pub(crate) last: Option<String>,
}

impl<T> Page<T> {
    /// The first `count` of what comes in order. Looks at one more, never at all of them.
    pub(crate) fn first<'a>(mut ordered: impl Iterator<Item = (&'a str, T)>, count: usize) -> Self {
        let mut page = Self {
            items: Vec::new(),
            last: None,
        };
        let mut last = None;
        for (key, item) in ordered.by_ref().take(count) {
            page.items.push(item);
            last = Some(key);
        }
        if ordered.next().is_some() {
            page.last = last.map(str::to_owned);
        }
        page
    }

    /// The same page of what `change` makes of its items.
    pub(crate) fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            last: self.last,
        }
    }

    /// The same page of what `change` makes of its items; it may leave some out.
    pub(crate) fn filter_map<U>(self, change: impl FnMut(T) -> Option<U>) -> Page<U> {
        Page {
            items: self.items.into_iter().filter_map(change).collect(),
            last: self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_begins_unless_it_is_the_last() {
        let list = [("a", 1), ("b", 2), ("c", 3)];
        let table: [(usize, &[i32], Option<&str>); 4] = [
            (1, &[1], Some("a")),
            (2, &[1, 2], Some("b")),
            (3, &[1, 2, 3], None),
            (4, &[1, 2, 3], None),
        ];
        for (count, items, last) in table {
            let page = Page::first(list.into_iter(), count);
            assert_eq!(page.items, items);
            assert_eq!(page.last.as_deref(), last);
        }
    }
}
