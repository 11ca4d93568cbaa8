"""What is there to ask the management API of DPS about, and a valid request for each operation."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import specification
from contract import Api, id_of
from emulator import Emulator
from pki import Certificate, Pki

FILE, VERSION = "mgmt-dps-2022-02-05", "2022-02-05"
# The file forgot the errors of one operation (`IotDpsResource_Update`).
ERRORS = {"description": "an error", "schema": {"$ref": "#/definitions/ErrorDetails"}}
SCHEMA = specification.load(FILE, VERSION, errors=ERRORS)
SERVICE = "linarite-dps"
PLACE = {
    "subscriptionId": "00000000-0000-0000-0000-000000000000",
    "resourceGroupName": "any",
}
OWNER = "provisioningserviceowner"
# Operations whose certificate changes, or is read with an etag.
CONDITIONAL = ("DpsCertificate_Delete", "DpsCertificate_GenerateVerificationCode",
               "DpsCertificate_VerifyCertificate")  # fmt: skip

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Uploaded:
    """A root that the service holds, and what the answer to its upload said."""

    root: Certificate
    answer: Any

    @property
    def name(self) -> str:
        return self.answer.json()["name"]

    @property
    def if_match(self) -> dict[str, str]:
        return {"If-Match": self.answer.json()["etag"]}


class Management:
    """The API, and a certificate of the service."""

    def __init__(self, emulator: Emulator, pki: Pki) -> None:
        self.pki = pki
        self.hub_host = emulator.hub_host
        self.api = Api(
            schema=SCHEMA,
            base_url=f"https://{emulator.dps_host}:{emulator.https_port}",
            ca_file=str(emulator.ca_file),
            authorization=lambda: {"Authorization": "Bearer any"},
            error_header="x-ms-error-code",
            error_of=lambda body: (body["code"], body["message"]),
        )
        self._certificate = self.upload().name

    def upload(self) -> Uploaded:
        """Uploads a root of its own, not verified."""
        name = f"root-{next(_numbers)}"
        root = self.pki.root(name)
        answer = self.send(
            "DpsCertificate_CreateOrUpdate",
            {"certificateName": name},
            body={"properties": {"certificate": root.pem}},
        )
        assert answer.status_code == 200, answer.text
        return Uploaded(root, answer)

    def send(
        self, operation_id: str, place: dict[str, str] | None = None, **request: Any
    ) -> Any:
        """A request about the service, or what of it `place` names."""
        return self.api.send(operation_id, {**self.place(operation_id), **(place or {})}, **request)

    def place(self, operation_id: str) -> dict[str, str]:
        """The path of what exists."""
        known = {
            **PLACE,
            "provisioningServiceName": SERVICE,
            "resourceName": SERVICE,
            "certificateName": getattr(self, "_certificate", ""),
            "keyName": OWNER,
            "operationId": "none",
            "groupId": "iotDps",
            "privateEndpointConnectionName": "none",
        }
        operation = self.api.schema.find_operation_by_id(operation_id)
        return {parameter.name: known[parameter.name] for parameter in operation.path_parameters}

    def aim(self, case: Any) -> None:
        """Turns a generated case to what exists."""
        operation_id = id_of(case.operation)
        case.path_parameters.update(self.place(operation_id))
        if operation_id in CONDITIONAL:
            case.headers.setdefault("If-Match", "*")
        if operation_id == "IotDpsResource_CreateOrUpdate" and isinstance(case.body, dict):
            # What cannot be changed is left as it is, so that the rest is looked at.
            shown = self.send("IotDpsResource_Get").json()
            case.body.update({name: shown[name] for name in ("location", "sku")})


def _operations(management: Management) -> Any:
    answer = management.send("Operations_List")
    names = [operation["name"] for operation in answer.json()["value"]]
    assert "Microsoft.Devices/provisioningServices/certificates/Write" in names
    return answer


def _get_certificate(management: Management) -> Any:
    uploaded = management.upload()
    answer = management.send("DpsCertificate_Get", {"certificateName": uploaded.name})
    assert answer.json() == uploaded.answer.json()
    assert answer.json()["properties"]["isVerified"] is False
    return answer


def _put_certificate(management: Management) -> Any:
    return management.upload().answer


def _delete_certificate(management: Management) -> Any:
    uploaded = management.upload()
    place = {"certificateName": uploaded.name}
    answer = management.send("DpsCertificate_Delete", place, headers=uploaded.if_match)
    assert management.send("DpsCertificate_Get", place).status_code == 404
    return answer


def _list_certificates(management: Management) -> Any:
    uploaded = management.upload()
    answer = management.send("DpsCertificate_List")
    assert uploaded.answer.json() in answer.json()["value"]
    return answer


def _generate_code(management: Management) -> Any:
    uploaded = management.upload()
    answer = management.send(
        "DpsCertificate_GenerateVerificationCode",
        {"certificateName": uploaded.name},
        headers=uploaded.if_match,
    )
    assert answer.json()["properties"]["verificationCode"]
    return answer


def _verify(management: Management) -> Any:
    uploaded = management.upload()
    place = {"certificateName": uploaded.name}
    code = management.send(
        "DpsCertificate_GenerateVerificationCode", place, headers=uploaded.if_match
    ).json()
    proof = management.pki.leaf(code["properties"]["verificationCode"], uploaded.root)
    answer = management.send(
        "DpsCertificate_VerifyCertificate",
        place,
        headers={"If-Match": code["etag"]},
        body={"certificate": proof.pem},
    )
    assert answer.json()["properties"]["isVerified"] is True
    return answer


def _get_instance(management: Management) -> Any:
    answer = management.send("IotDpsResource_Get")
    assert answer.json()["name"] == SERVICE
    return answer


def _put_instance(management: Management) -> Any:
    shown = management.send("IotDpsResource_Get").json()
    changed = {**shown, "tags": {"stage": "contract"}}
    changed["properties"]["allocationPolicy"] = "Static"
    answer = management.send("IotDpsResource_CreateOrUpdate", body=changed)
    assert answer.json()["tags"] == {"stage": "contract"}
    assert answer.json()["properties"]["allocationPolicy"] == "Static"
    return answer


def _patch_instance(management: Management) -> Any:
    answer = management.send("IotDpsResource_Update", body={"tags": {"stage": "patched"}})
    assert answer.json()["tags"] == {"stage": "patched"}
    return answer


def _list_instances(operation_id: str) -> Callable[[Management], Any]:
    def list_instances(management: Management) -> Any:
        answer = management.send(operation_id)
        assert [instance["name"] for instance in answer.json()["value"]] == [SERVICE]
        return answer

    return list_instances


def _operation_result(management: Management) -> Any:
    """Nothing goes on in the background, so there is none to be found."""
    answer = management.send("IotDpsResource_GetOperationResult", query={"asyncinfo": "true"})
    assert answer.status_code == 404
    return answer


def _skus(management: Management) -> Any:
    answer = management.send("IotDpsResource_listValidSkus")
    assert answer.json()["value"] == [{"name": "S1"}]
    return answer


def _check_name(management: Management) -> Any:
    operation_id = "IotDpsResource_CheckProvisioningServiceNameAvailability"
    taken = management.send(operation_id, body={"name": SERVICE})
    assert taken.json()["reason"] == "AlreadyExists"
    answer = management.send(operation_id, body={"name": "another-dps"})
    assert answer.json()["nameAvailable"] is True
    return answer


def _keys(management: Management) -> Any:
    answer = management.send("IotDpsResource_ListKeys")
    assert OWNER in [policy["keyName"] for policy in answer.json()["value"]]
    return answer


def _keys_of_one(management: Management) -> Any:
    answer = management.send("IotDpsResource_ListKeysForKeyName")
    assert answer.json()["keyName"] == OWNER
    return answer


VALID: dict[str, Callable[[Management], Any]] = {
    "Operations_List": _operations,
    "DpsCertificate_Get": _get_certificate,
    "DpsCertificate_CreateOrUpdate": _put_certificate,
    "DpsCertificate_Delete": _delete_certificate,
    "DpsCertificate_List": _list_certificates,
    "DpsCertificate_GenerateVerificationCode": _generate_code,
    "DpsCertificate_VerifyCertificate": _verify,
    "IotDpsResource_Get": _get_instance,
    "IotDpsResource_CreateOrUpdate": _put_instance,
    "IotDpsResource_Update": _patch_instance,
    "IotDpsResource_ListBySubscription": _list_instances("IotDpsResource_ListBySubscription"),
    "IotDpsResource_ListByResourceGroup": _list_instances("IotDpsResource_ListByResourceGroup"),
    "IotDpsResource_GetOperationResult": _operation_result,
    "IotDpsResource_listValidSkus": _skus,
    "IotDpsResource_CheckProvisioningServiceNameAvailability": _check_name,
    "IotDpsResource_ListKeys": _keys,
    "IotDpsResource_ListKeysForKeyName": _keys_of_one,
}
