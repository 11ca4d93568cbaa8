"""The service API of a hub: registry, twins, methods, jobs, queries (R-F10, R-F11, R-G1, R-G20…R-G36)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import hostile
import specification
from contract import GENERATED
from emulator import Emulator
from hub_valid import VALID
from hub_world import FILE, SCHEMA, Hub
from not_emulated import NOT_EMULATED

OPERATIONS = specification.operation_ids(FILE)
EMULATED = [operation_id for operation_id in OPERATIONS if operation_id not in NOT_EMULATED]
# Bodies that say nothing wrong: a patch that changes nothing, a bulk request of nothing.
SAYS_NOTHING = {
    "BulkRegistry_UpdateRegistry": (b"[]",),
    "Devices_ReplaceTwin": (b"{}",),
    "Devices_UpdateTwin": (b"{}",),
    "Modules_ReplaceTwin": (b"{}",),
    "Modules_UpdateTwin": (b"{}",),
}


@pytest.fixture(scope="module")
def hub(emulator: Emulator) -> Iterator[Hub]:
    hub = Hub(emulator)
    yield hub
    hub.close()


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_a_valid_request_succeeds(hub: Hub, operation_id: str) -> None:
    """Each operation of the file: done, or said not to be emulated (R-F11)."""
    if operation_id in NOT_EMULATED:
        response = hostile.send(hub.api, operation_id, hub.place(operation_id), body=b"{}")
        assert response.status_code == 501, response.text
        return
    assert VALID[operation_id](hub).status_code in (200, 201, 204)


@GENERATED
@SCHEMA.parametrize()
def test_generated(case: Any, hub: Hub) -> None:
    """Whatever the file allows, and whatever it forbids."""
    hub.api.judge(case)


@GENERATED
@SCHEMA.include(operation_id=EMULATED).parametrize()
def test_generated_for_what_exists(case: Any, hub: Hub) -> None:
    """The same about a device, a module and a job that are there, so that it gets past the look-up."""
    hub.aim(case)
    hub.api.judge(case, repaired=True)


@pytest.mark.parametrize("operation_id", EMULATED)
@pytest.mark.parametrize(("body", "content_type"), **hostile.ids(hostile.BODIES))
def test_a_body_that_is_none(
    hub: Hub, operation_id: str, body: bytes, content_type: str
) -> None:
    """R-F10: refused where a body is expected; nothing breaks where none is."""
    place = hub.place(operation_id)
    response = hostile.send(hub.api, operation_id, place, body=body, content_type=content_type)
    says_nothing = body in SAYS_NOTHING.get(operation_id, ())
    if hostile.takes_body(hub.api, operation_id) and not says_nothing:
        assert 400 <= response.status_code < 500, response.text


@pytest.mark.parametrize("operation_id", EMULATED)
@pytest.mark.parametrize("token", **hostile.ids(hostile.TOKENS))
def test_a_token_that_opens_nothing(hub: Hub, operation_id: str, token: str | None) -> None:
    """R-F10: nothing is done for who has no token, whatever the operation."""
    headers = {} if token is None else {"Authorization": token}
    place = hub.place(operation_id)
    response = hostile.send(hub.api, operation_id, place, body=b"{}", headers=headers)
    assert response.status_code == 401, response.text
