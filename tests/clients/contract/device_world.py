"""Devices that may ask the device API of DPS, and a valid request for each operation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sas
import specification
from contract import Api, id_of
from service_world import KEY, WAIT_SECONDS, Service, name_of

FILE, VERSION = "dps-device-2021-10-01", "2021-10-01"
SCHEMA = specification.load(FILE, VERSION)
REGISTER = "RuntimeRegistration_RegisterDevice"
OPERATION = "RuntimeRegistration_OperationStatusLookup"
LOOKUP = "RuntimeRegistration_DeviceRegistrationStatusLookup"


class Device:
    """A device with an enrollment: by certificate, or by the key of its own entry."""

    def __init__(self, service: Service, *, by_certificate: bool) -> None:
        scope = service.emulator.id_scope
        api = Api(
            schema=SCHEMA,
            base_url=service.api.base_url,
            ca_file=service.api.ca_file,
            authorization=dict,
            error_header=service.api.error_header,
            error_of=service.api.error_of,
        )
        if by_certificate:
            self.id, leaf = service.enroll_leaf()
            self.api = replace(api, client_certificate=(str(leaf.certificate), str(leaf.key)))
        else:
            self.id = service.individual()["registrationId"]
            signed = sas.token(f"{scope}/registrations/{self.id}", KEY, "registration")
            self.api = replace(api, authorization=lambda: {"Authorization": signed})
        self.place = {"idScope": scope, "registrationId": self.id}
        self._operation_id = self.assigned().json()["operationId"]

    def path(self, operation_id: str) -> dict[str, str]:
        """The path of what exists."""
        known = {"operationId": self._operation_id} if operation_id == OPERATION else {}
        return {**self.place, **known}

    def register(self) -> Any:
        answer = self.api.send(REGISTER, self.place, body={"registrationId": self.id})
        assert answer.status_code == 202
        assert int(answer.headers["retry-after"][0]) >= 0
        status = answer.json()
        assert status["status"] == "assigning"
        assert answer.headers["location"][0].endswith(
            f"/operations/{status['operationId']}?api-version={VERSION}"
        )
        return answer

    def assigned(self) -> Any:
        """The answer to the last of the polls."""
        operation_id = self.register().json()["operationId"]
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            answer = self.api.send(OPERATION, {**self.place, "operationId": operation_id})
            if answer.status_code == 200:
                return answer
            assert answer.status_code == 202
            assert time.monotonic() < deadline, f"{self.id} is not assigned"
            time.sleep(0.05)

    def aim(self, case: Any) -> None:
        """Turns a generated case to this device."""
        case.path_parameters.update(self.path(id_of(case.operation)))
        if isinstance(case.body, dict) and "registrationId" in case.body:
            case.body["registrationId"] = self.id


def _poll(device: Device) -> Any:
    answer = device.assigned()
    status = answer.json()
    assert status["status"] == status["registrationState"]["status"] == "assigned"
    _assert_assigned(device, status["registrationState"])
    return answer


def _lookup(device: Device) -> Any:
    device.assigned()
    body = {"registrationId": device.id}
    answer = device.api.send(LOOKUP, device.place, body=body)
    _assert_assigned(device, answer.json())
    return answer


def _assert_assigned(device: Device, state: dict[str, Any]) -> None:
    assert (state["registrationId"], state["deviceId"]) == (device.id, device.id)
    assert state["assignedHub"] and state["etag"]
    # It has registered before (R-B5).
    assert state["substatus"] == "reprovisionedToInitialAssignment"
    mechanism = "x509" if device.api.client_certificate else "symmetricKey"
    assert mechanism in state


VALID: dict[str, Callable[[Device], Any]] = {
    REGISTER: Device.register,
    OPERATION: _poll,
    LOOKUP: _lookup,
}
