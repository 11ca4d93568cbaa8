//! What the rules a fleet can fall to mean, in the operator's words.

use std::collections::BTreeSet;

use super::Report;

/// Rules by number, each with what it does to a device and what to do about it.
const RULES: [(&str, &str); 29] = [
    (
        "I-14",
        "DPS looks at validity periods; the certificate does not hold at this moment",
    ),
    (
        "R-A4",
        "the common name of the device's certificate is not the id it registers under",
    ),
    (
        "R-A15",
        "no enrollment group holds a certificate of the device's chain: the group's slots are \
         emptied, or not filled yet",
    ),
    (
        "R-A16",
        "the device's chain does not lead to a verified CA certificate: upload and verify it, or \
         have the device send its intermediates",
    ),
    (
        "R-A20",
        "a certificate of the device's chain has expired or does not hold yet",
    ),
    (
        "R-A21a",
        "the device has an enrollment of its own, of another kind than what it showed; groups \
         are not asked",
    ),
    (
        "R-A21b",
        "the device has an enrollment of its own, and the certificate it showed is in neither \
         slot: save it there first; groups are not asked",
    ),
    ("R-A23", "nothing enrolls the device"),
    (
        "R-A26",
        "without an enrollment of its own the device goes through the group that signs its \
         certificate: disable its enrollment, do not delete it",
    ),
    ("R-A27", "the enrollment that decides is disabled"),
    (
        "R-A28",
        "the hub does not ask DPS: whom an enrollment no longer admits still connects, until its \
         hub identity is disabled or deleted",
    ),
    ("R-B8", "two registrations of one id at the same time"),
    ("R-B14", "no linked hub could be chosen"),
    (
        "R-B16",
        "the webhook of a custom allocation policy gave no usable answer",
    ),
    (
        "R-B21",
        "a registration with a new certificate retires the old one at the hub at once",
    ),
    (
        "R-C1",
        "a device's hub is decided when it registers, by the hubs and the reprovision policy of its \
         enrollment, and nothing is pushed",
    ),
    (
        "R-C9",
        "a certificate with another common name is another device: a second record and a second \
         identity remain beside the first",
    ),
    (
        "R-E1",
        "an enrollment still admits the breached certificate: its certificate, or one above it, \
         was left in a slot or in the certificate store",
    ),
    (
        "R-E4",
        "what is removed from DPS still opens sessions at the hub, until its identity there is \
         disabled, deleted, or holds a new thumbprint",
    ),
    (
        "R-E6",
        "the hub's identity was disabled or deleted, which closes its session",
    ),
    ("R-E7", "the hub knows no such device"),
    (
        "R-E8",
        "a new thumbprint does not end a session that is open: it lives on until its device \
         connects again, or the identity is disabled or deleted",
    ),
    ("R-G4", "the device is disabled at its hub"),
    (
        "R-G7",
        "the hub refuses a certificate that has expired or does not hold yet",
    ),
    (
        "R-G10",
        "the hub knows another certificate: after a change the device has to register through \
         DPS before it connects",
    ),
    (
        "R-G13",
        "a second connection of one device closes the first",
    ),
    (
        "R-G26",
        "the answer to a direct method is lost with the session it came on: the device has to \
         answer before it connects anew",
    ),
    (
        "R-H1",
        "DPS was asked more often than its limit allows: it tells devices when to come back, and \
         who has no session meanwhile has no service",
    ),
    (
        "R-G14",
        "nothing was heard of the device for one and a half times its keep-alive",
    ),
];

/// What `rule` means; `None` for one that no device falls to.
pub(super) fn meaning(rule: &str) -> Option<&'static str> {
    RULES
        .iter()
        .find(|(number, _)| *number == rule)
        .map(|(_, words)| *words)
}

impl Report {
    /// The rules this report names, each with its meaning, in order.
    #[must_use]
    pub fn rules_named(&self) -> Vec<(String, &'static str)> {
        let named: BTreeSet<&String> = self
            .checks
            .iter()
            .flat_map(|check| check.rules.keys())
            .collect();
        named
            .into_iter()
            .filter_map(|rule| Some((rule.clone(), meaning(rule)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_there_once_and_in_order_of_its_letter() {
        let numbers: BTreeSet<&str> = RULES.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers.len(), RULES.len());
        assert!(RULES.iter().all(|(_, words)| !words.ends_with('.')));
        assert_eq!(meaning("R-X1"), None);
    }
}
