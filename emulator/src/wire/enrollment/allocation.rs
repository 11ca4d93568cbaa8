//! How an entry says that its hub is chosen (R-F4, R-B16).

use linarite_core::dps::allocation::{AllocationPolicy, CustomAllocationDefinition, WebhookUrl};
use serde_json::{Value, json};

use crate::error::ServiceError;
use crate::wire::reader::Reader;

const POLICY: &str = "allocationPolicy";
const DEFINITION: &str = "customAllocationDefinition";

/// The first version of the types that a webhook can be told of.
const API_VERSION_MIN: &str = "2018-09-01";

/// Reads both members. A webhook's address that is sent back as it was shown, with its query
/// masked, is the one `held`.
pub(super) fn read(
    body: &Reader<'_>,
    held: Option<&AllocationPolicy>,
) -> Result<Option<AllocationPolicy>, ServiceError> {
    let definition = body.object(DEFINITION)?;
    let definition = definition.only(&["apiVersion", "webhookUrl"])?;
    let policy = match body.text(POLICY)? {
        None => None,
        Some("hashed") => Some(AllocationPolicy::Hashed),
        Some("static") => Some(AllocationPolicy::Static),
        Some("geoLatency") => Some(AllocationPolicy::GeoLatency),
        Some("custom") => {
            if !definition.is_present() {
                let text = format!("required, because {POLICY} is custom");
                return Err(body.wrong(DEFINITION, text));
            }
            let definition = read_definition(&definition, held)?;
            return Ok(Some(AllocationPolicy::Custom(definition)));
        }
        Some(_) => {
            let expected = "expected hashed, geoLatency, static or custom";
            return Err(body.wrong(POLICY, expected));
        }
    };
    if definition.is_present() {
        let text = format!("belongs to {POLICY} custom");
        return Err(body.wrong(DEFINITION, text));
    }
    Ok(policy)
}

fn read_definition(
    definition: &Reader<'_>,
    held: Option<&AllocationPolicy>,
) -> Result<CustomAllocationDefinition, ServiceError> {
    let required = |name: &str| {
        let text = definition.text(name)?;
        text.ok_or_else(|| definition.wrong(name, "required"))
    };
    let webhook_url = WebhookUrl::parse(required("webhookUrl")?)
        .map_err(|error| definition.wrong("webhookUrl", error))?;
    let webhook_url = match held {
        Some(AllocationPolicy::Custom(held)) if held.webhook_url.is_shown_as(&webhook_url) => {
            held.webhook_url.clone()
        }
        _ if webhook_url.is_masked() => {
            let expected = "a masked query stands for that of the address held; expected a URL";
            return Err(definition.wrong("webhookUrl", expected));
        }
        _ => webhook_url,
    };
    let api_version = required("apiVersion")?;
    if !is_api_version(api_version) {
        let expected = format!("expected a date from {API_VERSION_MIN}, such as 2021-10-01");
        return Err(definition.wrong("apiVersion", expected));
    }
    Ok(CustomAllocationDefinition {
        webhook_url,
        api_version: api_version.to_owned(),
    })
}

/// `YYYY-MM-DD`, or that with `-preview`.
fn is_api_version(text: &str) -> bool {
    let date = text.strip_suffix("-preview").unwrap_or(text);
    let form = API_VERSION_MIN.bytes();
    let like = |(byte, form): (u8, u8)| match form {
        b'-' => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    date.len() == form.len() && date.bytes().zip(form).all(like) && date >= API_VERSION_MIN
}

/// The members that show a policy; the query of a webhook's address, which carries a key, is
/// masked (R-F5).
pub(super) fn members(policy: Option<&AllocationPolicy>) -> Vec<(&'static str, Value)> {
    let name = match policy {
        None => return Vec::new(),
        Some(AllocationPolicy::Custom(_)) => "custom",
        Some(AllocationPolicy::GeoLatency) => "geoLatency",
        Some(AllocationPolicy::Hashed) => "hashed",
        Some(AllocationPolicy::Static) => "static",
    };
    let mut members = vec![(POLICY, name.into())];
    if let Some(AllocationPolicy::Custom(definition)) = policy {
        let definition = json!({
            "webhookUrl": definition.webhook_url.to_string(),
            "apiVersion": definition.api_version,
        });
        members.push((DEFINITION, definition));
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(
        body: &Value,
        held: Option<&AllocationPolicy>,
    ) -> Result<Option<AllocationPolicy>, String> {
        let reader = Reader::root(body).unwrap();
        read(&reader, held).map_err(|error| error.message)
    }

    fn custom(url: &str) -> Value {
        let definition = json!({ "webhookUrl": url, "apiVersion": "2021-10-01" });
        json!({ "allocationPolicy": "custom", "customAllocationDefinition": definition })
    }

    /// R-B16, R-F5.
    #[test]
    fn a_webhook_is_shown_without_its_key_and_may_be_sent_back_so() {
        let body = custom("https://h.example/api/hook?code=secret");
        let policy = read_from(&body, None).unwrap();
        let shown: serde_json::Map<String, Value> = members(policy.as_ref())
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let shown = Value::Object(shown);
        assert_eq!(shown, custom("https://h.example/api/hook?****"));
        assert_eq!(read_from(&shown, policy.as_ref()), Ok(policy.clone()));
        // Nothing to stand for: no webhook held, or another one.
        for held in [None, policy.as_ref()] {
            let masked = custom("https://h.example/other?****");
            let error = read_from(&masked, held).unwrap_err();
            assert!(
                error.contains("customAllocationDefinition.webhookUrl"),
                "{error}"
            );
        }
        let other = custom("https://h.example/api/hook?code=new");
        assert_ne!(read_from(&other, policy.as_ref()).unwrap(), policy);
    }

    /// R-B16, R-F4.
    #[test]
    fn what_is_wrong_with_a_policy_is_named() {
        let with = |definition: Value| json!({ "allocationPolicy": "custom", "customAllocationDefinition": definition });
        let versioned =
            |version: &str| with(json!({ "webhookUrl": "https://h", "apiVersion": version }));
        let url = "https://h";
        let table = [
            (
                json!({ "allocationPolicy": "nearest" }),
                "allocationPolicy: expected",
            ),
            (
                json!({ "allocationPolicy": 1 }),
                "allocationPolicy: expected a string",
            ),
            (
                json!({ "allocationPolicy": "custom" }),
                "customAllocationDefinition: required",
            ),
            (
                with(json!([])),
                "customAllocationDefinition: expected an object",
            ),
            (
                with(json!({ "webhookUrl": url })),
                "Definition.apiVersion: required",
            ),
            (
                with(json!({ "apiVersion": "2021-10-01" })),
                "Definition.webhookUrl: required",
            ),
            (custom("ftp://h"), "Definition.webhookUrl: expected a URL"),
            (
                versioned("2018-04-01"),
                "Definition.apiVersion: expected a date",
            ),
            (
                versioned("latest"),
                "Definition.apiVersion: expected a date",
            ),
            (
                versioned("2021-10-01-beta"),
                "Definition.apiVersion: expected a date",
            ),
            (
                json!({ "allocationPolicy": "hashed", "customAllocationDefinition": {} }),
                "customAllocationDefinition: belongs to",
            ),
        ];
        for (body, words) in table {
            let error = read_from(&body, None).unwrap_err();
            assert!(error.contains(words), "{body}: {error}");
        }
        for version in ["2018-09-01-preview", "2021-10-01", "2026-11-01"] {
            assert!(read_from(&versioned(version), None).is_ok(), "{version}");
        }
    }
}
