//! Brings a request's path into the one spelling the routes know.
//!
//! Clients differ in case and in trailing slashes (W20), while ids keep their spelling.

use axum::http::Uri;
use axum::http::uri::{PathAndQuery, Uri as HttpUri};

use super::answer::Api;
use crate::wire::management::CodeAs;
use crate::wire::version::ApiVersion;

/// First segments of the hub's paths.
const HUB: [&str; 7] = [
    "configurations",
    "devices",
    "digitaltwins",
    "jobs",
    "messages",
    "statistics",
    "twins",
];

/// The API that a path in its one spelling belongs to, also where nothing is served under it.
pub(super) fn api(uri: &Uri) -> Api {
    let path = uri.path();
    match path.split('/').nth(1) {
        Some("providers" | "subscriptions") => Api::Management(code_as(uri)),
        Some(first) if HUB.contains(&first) => Api::Hub,
        _ => Api::Dps,
    }
}

/// How the management API of a resource spells error numbers; as text to who names no version.
fn code_as(uri: &Uri) -> CodeAs {
    let is_hub = uri.path().split('/').any(|segment| segment == "iothubs");
    match ApiVersion::of_query(uri.query()) {
        Ok(version) if version >= ApiVersion::NUMBERED && !is_hub => CodeAs::Number,
        _ => CodeAs::Text,
    }
}

/// Rewrites the path in place; leaves it alone if that is not possible.
pub(super) fn canonicalize(uri: &mut Uri) {
    let path = canonical(uri.path());
    if path == uri.path() {
        return;
    }
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    if let Ok(rewritten) = text.parse::<PathAndQuery>() {
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(rewritten);
        if let Ok(rewritten) = HttpUri::from_parts(parts) {
            *uri = rewritten;
        }
    }
}

/// Lower-cases the fixed segments of each API and drops a slash at the end.
fn canonical(path: &str) -> String {
    let trimmed = path.trim_matches('/');
    let segments: Vec<&str> = trimmed.split('/').collect();
    let is = |index: usize, name: &str| {
        segments
            .get(index)
            .is_some_and(|segment: &&str| segment.eq_ignore_ascii_case(name))
    };
    let fixed: &[usize] = if is(0, "providers") {
        &[0, 1, 2]
    } else if is(0, "subscriptions") && is(2, "providers") {
        &[0, 2, 3, 4]
    } else if is(0, "subscriptions") {
        &[0, 2, 4, 5, 6, 8, 10]
    } else if is(0, "$iothub") || is(0, "statistics") {
        &[0, 1]
    } else if is(0, "twins") {
        &[0, 2, 4]
    } else if is(0, "messages") {
        &[0, 1, 2, 4]
    } else if is(0, "devices") && is(2, "messages") {
        &[0, 2, 3, 5]
    } else if is(0, "devices") && is(2, "modules") {
        &[0, 2, 4, 5]
    } else if is(0, "jobs") && is(1, "v2") {
        &[0, 1, 3]
    } else if is(1, "registrations") && !is(0, "enrollments") {
        &[1, 3]
    } else {
        &[0, 2]
    };
    // The last one, where it stands for no id.
    let is_query = |index| match (index, segments.len()) {
        (1, 2) => is(1, "query"),
        (2, 3) => is(0, "jobs") && is(1, "v2") && is(2, "query"),
        _ => false,
    };
    let rewritten: Vec<String> = segments
        .iter()
        .enumerate()
        .map(|(index, segment)| {
            if fixed.contains(&index) || is_query(index) {
                segment.to_ascii_lowercase()
            } else {
                (*segment).to_owned()
            }
        })
        .collect();
    format!("/{}", rewritten.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// W20.
    #[test]
    fn fixed_segments_are_lowered_and_ids_are_not() {
        let table = [
            ("/enrollmentGroups/Fleet", "/enrollmentgroups/Fleet"),
            ("/enrollmentgroups/", "/enrollmentgroups"),
            ("/devices/Devices", "/devices/Devices"),
            ("/Twins/D/Methods", "/twins/D/methods"),
            ("/Twins/D/Modules/M/Methods", "/twins/D/modules/M/methods"),
            ("/Devices/Modules/Modules/M/", "/devices/Modules/modules/M"),
            (
                "/0neA/Registrations/D/Register",
                "/0neA/registrations/D/register",
            ),
            ("/registrations/D", "/registrations/D"),
            ("/enrollments/Query", "/enrollments/query"),
            (
                "/subscriptions/S/resourcegroups/R/providers/Microsoft.Devices/provisioningServices/P/certificates/C/generateVerificationCode",
                "/subscriptions/S/resourcegroups/R/providers/microsoft.devices/provisioningservices/P/certificates/C/generateverificationcode",
            ),
            ("/$IoTHub/WebSocket/", "/$iothub/websocket"),
            ("/Jobs/V2/Job-1/Cancel", "/jobs/v2/Job-1/cancel"),
            ("/Jobs/V2/Query/", "/jobs/v2/query"),
            ("/Jobs/Create", "/jobs/Create"),
            (
                "/Providers/Microsoft.Devices/Operations",
                "/providers/microsoft.devices/operations",
            ),
            (
                "/Messages/ServiceBound/Feedback/Token/Abandon",
                "/messages/servicebound/feedback/Token/abandon",
            ),
            (
                "/devices/D/messages/deviceBound/Token/Abandon",
                "/devices/D/messages/devicebound/Token/abandon",
            ),
            (
                "/devices/D/modules/M/Messages/DeviceBound",
                "/devices/D/modules/M/messages/devicebound",
            ),
            (
                "/subscriptions/Providers/Providers/Microsoft.Devices/provisioningServices/",
                "/subscriptions/Providers/providers/microsoft.devices/provisioningservices",
            ),
            ("/", "/"),
        ];
        for (path, expected) in table {
            assert_eq!(canonical(path), expected, "{path}");
        }
    }

    #[test]
    fn a_path_that_nobody_serves_belongs_to_an_api_too() {
        let table = [
            (
                "/subscriptions/s/providers/microsoft.devices/anything",
                Api::Management(CodeAs::Text),
            ),
            (
                "/providers/microsoft.devices/operations?api-version=2022-02-05",
                Api::Management(CodeAs::Text),
            ),
            (
                "/providers/microsoft.devices/operations?api-version=2022-12-12",
                Api::Management(CodeAs::Number),
            ),
            (
                "/subscriptions/s/providers/microsoft.devices/iothubs?api-version=2023-06-30",
                Api::Management(CodeAs::Text),
            ),
            ("/configurations", Api::Hub),
            ("/devices/d/anything", Api::Hub),
            ("/devices", Api::Hub),
            ("/devices/registrations", Api::Hub),
            ("/enrollments/e/anything", Api::Dps),
            ("/0ne1/registrations/d/anything", Api::Dps),
            ("/", Api::Dps),
        ];
        for (path, expected) in table {
            let uri = path.parse().unwrap();
            assert_eq!(api(&uri), expected, "{path}");
        }
    }

    #[test]
    fn the_query_stays() {
        let mut uri: Uri = "/Devices/d/?api-version=2021-04-12".parse().unwrap();
        canonicalize(&mut uri);
        assert_eq!(uri.to_string(), "/devices/d?api-version=2021-04-12");
    }
}
