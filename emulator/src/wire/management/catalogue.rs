//! The provider's catalogue as the management API spells it (ENDPOINTS 5).

use serde_json::{Value, json};

use crate::error::ServiceError;
use crate::wire::reader::Reader;

/// The only price tier of DPS.
pub(crate) const SKU: &str = "S1";

/// Shortest and longest name of a provisioning service, in characters.
const NAME_LENGTH: std::ops::RangeInclusive<usize> = 3..=50;

/// What may be done here: resource type below the provider, action, words for it.
const OPERATIONS: [(&str, &str, &str); 19] = [
    ("provisioningServices", "Read", "Get a provisioning service"),
    (
        "provisioningServices",
        "Write",
        "Update a provisioning service",
    ),
    ("provisioningServices/listkeys", "Action", "List all keys"),
    (
        "provisioningServices/keys/listkeys",
        "Action",
        "Get the keys of one policy",
    ),
    ("provisioningServices/skus", "Read", "List the valid SKUs"),
    (
        "provisioningServices/certificates",
        "Read",
        "Get CA certificates",
    ),
    (
        "provisioningServices/certificates",
        "Write",
        "Upload a CA certificate",
    ),
    (
        "provisioningServices/certificates",
        "Delete",
        "Delete a CA certificate",
    ),
    (
        "provisioningServices/certificates/generateVerificationCode",
        "Action",
        "Generate a verification code",
    ),
    (
        "provisioningServices/certificates/verify",
        "Action",
        "Verify a CA certificate",
    ),
    (
        "checkProvisioningServiceNameAvailability",
        "Action",
        "Check a name",
    ),
    ("IotHubs", "Read", "Get a hub"),
    ("IotHubs/listkeys", "Action", "List all keys"),
    (
        "IotHubs/iotHubKeys/listkeys",
        "Action",
        "Get the keys of one policy",
    ),
    ("IotHubs/certificates", "Read", "Get CA certificates"),
    ("IotHubs/certificates", "Write", "Upload a CA certificate"),
    ("IotHubs/certificates", "Delete", "Delete a CA certificate"),
    (
        "IotHubs/certificates/generateVerificationCode",
        "Action",
        "Generate a verification code",
    ),
    (
        "IotHubs/certificates/verify",
        "Action",
        "Verify a CA certificate",
    ),
];

/// `OperationListResult`.
pub(crate) fn operations() -> Value {
    let all = OPERATIONS.iter().map(|(resource, action, words)| {
        json!({
            "name": format!("Microsoft.Devices/{resource}/{action}"),
            "display": {
                "provider": "Microsoft Devices",
                "resource": resource,
                "operation": words,
            },
        })
    });
    json!({ "value": Value::from_iter(all) })
}

/// Reads `OperationInputs`: the name somebody would like.
pub(crate) fn read_name(body: &Value) -> Result<String, ServiceError> {
    let body = Reader::root(body)?;
    let name = body.text("name")?;
    name.map(str::to_owned)
        .ok_or_else(|| body.wrong("name", "required"))
}

/// `NameAvailabilityInfo`: names of provisioning services are letters, digits and inner hyphens,
/// not digits alone, and one is taken.
pub(crate) fn name_availability(name: &str, taken: &str) -> Value {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_valid = NAME_LENGTH.contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.chars().all(|c| c.is_ascii_digit());
    let (reason, message) = if !is_valid {
        let (shortest, longest) = (NAME_LENGTH.start(), NAME_LENGTH.end());
        let message = format!(
            "Expected {shortest} to {longest} letters, digits and inner hyphens, and not digits alone."
        );
        ("Invalid", message)
    } else if name.eq_ignore_ascii_case(taken) {
        (
            "AlreadyExists",
            format!("{taken} is the name of the service here."),
        )
    } else {
        return json!({ "nameAvailable": true });
    };
    json!({ "nameAvailable": false, "reason": reason, "message": message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_free_taken_or_none() {
        let table = [
            ("other-dps", None),
            ("a1b", None),
            ("Linarite-DPS", Some("AlreadyExists")),
            ("ab", Some("Invalid")),
            ("123", Some("Invalid")),
            ("-ab", Some("Invalid")),
            ("ab-", Some("Invalid")),
            ("a_b", Some("Invalid")),
        ];
        for (name, reason) in table {
            let answer = name_availability(name, "linarite-dps");
            assert_eq!(answer["nameAvailable"], reason.is_none(), "{name}");
            assert_eq!(answer["reason"].as_str(), reason, "{name}");
        }
        let longest = "a".repeat(50);
        assert_eq!(name_availability(&longest, "x")["nameAvailable"], true);
        assert_eq!(
            name_availability(&format!("{longest}a"), "x")["nameAvailable"],
            false
        );
    }
}
