//! Queries in pages: how many items a caller wants, and where the list goes on (R-F7).

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::error::ServiceError;
use crate::limits::PAGE_ITEMS_MAX;
use crate::service::Services;
use crate::store::page::Page;

const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const ITEM_COUNT: HeaderName = HeaderName::from_static("x-ms-max-item-count");
const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");

/// The page a caller asks for.
pub(super) struct Wanted {
    /// Most items to give.
    pub(super) count: usize,
    /// The key after which the page begins, from a token of this service for this list.
    pub(super) after: Option<String>,
    list: String,
    asked: Option<usize>,
}

impl Wanted {
    /// Reads the headers. `list` names what is listed: a token of another list is refused.
    pub(super) fn read(
        services: &Services,
        headers: &HeaderMap,
        list: String,
    ) -> Result<Self, ServiceError> {
        let asked = present(headers, &ITEM_COUNT).map(item_count).transpose()?;
        let after = present(headers, &CONTINUATION).map(|token| {
            let tokens = &services.names.continuations;
            tokens.read(&list, token).ok_or_else(foreign_token)
        });
        Ok(Self {
            count: asked.unwrap_or(PAGE_ITEMS_MAX).min(PAGE_ITEMS_MAX),
            after: after.transpose()?,
            list,
            asked,
        })
    }

    /// The same page, but of `count` items at most if the caller does not say.
    pub(super) fn or(self, count: usize) -> Self {
        Self {
            count: self.asked.map_or(count, |_| self.count),
            ..self
        }
    }

    /// The key after which the page begins as `parse` reads it.
    pub(super) fn after<K, E>(
        &self,
        parse: impl FnOnce(&str) -> Result<K, E>,
    ) -> Result<Option<K>, ServiceError> {
        let after = self.after.as_deref().map(parse).transpose();
        after.map_err(|_| foreign_token())
    }

    /// The answer that carries `page`.
    pub(super) fn answer(
        &self,
        services: &Services,
        page: Page<Value>,
        item_type: &'static str,
    ) -> Result<Response, ServiceError> {
        let mut response = axum::Json(page.items).into_response();
        let headers = response.headers_mut();
        headers.insert(ITEM_TYPE, HeaderValue::from_static(item_type));
        if let Some(asked) = self.asked {
            headers.insert(ITEM_COUNT, asked.into());
        }
        if let Some(last) = page.last {
            let token = services.names.continuations.write(&self.list, &last);
            let token = HeaderValue::from_str(&token)
                .map_err(|error| ServiceError::invalid(format!("{CONTINUATION}: {error}")))?;
            headers.insert(CONTINUATION, token);
        }
        Ok(response)
    }
}

/// The header's text; an empty one counts as absent, one that is no text as wrong.
fn present<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?;
    Some(value.to_str().unwrap_or("?")).filter(|text| !text.is_empty())
}

fn item_count(text: &str) -> Result<usize, ServiceError> {
    let count = text.parse::<i32>().ok().filter(|count| *count > 0);
    let count = count.and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| {
        let expected = format!("expected a whole number from 1 to {}", i32::MAX);
        ServiceError::invalid(format!("{ITEM_COUNT}: {expected}"))
    })
}

fn foreign_token() -> ServiceError {
    ServiceError::invalid(format!(
        "{CONTINUATION}: not a token that this query gave; leave it out to begin anew"
    ))
}
