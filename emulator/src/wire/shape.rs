//! What each version of DPS's APIs shows of one and the same thing (ENDPOINTS 0, R-B5).
//!
//! Answers are made as the newest version has them; what an older one lacks is taken out here.
//! Which version brought a member is known from the published definitions of 2018-04-01 and
//! 2021-10-01 and from the clients in between.

use serde_json::{Map, Value};

use super::version::ApiVersion;

/// Members of an entry, with the version that brought them.
const ENTRY: [(&str, ApiVersion); 5] = [
    ("allocationPolicy", ApiVersion::POLICIES),
    ("customAllocationDefinition", ApiVersion::POLICIES),
    ("iotHubs", ApiVersion::POLICIES),
    ("optionalDeviceInformation", ApiVersion::INFORMATION),
    ("reprovisionPolicy", ApiVersion::POLICIES),
];

/// Members of a record, with the version that brought them.
const RECORD: [(&str, ApiVersion); 2] = [
    ("payload", ApiVersion::SAME_HUB),
    ("substatus", ApiVersion::POLICIES),
];

/// An entry as the service API of `version` shows it, its record included.
pub(crate) fn entry(version: ApiVersion, mut entry: Value) -> Value {
    if let Value::Object(members) = &mut entry {
        take_out(version, members, &ENTRY);
        if let Some(state) = members.get_mut("registrationState") {
            *state = record(version, state.take());
        }
    }
    entry
}

/// A record as the service API of `version` shows it.
pub(crate) fn record(version: ApiVersion, mut record: Value) -> Value {
    if let Value::Object(members) = &mut record {
        take_out(version, members, &RECORD);
    }
    same_hub(version, record)
}

/// R-B5: before 2021-10-01 both APIs have no word of their own for coming back to the same hub.
pub(crate) fn substatus(version: ApiVersion, word: &str) -> &str {
    match word {
        "reprovisionedToInitialAssignment" if version < ApiVersion::SAME_HUB => "initialAssignment",
        word => word,
    }
}

fn same_hub(version: ApiVersion, mut record: Value) -> Value {
    if let Some(Value::String(word)) = record.get_mut("substatus") {
        *word = substatus(version, word).to_owned();
    }
    record
}

fn take_out(version: ApiVersion, members: &mut Map<String, Value>, since: &[(&str, ApiVersion)]) {
    for (member, brought) in since {
        if version < *brought {
            members.remove(*member);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// R-B5.
    #[test]
    fn an_older_version_shows_what_it_knows() {
        let state = json!({ "status": "assigned", "payload": 1, "substatus":
            "reprovisionedToInitialAssignment" });
        let whole = json!({ "etag": "e", "iotHubs": [], "optionalDeviceInformation": {},
            "registrationState": state });
        let initial = json!({ "status": "assigned", "substatus": "initialAssignment" });
        let table = [
            (
                "2018-04-01",
                json!({ "etag": "e", "registrationState": { "status": "assigned" } }),
            ),
            (
                "2018-09-01-preview",
                json!({ "etag": "e", "iotHubs": [], "registrationState": initial }),
            ),
            (
                "2019-03-31",
                json!({ "etag": "e", "iotHubs": [], "optionalDeviceInformation": {},
                    "registrationState": initial }),
            ),
            ("2021-10-01", whole.clone()),
            ("2030-01-01", whole.clone()),
        ];
        for (version, expected) in table {
            let version = ApiVersion::parse(version).unwrap();
            assert_eq!(entry(version, whole.clone()), expected, "{version}");
        }
    }
}
