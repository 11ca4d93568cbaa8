"""Life cycles through the newer service client, which speaks 2021-10-01."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.iot.deviceprovisioning import DeviceProvisioningClient

from device_side import DeviceSide, derived_key
from emulator import Emulator
from operator_side import Operator
from pki import Pki

SYMMETRIC = {"type": "symmetricKey"}


def key_of(letter: str) -> str:
    """A key as Azure makes them: 64 bytes in base64."""
    return base64.b64encode(letter.encode() * 64).decode()


def keys(primary: str, secondary: str) -> dict[str, Any]:
    named = {"primaryKey": key_of(primary), "secondaryKey": key_of(secondary)}
    return {"type": "symmetricKey", "symmetricKey": named}


def refused(status: int, number: int, call: Callable[[], Any]) -> str:
    """The message of an answer that must be this refusal (R-A29, R-F8)."""
    with pytest.raises(HttpResponseError) as refusal:
        call()
    response = refusal.value.response
    body = response.json()
    assert (response.status_code, body["errorCode"]) == (status, number)
    assert response.headers["x-ms-error-code"] == str(number)
    assert body["trackingId"] and body["timestampUtc"]
    return body["message"]


def test_an_x509_entry_from_creation_to_deletion(operator: Operator, pki: Pki, name: str) -> None:
    """R-F1, R-F2, R-F3, R-A8: certificates go in, facts about them come out."""
    entries = operator.dps.enrollment
    first, second = pki.self_signed_leaf(name), pki.self_signed_leaf(name)

    created = operator.save_individual(name, first)
    assert created["registrationId"] == name
    assert created["provisioningStatus"] == "enabled"
    primary = created["attestation"]["x509"]["clientCertificates"]["primary"]
    assert "certificate" not in primary or primary["certificate"] is None
    assert primary["info"]["subjectName"] == f"CN={name}"
    assert entries.get(name) == created

    # Without an etag a write is a creation.
    with pytest.raises(ResourceExistsError):
        operator.save_individual(name, first)

    # What was read goes back with one change; the slot that is not sent again stays.
    changed = {**created, "provisioningStatus": "disabled", "deviceId": f"{name}-device"}
    updated = entries.create_or_update(name, changed, if_match=created["etag"])
    assert updated["etag"] != created["etag"]
    assert (updated["provisioningStatus"], updated["deviceId"]) == ("disabled", f"{name}-device")
    assert updated["attestation"]["x509"]["clientCertificates"]["primary"] == primary
    assert updated["createdDateTimeUtc"] == created["createdDateTimeUtc"]

    stale = lambda: entries.create_or_update(name, changed, if_match=created["etag"])  # noqa: E731
    assert refused(412, 412000, stale)
    assert entries.get(name) == updated

    both = operator.save_individual(name, first, second, if_match="*")
    infos = both["attestation"]["x509"]["clientCertificates"]
    assert infos["primary"]["info"] == primary["info"]
    assert infos["secondary"]["info"]["sha256Thumbprint"] != primary["info"]["sha256Thumbprint"]
    assert entries.get_attestation_mechanism(name)["type"] == "x509"

    assert refused(412, 412000, lambda: entries.delete(name, if_match=updated["etag"]))
    assert entries.delete(name, if_match=both["etag"]) is None
    with pytest.raises(ResourceNotFoundError):
        entries.get(name)
    assert refused(404, 404201, lambda: entries.delete(name))
    assert refused(404, 404201, lambda: entries.get_attestation_mechanism(name))
    assert refused(412, 412000, lambda: operator.save_individual(name, first, if_match="*"))


def test_a_symmetric_key_entry_from_creation_to_deletion(
    operator: Operator, devices: DeviceSide, name: str
) -> None:
    """R-A31, R-A32, R-F5: made keys, chosen keys, keys that stay."""
    entries = operator.dps.enrollment
    created = entries.create_or_update(name, {"registrationId": name, "attestation": SYMMETRIC})
    shown = created["attestation"].get("symmetricKey") or {}
    assert not shown.get("primaryKey"), "keys are shown by the attestation mechanism alone"
    made = entries.get_attestation_mechanism(name)["symmetricKey"]
    assert len(base64.b64decode(made["primaryKey"])) == 64
    assert made["primaryKey"] != made["secondaryKey"]

    # An entry that is sent back as it was read keeps its keys.
    kept = entries.create_or_update(name, created, if_match=created["etag"])
    assert entries.get_attestation_mechanism(name)["symmetricKey"] == made

    chosen = {"registrationId": name, "attestation": keys("a", "b")}
    rolled = entries.create_or_update(name, chosen, if_match=kept["etag"])
    assert entries.get_attestation_mechanism(name) == keys("a", "b") | {
        member: None
        for member in entries.get_attestation_mechanism(name)
        if member not in ("type", "symmetricKey")
    }

    for letter in ("a", "b"):
        state = devices.register_with_key(name, key_of(letter)).registration_state
        assert state.device_id == name
    record = operator.registration(name)
    assert (record["status"], record["registrationId"]) == ("assigned", name)
    assert entries.get(name)["registrationState"]["status"] == "assigned"
    assert operator.dps.device_registration_state.delete(name, if_match=record["etag"]) is None
    gone = lambda: operator.dps.device_registration_state.get(name)  # noqa: E731
    assert refused(404, 404202, gone)

    assert entries.delete(name, if_match=rolled["etag"]) is None
    with pytest.raises(ResourceNotFoundError):
        entries.get(name)


def test_a_group_of_signing_certificates(operator: Operator, pki: Pki, name: str) -> None:
    """R-A13, R-D8: a second issuer comes in, the first goes out."""
    groups = operator.dps.enrollment_group
    old, new = pki.root(f"{name}-old"), pki.root(f"{name}-new")
    created = operator.save_group(name, old)
    assert groups.get(name) == created
    with pytest.raises(ResourceExistsError):
        operator.save_group(name, old)

    created["attestation"]["x509"]["signingCertificates"]["secondary"] = {"certificate": new.pem}
    both = groups.create_or_update(name, created, if_match=created["etag"])
    issuers = both["attestation"]["x509"]["signingCertificates"]
    assert issuers["primary"]["info"]["subjectName"] == f"CN={name}-old"
    assert issuers["secondary"]["info"]["subjectName"] == f"CN={name}-new"
    stale = lambda: groups.create_or_update(name, created, if_match=created["etag"])  # noqa: E731
    assert refused(412, 412000, stale)

    issuers["primary"] = None
    left = groups.create_or_update(name, both, if_match=both["etag"])
    issuers = left["attestation"]["x509"]["signingCertificates"]
    assert issuers.get("primary") is None
    assert issuers["secondary"]["info"]["subjectName"] == f"CN={name}-new"
    assert groups.get_attestation_mechanism(name)["type"] == "x509"

    assert refused(412, 412000, lambda: groups.delete(name, if_match=both["etag"]))
    assert groups.delete(name, if_match=left["etag"]) is None
    with pytest.raises(ResourceNotFoundError):
        groups.get(name)


def test_a_group_of_references(
    operator: Operator, devices: DeviceSide, pki: Pki, name: str
) -> None:
    """R-A13, R-A14, R-A15: names of certificates in place of certificates."""
    groups = operator.dps.enrollment_group
    root = pki.root(f"{name}-root")
    operator.upload(f"{name}-root", root)
    references = {"primary": f"{name}-root"}
    group = {
        "enrollmentGroupId": name,
        "attestation": {"type": "x509", "x509": {"caReferences": references}},
    }
    created = groups.create_or_update(name, group)
    stored = created["attestation"]["x509"]
    assert stored["caReferences"]["primary"] == f"{name}-root"
    assert stored.get("signingCertificates") is None

    operator.prove(f"{name}-root", root, pki)
    leaf = pki.leaf(f"{name}-device", root)
    assert devices.register(f"{name}-device", pki.presented(leaf, root)).status == "assigned"

    # One style replaces the other.
    group["attestation"]["x509"] = {"signingCertificates": {"primary": {"certificate": root.pem}}}
    changed = groups.create_or_update(name, group, if_match=created["etag"])
    assert changed["attestation"]["x509"].get("caReferences") is None
    groups.delete(name)


def test_a_group_of_keys_and_its_devices(
    operator: Operator, devices: DeviceSide, name: str
) -> None:
    """R-A33, R-E5, R-F7: derived keys, records in pages, records outlive the group."""
    groups, records = operator.dps.enrollment_group, operator.dps.device_registration_state
    body = {"enrollmentGroupId": name, "attestation": keys("g", "h")}
    created = groups.create_or_update(name, body)
    assert groups.get_attestation_mechanism(name)["symmetricKey"] == body["attestation"]["symmetricKey"]

    members = [f"{name}-{number}" for number in range(3)]
    for member, letter in zip(members, "ghg", strict=True):
        key = derived_key(key_of(letter), member)
        assert devices.register_with_key(member, key).status == "assigned"

    pages = [list(page) for page in records.query(name, top=2).by_page()]
    assert all(len(page) <= 2 for page in pages)
    assert sorted(record["registrationId"] for page in pages for record in page) == members

    record = records.get(members[0])
    assert record["substatus"] == "initialAssignment"
    assert refused(412, 412000, lambda: records.delete(members[0], if_match='"stale"'))
    assert records.delete(members[0], if_match=record["etag"]) is None
    assert sorted(left["registrationId"] for left in records.query(name)) == members[1:]

    groups.delete(name, if_match=created["etag"])
    assert records.get(members[1])["status"] == "assigned"


def test_entries_in_pages(operator: Operator, name: str) -> None:
    """R-F7: each entry once, whatever the page."""
    entries, groups = operator.dps.enrollment, operator.dps.enrollment_group
    names = sorted(f"{name}-{number}" for number in range(5))
    for each in names:
        entries.create_or_update(each, {"registrationId": each, "attestation": SYMMETRIC})
        groups.create_or_update(each, {"enrollmentGroupId": each, "attestation": SYMMETRIC})

    for query, table, member in (
        (entries.query, "enrollments", "registrationId"),
        (groups.query, "enrollmentGroups", "enrollmentGroupId"),
    ):
        found = query({"query": f"SELECT * FROM {table}"}, top=2)
        pages = [list(page) for page in found.by_page()]
        assert len(pages) >= 3
        assert all(len(page) <= 2 for page in pages)
        seen = [entry[member] for page in pages for entry in page]
        assert len(seen) == len(set(seen))
        assert [each for each in sorted(seen) if each in names] == names

    message = refused(400, 400004, lambda: list(entries.query({"query": "DROP enrollments"})))
    assert "query" in message


def test_bulk_with_a_failing_item(operator: Operator, pki: Pki, name: str) -> None:
    """R-F6: an item that fails touches no other, and the answer says which it was."""
    entries = operator.dps.enrollment
    good, bad = f"{name}-good", f"{name}-bad"
    wrong = {"type": "x509", "x509": {"clientCertificates": {"primary": {"certificate": "x"}}}}
    items = [
        {"registrationId": good, "attestation": SYMMETRIC},
        {"registrationId": bad, "attestation": wrong},
    ]
    result = entries.run_bulk_operation({"mode": "create", "enrollments": items})
    assert result["isSuccessful"] is False
    (error,) = result["errors"]
    assert error["registrationId"] == bad
    assert error["errorCode"] // 1000 == 400
    assert "certificate" in error["errorStatus"]
    created = entries.get(good)
    with pytest.raises(ResourceNotFoundError):
        entries.get(bad)

    update = {**created, "provisioningStatus": "disabled"}
    result = entries.run_bulk_operation({"mode": "updateIfMatchETag", "enrollments": [update]})
    assert result["isSuccessful"] is True
    assert entries.get(good)["provisioningStatus"] == "disabled"
    stale = entries.run_bulk_operation({"mode": "updateIfMatchETag", "enrollments": [update]})
    assert stale["errors"][0]["errorCode"] == 412000

    leaf = pki.root(f"{name}-root")
    signing = {"signingCertificates": {"primary": {"certificate": leaf.pem}}}
    group = {"enrollmentGroupId": name, "attestation": {"type": "x509", "x509": signing}}
    groups = operator.dps.enrollment_group
    for mode in ("create", "update", "delete"):
        result = groups.run_bulk_operation({"mode": mode, "enrollmentGroups": [group]})
        assert result["isSuccessful"] is True, (mode, result)
    again = groups.run_bulk_operation({"mode": "delete", "enrollmentGroups": [group]})
    assert again["errors"][0]["enrollmentGroupId"] == name

    result = entries.run_bulk_operation({"mode": "delete", "enrollments": items[:1]})
    assert result["isSuccessful"] is True


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"registrationId": "somebody-else"}, "registrationId"),
        ({"attestation": {"type": "x509"}}, "attestation"),
        ({"attestation": {"type": "password"}}, "attestation.type"),
        ({"attestation": {**SYMMETRIC, "x509": {"caReferences": {"primary": "a"}}}}, "attestation"),
        ({"provisioningStatus": "paused"}, "provisioningStatus"),
        ({"iotHubs": "localhost"}, "iotHubs"),
        ({"reprovisionPolicy": {"updateHubAssignment": "yes"}}, "reprovisionPolicy.updateHubAssignment"),
        ({"initialTwin": {"tags": [1]}}, "initialTwin.tags"),
        ({"allocationPolicy": "nearest"}, "allocationPolicy"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_refusal_names_the_member(
    operator: Operator, name: str, change: dict[str, Any], named: str
) -> None:
    """R-F8: what was wrong, by its path; and nothing is written."""
    body = {"registrationId": name, "attestation": keys("a", "b"), **change}
    with pytest.raises(HttpResponseError) as refusal:
        operator.dps.enrollment.create_or_update(name, body)
    assert refusal.value.status_code == 400
    assert refusal.value.response.json()["message"].startswith(named)
    assert named in str(refusal.value), "the client shows it"
    with pytest.raises(ResourceNotFoundError):
        operator.dps.enrollment.get(name)


def test_a_wrong_key_opens_nothing(emulator: Emulator) -> None:
    """R-F9: and the client says so by its own error."""
    parts = dict(part.split("=", 1) for part in emulator.dps_connection_string.split(";"))
    parts["SharedAccessKey"] = key_of("x")
    stranger = DeviceProvisioningClient.from_connection_string(
        ";".join(f"{name}={value}" for name, value in parts.items()),
        connection_verify=str(emulator.ca_file),
    )
    with pytest.raises(ClientAuthenticationError):
        stranger.enrollment.get("anything")
