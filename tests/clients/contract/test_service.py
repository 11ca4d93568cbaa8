"""The service API of DPS: enrollments, groups and registrations (R-F1…R-F9)."""

from __future__ import annotations

from typing import Any

import pytest

import hostile
import specification
from contract import GENERATED
from emulator import Emulator
from not_emulated import NOT_EMULATED
from pki import Pki
from service_valid import VALID
from service_world import ATTESTED, FILE, PLACED, SCHEMA, Service

OPERATIONS = specification.operation_ids(FILE)


@pytest.fixture(scope="module")
def service(emulator: Emulator, pki: Pki) -> Service:
    return Service(emulator, pki)


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_a_valid_request_succeeds(service: Service, operation_id: str) -> None:
    """Each operation of the file, with input that Azure takes (R-F1…R-F7)."""
    assert operation_id not in NOT_EMULATED
    assert VALID[operation_id](service).status_code in (200, 204)


@GENERATED
@SCHEMA.parametrize()
def test_generated(case: Any, service: Service) -> None:
    """Whatever the file allows, and whatever it forbids."""
    service.api.judge(case)


@GENERATED
@SCHEMA.include(operation_id_regex=PLACED).parametrize()
def test_generated_for_what_exists(case: Any, service: Service) -> None:
    """The same about entries that are there, so that it gets past the look-up."""
    service.aim(case)
    service.api.judge(case)


@GENERATED
@SCHEMA.include(operation_id=list(ATTESTED)).parametrize()
def test_generated_around_an_attestation(case: Any, service: Service) -> None:
    """The same with an attestation that holds, so that all other members are looked at."""
    service.aim(case)
    service.attest(case)
    service.api.judge(case, repaired=True)


@pytest.mark.parametrize("operation_id", OPERATIONS)
@pytest.mark.parametrize(("body", "content_type"), **hostile.ids(hostile.BODIES))
def test_a_body_that_is_none(
    service: Service, operation_id: str, body: bytes, content_type: str
) -> None:
    """R-F8: refused where a body is expected; nothing breaks where none is."""
    response = hostile.send(
        service.api, operation_id, service.place(operation_id), body=body, content_type=content_type
    )
    if hostile.takes_body(service.api, operation_id):
        assert 400 <= response.status_code < 500, response.text


@pytest.mark.parametrize("operation_id", OPERATIONS)
@pytest.mark.parametrize("token", **hostile.ids(hostile.TOKENS))
def test_a_token_that_opens_nothing(service: Service, operation_id: str, token: str | None) -> None:
    """R-F9: nothing is done for who has no token, whatever the operation."""
    headers = {} if token is None else {"Authorization": token}
    response = hostile.send(
        service.api, operation_id, service.place(operation_id), body=b"{}", headers=headers
    )
    assert response.status_code == 401, response.text
