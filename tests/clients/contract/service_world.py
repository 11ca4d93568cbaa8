"""What is there to ask the service API of DPS about, and a valid request for each operation."""

from __future__ import annotations

import base64
import itertools
import time
from typing import Any

import sas
import specification
from contract import Api, id_of
from emulator import Emulator
from pki import Certificate, Pki

FILE, VERSION = "dps-service-2021-10-01", "2021-10-01"
SCHEMA = specification.load(FILE, VERSION)
KEY = "bGluYXJpdGUtY29udHJhY3QtdGVzdHMtc3ltbWV0cmljLWtleQ=="
SYMMETRIC = {"type": "symmetricKey", "symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}}
WAIT_SECONDS = 20

# Operations on one entry, group, or device.
PLACED = r"(Get|Delete|CreateOrUpdate|GetAttestationMechanism|RegistrationState_Query)$"
# Operations whose body holds an attestation.
ATTESTED = ("IndividualEnrollment_CreateOrUpdate", "EnrollmentGroup_CreateOrUpdate")

_numbers = itertools.count(1)


def name_of(kind: str) -> str:
    """A name no other entry has."""
    return f"{kind}-{next(_numbers)}"


class Service:
    """The API, an entry, a group, and a device that has registered through the group."""

    def __init__(self, emulator: Emulator, pki: Pki) -> None:
        self.emulator = emulator
        self.pki = pki
        self.api = Api(
            schema=SCHEMA,
            base_url=f"https://{emulator.dps_host}:{emulator.https_port}",
            ca_file=str(emulator.ca_file),
            authorization=self._authorization,
            error_header="x-ms-error-code",
            error_of=lambda body: (str(body["errorCode"]), body["message"]),
        )
        self._entry = self.individual()["registrationId"]
        self._group, self._member = self.registered()

    def individual(self, **members: Any) -> dict[str, Any]:
        """Creates an entry with a name of its own."""
        return self._create("IndividualEnrollment_CreateOrUpdate", "registrationId", members)

    def group(self, **members: Any) -> dict[str, Any]:
        """Creates a group with a name of its own."""
        return self._create("EnrollmentGroup_CreateOrUpdate", "enrollmentGroupId", members)

    def leaf(self) -> tuple[str, Certificate]:
        """A self-signed certificate, and the name it is for."""
        name = name_of("leaf")
        return name, self.pki.self_signed_leaf(name)

    def enroll_leaf(self) -> tuple[str, Certificate]:
        """Such a certificate with an entry."""
        name, certificate = self.leaf()
        slots = {"primary": {"certificate": certificate.pem}}
        attestation = {"type": "x509", "x509": {"clientCertificates": slots}}
        body = {"registrationId": name, "attestation": attestation}
        answer = self.api.send("IndividualEnrollment_CreateOrUpdate", {"id": name}, body=body)
        assert answer.status_code == 200, answer.text
        return name, certificate

    def registered(self) -> tuple[str, str]:
        """A device that has registered through a group: the group's name and its own."""
        # A device belongs to the first group whose key is right, so this key is nobody else's.
        key = base64.b64encode(name_of("key").encode() * 8).decode()
        attestation = {"type": "symmetricKey", "symmetricKey": {"primaryKey": key}}
        group = self.group(attestation=attestation)["enrollmentGroupId"]
        device = name_of("member")
        resource = f"{self.emulator.id_scope}/registrations/{device}"
        signed = sas.token(resource, sas.derived_key(key, device), "registration")
        answer = self.api.session.put(
            f"{self.api.base_url}/{resource}/register",
            params={"api-version": VERSION},
            headers={"Authorization": signed},
            json={"registrationId": device},
            verify=self.api.ca_file,
        )
        assert answer.status_code == 202, answer.text
        deadline = time.monotonic() + WAIT_SECONDS
        while self.api.send("DeviceRegistrationState_Get", {"id": device}).status_code != 200:
            assert time.monotonic() < deadline, f"{device} is not registered"
            time.sleep(0.05)
        return group, device

    def place(self, operation_id: str) -> dict[str, str]:
        """The path of something that exists."""
        match operation_id:
            case "DeviceRegistrationState_Query":
                return {"id": self._group}
            case "DeviceRegistrationState_Get" | "DeviceRegistrationState_Delete":
                return {"id": self._member}
            case _ if operation_id.endswith(("_Query", "_RunBulkOperation")):
                return {}
            case _ if operation_id.startswith("EnrollmentGroup_"):
                return {"id": self._group}
            case _:
                return {"id": self._entry}

    def aim(self, case: Any) -> None:
        """Turns a generated case to something that exists."""
        operation_id = id_of(case.operation)
        place = self.place(operation_id)
        case.path_parameters.update(place)
        if not operation_id.endswith("_CreateOrUpdate"):
            return
        case.headers.setdefault("If-Match", "*")
        if isinstance(case.body, dict):
            member = "enrollmentGroupId" if "Group" in operation_id else "registrationId"
            case.body[member] = place["id"]

    @staticmethod
    def attest(case: Any) -> None:
        """Gives a generated entry an attestation that holds."""
        if isinstance(case.body, dict):
            case.body["attestation"] = SYMMETRIC

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": sas.from_connection_string(self.emulator.dps_connection_string)}

    def _create(self, operation_id: str, member: str, members: dict[str, Any]) -> dict[str, Any]:
        name = name_of("entry")
        body = {member: name, "attestation": SYMMETRIC, **members}
        answer = self.api.send(operation_id, {"id": name}, body=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

