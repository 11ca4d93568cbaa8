"""A request that Azure takes, for each operation of the service API of DPS.

Each makes what it needs. What it gets has passed the checks of its shape; here stands what the
answer must say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service_world import KEY, SYMMETRIC, Service, name_of

# Every member that an entry of either kind has, except what only one mechanism needs.
MEMBERS: dict[str, Any] = {
    "capabilities": {"iotEdge": True},
    "initialTwin": {
        "tags": {"site": "north"},
        "properties": {"desired": {"interval": 5, "nested": {"list": [1, 2]}}},
    },
    "provisioningStatus": "disabled",
    "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": False},
    "allocationPolicy": "static",
}


def _put_individual(service: Service) -> Any:
    name, certificate = service.leaf()
    slots = {"primary": {"certificate": certificate.pem}}
    members = {
        **MEMBERS,
        "deviceId": f"{name}-device",
        "iotHubs": [service.emulator.hub_host],
        "optionalDeviceInformation": {"room": "4"},
        "attestation": {"type": "x509", "x509": {"clientCertificates": slots}},
    }
    body = {"registrationId": name, **members}
    answer = service.api.send("IndividualEnrollment_CreateOrUpdate", {"id": name}, body=body)
    kept = answer.json()
    _assert_kept(members, kept)
    info = kept["attestation"]["x509"]["clientCertificates"]["primary"]["info"]
    assert info["subjectName"] == f"CN={name}"
    assert kept["createdDateTimeUtc"] and kept["lastUpdatedDateTimeUtc"] and kept["etag"]
    return answer


def _get_individual(service: Service) -> Any:
    entry = service.individual(**MEMBERS, iotHubs=[service.emulator.hub_host])
    answer = service.api.send("IndividualEnrollment_Get", {"id": entry["registrationId"]})
    assert answer.json() == entry
    assert KEY not in answer.text, "only the attestation mechanism shows keys (R-F5)"
    return answer


def _delete_individual(service: Service) -> Any:
    entry = service.individual()
    place = {"id": entry["registrationId"]}
    answer = service.api.send(
        "IndividualEnrollment_Delete", place, headers={"If-Match": entry["etag"]}
    )
    assert service.api.send("IndividualEnrollment_Get", place).status_code == 404
    return answer


def _individual_mechanism(service: Service) -> Any:
    place = {"id": service.individual()["registrationId"]}
    answer = service.api.send("IndividualEnrollment_GetAttestationMechanism", place)
    assert answer.json()["symmetricKey"] == SYMMETRIC["symmetricKey"]
    return answer


def _query_individuals(service: Service) -> Any:
    for _ in range(3):
        service.individual()
    return _query(service, "IndividualEnrollment_Query", "enrollments", "enrollment")


def _bulk_individuals(service: Service) -> Any:
    return _bulk(service, "IndividualEnrollment_RunBulkOperation", "enrollments", "registrationId")


def _put_group(service: Service) -> Any:
    name = name_of("group")
    authorities = [service.pki.root(f"{name}-{number}") for number in (1, 2)]
    first, second = ({"certificate": authority.pem} for authority in authorities)
    slots = {"primary": first, "secondary": second}
    members = {
        **MEMBERS,
        "iotHubs": [service.emulator.hub_host],
        "attestation": {"type": "x509", "x509": {"signingCertificates": slots}},
    }
    body = {"enrollmentGroupId": name, **members}
    answer = service.api.send("EnrollmentGroup_CreateOrUpdate", {"id": name}, body=body)
    kept = answer.json()
    _assert_kept(members, kept)
    infos = kept["attestation"]["x509"]["signingCertificates"]
    assert infos["primary"]["info"]["subjectName"] == f"CN={name}-1"
    assert infos["secondary"]["info"]["subjectName"] == f"CN={name}-2"
    return answer


def _get_group(service: Service) -> Any:
    group = service.group(**MEMBERS, iotHubs=[service.emulator.hub_host])
    answer = service.api.send("EnrollmentGroup_Get", {"id": group["enrollmentGroupId"]})
    assert answer.json() == group
    assert KEY not in answer.text, "only the attestation mechanism shows keys (R-F5)"
    return answer


def _delete_group(service: Service) -> Any:
    group = service.group()
    place = {"id": group["enrollmentGroupId"]}
    answer = service.api.send("EnrollmentGroup_Delete", place, headers={"If-Match": group["etag"]})
    assert service.api.send("EnrollmentGroup_Get", place).status_code == 404
    return answer


def _group_mechanism(service: Service) -> Any:
    place = {"id": service.group()["enrollmentGroupId"]}
    answer = service.api.send("EnrollmentGroup_GetAttestationMechanism", place)
    assert answer.json()["symmetricKey"] == SYMMETRIC["symmetricKey"]
    return answer


def _query_groups(service: Service) -> Any:
    for _ in range(3):
        service.group()
    return _query(service, "EnrollmentGroup_Query", "enrollmentGroups", "enrollmentGroup")


def _bulk_groups(service: Service) -> Any:
    operation_id, member = "EnrollmentGroup_RunBulkOperation", "enrollmentGroupId"
    return _bulk(service, operation_id, "enrollmentGroups", member)


def _get_registration(service: Service) -> Any:
    _, device = service.registered()
    answer = service.api.send("DeviceRegistrationState_Get", {"id": device})
    state = answer.json()
    assert (state["registrationId"], state["deviceId"]) == (device, device)
    assert (state["status"], state["substatus"]) == ("assigned", "initialAssignment")
    assert state["assignedHub"] == service.emulator.hub_host
    return answer


def _delete_registration(service: Service) -> Any:
    _, device = service.registered()
    place = {"id": device}
    etag = service.api.send("DeviceRegistrationState_Get", place).json()["etag"]
    answer = service.api.send("DeviceRegistrationState_Delete", place, headers={"If-Match": etag})
    assert service.api.send("DeviceRegistrationState_Get", place).status_code == 404
    return answer


def _query_registrations(service: Service) -> Any:
    group, device = service.registered()
    answer = service.api.send("DeviceRegistrationState_Query", {"id": group})
    assert [state["registrationId"] for state in answer.json()] == [device]
    return answer


VALID: dict[str, Callable[[Service], Any]] = {
    "IndividualEnrollment_CreateOrUpdate": _put_individual,
    "IndividualEnrollment_Delete": _delete_individual,
    "IndividualEnrollment_Get": _get_individual,
    "IndividualEnrollment_GetAttestationMechanism": _individual_mechanism,
    "IndividualEnrollment_Query": _query_individuals,
    "IndividualEnrollment_RunBulkOperation": _bulk_individuals,
    "EnrollmentGroup_CreateOrUpdate": _put_group,
    "EnrollmentGroup_Delete": _delete_group,
    "EnrollmentGroup_Get": _get_group,
    "EnrollmentGroup_GetAttestationMechanism": _group_mechanism,
    "EnrollmentGroup_Query": _query_groups,
    "EnrollmentGroup_RunBulkOperation": _bulk_groups,
    "DeviceRegistrationState_Delete": _delete_registration,
    "DeviceRegistrationState_Get": _get_registration,
    "DeviceRegistrationState_Query": _query_registrations,
}


def _assert_kept(sent: dict[str, Any], kept: dict[str, Any]) -> None:
    """The answer holds what was sent; the twin may hold more, and certificates come back as facts."""
    for member, value in sent.items():
        if member not in ("attestation", "initialTwin"):
            assert kept[member] == value, member
    twin = kept["initialTwin"]
    assert twin["tags"].items() >= sent["initialTwin"]["tags"].items()
    desired = sent["initialTwin"]["properties"]["desired"]
    assert twin["properties"]["desired"].items() >= desired.items()


def _query(service: Service, operation_id: str, table: str, item_type: str) -> Any:
    """The first of several pages: two items and the way to the next (R-F7)."""
    body = {"query": f"SELECT * FROM {table}"}
    answer = service.api.send(operation_id, headers={"x-ms-max-item-count": "2"}, body=body)
    assert len(answer.json()) == 2
    assert answer.headers["x-ms-item-type"][0].lower().startswith(item_type.lower())
    continuation = answer.headers["x-ms-continuation"][0]
    following = service.api.send(
        operation_id,
        headers={"x-ms-max-item-count": "2", "x-ms-continuation": continuation},
        body=body,
    )
    assert following.json() and following.json()[0] not in answer.json()
    return answer


def _bulk(service: Service, operation_id: str, items: str, member: str) -> Any:
    """Two items, of which one fails (R-F6)."""
    fresh, wrong = name_of("bulk"), name_of("bulk")
    body = {
        "mode": "create",
        items: [
            {member: fresh, "attestation": SYMMETRIC},
            {member: wrong, "attestation": {"type": "x509"}},
        ],
    }
    answer = service.api.send(operation_id, body=body)
    result = answer.json()
    assert result["isSuccessful"] is False
    assert [error[member] for error in result["errors"]] == [wrong]
    again = service.api.send(operation_id, body={**body, "mode": "delete", items: body[items][:1]})
    assert again.json()["isSuccessful"] is True
    return answer
