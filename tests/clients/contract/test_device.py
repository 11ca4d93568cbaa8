"""The device API of DPS: register, poll, look up (R-B1…R-B4, R-A29)."""

from __future__ import annotations

from typing import Any

import pytest

import hostile
import specification
from contract import GENERATED
from device_world import FILE, SCHEMA, VALID, Device
from emulator import Emulator
from not_emulated import NOT_EMULATED
from pki import Pki
from service_world import Service

OPERATIONS = specification.operation_ids(FILE)


@pytest.fixture(scope="module")
def service(emulator: Emulator, pki: Pki) -> Service:
    return Service(emulator, pki)


@pytest.fixture(scope="module")
def by_certificate(service: Service) -> Device:
    return Device(service, by_certificate=True)


@pytest.fixture(scope="module")
def by_key(service: Service) -> Device:
    return Device(service, by_certificate=False)


@pytest.mark.parametrize("operation_id", OPERATIONS)
@pytest.mark.parametrize("certificate", [True, False], ids=["by-certificate", "by-key"])
def test_a_valid_request_succeeds(service: Service, operation_id: str, certificate: bool) -> None:
    """Each operation of the file, for a device of its own (R-B1, R-B2, R-B4)."""
    assert operation_id not in NOT_EMULATED
    device = Device(service, by_certificate=certificate)
    assert VALID[operation_id](device).status_code in (200, 202)


@GENERATED
@SCHEMA.parametrize()
def test_generated(case: Any, by_key: Device) -> None:
    """Whatever the file allows, and whatever it forbids."""
    by_key.api.judge(case)


@GENERATED
@SCHEMA.parametrize()
def test_generated_for_a_device_with_a_key(case: Any, by_key: Device) -> None:
    """The same for a device that may ask, so that it gets past the look-up."""
    by_key.aim(case)
    by_key.api.judge(case)


@GENERATED
@SCHEMA.parametrize()
def test_generated_for_a_device_with_a_certificate(case: Any, by_certificate: Device) -> None:
    """The same, shown in TLS."""
    by_certificate.aim(case)
    by_certificate.api.judge(case)


@pytest.mark.parametrize("operation_id", OPERATIONS)
@pytest.mark.parametrize(("body", "content_type"), **hostile.ids(hostile.BODIES))
def test_a_body_that_is_none(
    by_key: Device, operation_id: str, body: bytes, content_type: str
) -> None:
    """R-F8, W5: refused, but for none at all and an object that says nothing."""
    response = hostile.send(
        by_key.api, operation_id, by_key.path(operation_id), body=body, content_type=content_type
    )
    says_nothing = body in (b"", b"{}")
    if hostile.takes_body(by_key.api, operation_id) and not says_nothing:
        assert 400 <= response.status_code < 500, response.text


@pytest.mark.parametrize("operation_id", OPERATIONS)
@pytest.mark.parametrize("token", **hostile.ids(hostile.TOKENS))
def test_a_token_that_opens_nothing(by_key: Device, operation_id: str, token: str | None) -> None:
    """R-A5: nothing is done for who proves nothing."""
    headers = {} if token is None else {"Authorization": token}
    place = by_key.path(operation_id)
    response = hostile.send(by_key.api, operation_id, place, body=b"{}", headers=headers)
    assert response.status_code == 401, response.text
