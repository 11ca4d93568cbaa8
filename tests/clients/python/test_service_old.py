"""Life cycles through the older service client, which speaks 2018-09-01-preview.

It tells little of a refusal: the status and the reason phrase, and the answer as the cause.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from provisioningserviceclient import (
    BULKOP_CREATE,
    BULKOP_DELETE,
    BULKOP_UPDATE,
    BULKOP_UPDATE_IF_MATCH_ETAG,
    BulkEnrollmentOperation,
    ProvisioningServiceClient,
    ProvisioningServiceError,
    QuerySpecification,
)
from provisioningserviceclient.models import (
    AttestationMechanism,
    EnrollmentGroup,
    IndividualEnrollment,
    InitialTwin,
    ReprovisionPolicy,
    SymmetricKeyAttestation,
)

from device_side import DeviceSide, derived_key
from emulator import Emulator
from operator_side import Operator
from pki import Pki


@pytest.fixture(scope="module")
def service(emulator: Emulator) -> ProvisioningServiceClient:
    return ProvisioningServiceClient.create_from_connection_string(emulator.dps_connection_string)


def key_of(letter: str) -> str:
    return base64.b64encode(letter.encode() * 64).decode()


def symmetric(primary: str, secondary: str) -> AttestationMechanism:
    keys = SymmetricKeyAttestation(primary_key=key_of(primary), secondary_key=key_of(secondary))
    return AttestationMechanism(type="symmetricKey", symmetric_key=keys)


def refused(status: int, number: int, call: Callable[[], Any]) -> None:
    """R-A29, R-F8: the client finds its error model in the answer."""
    with pytest.raises(ProvisioningServiceError, match=f"Service Error {status} - ") as refusal:
        call()
    details = refusal.value.cause.error
    assert details.error_code == number
    assert details.message and details.tracking_id and details.timestamp_utc


def test_an_x509_entry_from_creation_to_deletion(
    service: ProvisioningServiceClient, pki: Pki, name: str
) -> None:
    """R-F1, R-F2, R-F3, R-A8."""
    first, second = pki.self_signed_leaf(name), pki.self_signed_leaf(name)
    mechanism = AttestationMechanism.create_with_x509_client_certs(first.pem, second.pem)
    twin = InitialTwin.create(tags={"site": "north"}, desired_properties={"interval": 5})
    policy = ReprovisionPolicy(update_hub_assignment=True, migrate_device_data=False)
    wanted = IndividualEnrollment.create(
        name,
        mechanism,
        device_id=f"{name}-device",
        initial_twin=twin,
        reprovision_policy=policy,
        allocation_policy="hashed",
    )
    created = service.create_or_update(wanted)
    assert (created.registration_id, created.device_id) == (name, f"{name}-device")
    assert created.provisioning_status == "enabled"
    assert created.initial_twin.tags == {"site": "north"}
    assert created.initial_twin.desired_properties == {"interval": 5}
    assert created.reprovision_policy.migrate_device_data is False
    assert created.created_date_time_utc is not None
    info = created.attestation.x509.client_certificates.primary.info
    assert info.subject_name == f"CN={name}"
    assert info.not_after_utc > info.not_before_utc

    # Without an etag a write is a creation.
    refused(409, 409000, lambda: service.create_or_update(wanted))

    read = service.get_individual_enrollment(name)
    assert read.etag == created.etag
    read.provisioning_status = "disabled"
    updated = service.create_or_update(read)
    assert updated.provisioning_status == "disabled"
    slots = updated.attestation.x509.client_certificates
    assert slots.primary.info.sha256_thumbprint == info.sha256_thumbprint
    assert slots.secondary is not None
    assert updated.initial_twin.desired_properties == {"interval": 5}

    refused(412, 412000, lambda: service.create_or_update(read))
    shown = service.get_individual_enrollment_attestation_mechanism(name)
    assert shown.attestation_type == "x509"
    refused(412, 412000, lambda: service.delete(read))
    service.delete(updated)
    refused(404, 404201, lambda: service.get_individual_enrollment(name))
    refused(404, 404201, lambda: service.delete_individual_enrollment_by_param(name))


def test_a_symmetric_key_entry_and_its_record(
    service: ProvisioningServiceClient, devices: DeviceSide, name: str
) -> None:
    """R-A32, R-F5, R-E5."""
    created = service.create_or_update(IndividualEnrollment.create(name, symmetric("a", "b")))
    shown = service.get_individual_enrollment_attestation_mechanism(name)
    assert shown.symmetric_key.primary_key == key_of("a")
    assert created.attestation.symmetric_key is None or not (
        created.attestation.symmetric_key.primary_key
    )

    assert devices.register_with_key(name, key_of("b")).status == "assigned"
    state = service.get_registration_state(name)
    assert (state.status, state.device_id) == ("assigned", name)
    assert service.get_individual_enrollment(name).registration_state.status == "assigned"
    service.delete(state)
    refused(404, 404202, lambda: service.get_registration_state(name))
    service.delete_individual_enrollment_by_param(name, created.etag)


def test_groups_of_each_kind(
    service: ProvisioningServiceClient,
    operator: Operator,
    devices: DeviceSide,
    pki: Pki,
    name: str,
) -> None:
    """R-A13, R-A33, R-F1, R-F2."""
    root, other = pki.root(f"{name}-root"), pki.root(f"{name}-other")
    operator.upload(f"{name}-root", root)
    mechanisms = {
        "signing": AttestationMechanism.create_with_x509_signing_certs(root.pem, other.pem),
        "references": AttestationMechanism.create_with_x509_ca_refs(f"{name}-root"),
        "keys": symmetric("g", "h"),
    }
    for kind, mechanism in mechanisms.items():
        group_id = f"{name}-{kind}"
        wanted = EnrollmentGroup.create(group_id, mechanism)
        created = service.create_or_update(wanted)
        assert created.enrollment_group_id == group_id
        refused(409, 409000, lambda wanted=wanted: service.create_or_update(wanted))

        read = service.get_enrollment_group(group_id)
        read.provisioning_status = "disabled"
        updated = service.create_or_update(read)
        assert updated.provisioning_status == "disabled"
        refused(412, 412000, lambda read=read: service.create_or_update(read))
        refused(412, 412000, lambda read=read: service.delete(read))
        updated.provisioning_status = "enabled"
        service.create_or_update(updated)

        shown = service.get_enrollment_group_attestation_mechanism(group_id)
        assert shown.attestation_type == mechanism.attestation_type
        if kind == "keys":
            assert shown.symmetric_key.secondary_key == key_of("h")
        if kind == "references":
            assert shown.x509.ca_references.primary == f"{name}-root"
        if kind == "signing":
            assert shown.x509.signing_certificates.secondary.info.subject_name == f"CN={name}-other"

    member = f"{name}-member"
    assert devices.register_with_key(member, derived_key(key_of("g"), member)).status == "assigned"
    # The client's own query for records cannot be called: it passes its arguments in the wrong
    # places. What lies under it can.
    under = service._runtime_client  # noqa: SLF001
    records = under.query_device_registration_states(f"{name}-keys")
    assert [record.registration_id for record in records] == [member]

    for kind in mechanisms:
        service.delete_enrollment_group_by_param(f"{name}-{kind}")
        refused(404, 404202, lambda kind=kind: service.get_enrollment_group(f"{name}-{kind}"))


def test_queries_in_pages(service: ProvisioningServiceClient, name: str) -> None:
    """R-F7: an absent continuation ends it."""
    names = [f"{name}-{number}" for number in range(5)]
    for each in names:
        service.create_or_update(IndividualEnrollment.create(each, symmetric("a", "b")))
        service.create_or_update(EnrollmentGroup.create(each, symmetric("a", "b")))

    for query, member in (
        (
            service.create_individual_enrollment_query(
                QuerySpecification("SELECT * FROM enrollments"), page_size=2
            ),
            "registration_id",
        ),
        (
            service.create_enrollment_group_query(
                QuerySpecification("SELECT * FROM enrollmentGroups"), page_size=2
            ),
            "enrollment_group_id",
        ),
    ):
        seen = []
        while query.has_next:
            page = query.next()
            assert 1 <= len(page) <= 2
            seen += [getattr(entry, member) for entry in page]
        assert len(seen) == len(set(seen))
        assert [each for each in sorted(seen) if each in names] == names


def test_bulk_with_a_failing_item(service: ProvisioningServiceClient, name: str) -> None:
    """R-F6."""

    def run(mode: str, *entries: IndividualEnrollment) -> Any:
        return service.run_bulk_operation(BulkEnrollmentOperation(mode, list(entries)))

    good = IndividualEnrollment.create(f"{name}-good", symmetric("a", "b"))
    wrong = AttestationMechanism.create_with_x509_client_certs("no certificate")
    bad = IndividualEnrollment.create(f"{name}-bad", wrong)

    result = run(BULKOP_CREATE, good, bad)
    assert result.is_successful is False
    (error,) = result.errors
    assert (error.registration_id, error.error_code) == (f"{name}-bad", 400004)
    assert "certificate" in error.error_status

    read = service.get_individual_enrollment(f"{name}-good")
    read.provisioning_status = "disabled"
    assert run(BULKOP_UPDATE_IF_MATCH_ETAG, read).is_successful is True
    assert run(BULKOP_UPDATE_IF_MATCH_ETAG, read).errors[0].error_code == 412000
    assert run(BULKOP_UPDATE, good).is_successful is True
    assert service.get_individual_enrollment(f"{name}-good").provisioning_status == "enabled"
    result = run(BULKOP_DELETE, bad, good)
    assert [error.registration_id for error in result.errors] == [f"{name}-bad"]
    refused(404, 404201, lambda: service.get_individual_enrollment(f"{name}-good"))
