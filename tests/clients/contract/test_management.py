"""The management API of DPS: the instance, its keys and its CA certificates (R-D1…R-D9, R-F9)."""

from __future__ import annotations

from typing import Any

import pytest

import hostile
import specification
from contract import GENERATED
from emulator import Emulator
from management_world import FILE, SCHEMA, VALID, Management
from not_emulated import NOT_EMULATED
from pki import Pki

OPERATIONS = specification.operation_ids(FILE)
EMULATED = [operation_id for operation_id in OPERATIONS if operation_id not in NOT_EMULATED]
# What an empty object says nothing wrong to.
SAYS_NOTHING = ("IotDpsResource_Update",)


@pytest.fixture(scope="module")
def management(emulator: Emulator, pki: Pki) -> Management:
    return Management(emulator, pki)


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_a_valid_request_succeeds(management: Management, operation_id: str) -> None:
    """Each operation of the file: done, or said not to be emulated (R-D1…R-D3, R-F9)."""
    if operation_id in NOT_EMULATED:
        response = hostile.send(
            management.api, operation_id, management.place(operation_id), body=b"{}"
        )
        assert response.status_code == 501, response.text
        return
    expected = (404,) if operation_id.endswith("_GetOperationResult") else (200, 204)
    assert VALID[operation_id](management).status_code in expected


@GENERATED
@SCHEMA.parametrize()
def test_generated(case: Any, management: Management) -> None:
    """Whatever the file allows, and whatever it forbids."""
    management.api.judge(case)


@GENERATED
@SCHEMA.parametrize()
def test_generated_for_what_exists(case: Any, management: Management) -> None:
    """The same about the service and a certificate that are there, so that it gets past the look-up."""
    management.aim(case)
    management.api.judge(case)


@pytest.mark.parametrize("operation_id", EMULATED)
@pytest.mark.parametrize(("body", "content_type"), **hostile.ids(hostile.BODIES))
def test_a_body_that_is_none(
    management: Management, operation_id: str, body: bytes, content_type: str
) -> None:
    """R-F8: refused where a body is expected; nothing breaks where none is."""
    response = hostile.send(
        management.api,
        operation_id,
        management.place(operation_id),
        body=body,
        content_type=content_type,
    )
    says_nothing = operation_id in SAYS_NOTHING and body == b"{}"
    if hostile.takes_body(management.api, operation_id) and not says_nothing:
        assert 400 <= response.status_code < 500, response.text


@pytest.mark.parametrize("operation_id", EMULATED)
@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNzd29yZA=="])
def test_a_token_that_opens_nothing(
    management: Management, operation_id: str, token: str | None
) -> None:
    """R-F9: nothing is done for who brings no bearer token, whatever the operation."""
    headers = {} if token is None else {"Authorization": token}
    response = hostile.send(
        management.api, operation_id, management.place(operation_id), body=b"{}", headers=headers
    )
    assert response.status_code == 401, response.text
