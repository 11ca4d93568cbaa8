"""What is there to ask the service API of a hub about."""

from __future__ import annotations

import itertools
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import paho.mqtt.client as mqtt

import sas
import specification
from contract import Api, id_of
from emulator import Emulator

FILE, VERSION = "iothub-service-2021-04-12", "2021-04-12"
# The file has no errors at all; these are what the clients read.
ERRORS = {
    "description": "an error",
    "schema": {
        "type": "object",
        "properties": {"Message": {"type": "string"}, "ExceptionMessage": {"type": "string"}},
        "required": ["Message", "ExceptionMessage"],
    },
}


def _amend(file: dict[str, Any]) -> None:
    """What the clients read and the file has otherwise: error numbers, and jobs as a list."""
    definitions = file["definitions"]
    error = definitions["DeviceRegistryOperationError"]["properties"]
    error["errorCode"] = {"type": "integer", "format": "int32"}
    # A bulk request fails as a whole, or item by item.
    merged = {**definitions["BulkRegistryOperationResult"]["properties"], **ERRORS["schema"]["properties"]}
    definitions["BulkRegistryFailure"] = {"type": "object", "properties": merged}
    failure = {"$ref": "#/definitions/BulkRegistryFailure"}
    file["paths"]["/devices"]["post"]["responses"]["400"]["schema"] = failure
    jobs = {"type": "array", "items": {"$ref": "#/definitions/JobResponse"}}
    file["paths"]["/jobs/v2/query"]["get"]["responses"]["200"]["schema"] = jobs
    # Feedback has a type of its own, over AMQP and in the documentation.
    feedback = file["paths"]["/messages/serviceBound/feedback"]["get"]
    feedback["produces"] += ["application/vnd.microsoft.iothub.feedback.json"]
    # A query gives what it selects.
    selected = {"type": "array", "items": {}}
    file["paths"]["/devices/query"]["post"]["responses"]["200"]["schema"] = selected


SCHEMA = specification.load(FILE, VERSION, errors=ERRORS, amend=_amend)
KEY = "bGluYXJpdGUtY29udHJhY3QtdGVzdHMtc3ltbWV0cmljLWtleQ=="
SYMMETRIC = {"type": "sas", "symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}}
WAIT_SECONDS = 20

# Operations that change what an etag is of.
CONDITIONAL = (
    "Devices_CreateOrUpdateIdentity", "Devices_DeleteIdentity", "Devices_ReplaceTwin",
    "Devices_UpdateTwin", "Modules_CreateOrUpdateIdentity", "Modules_DeleteIdentity",
    "Modules_ReplaceTwin", "Modules_UpdateTwin",
)  # fmt: skip

_numbers = itertools.count(1)


def name_of(kind: str) -> str:
    """A name nobody else has."""
    return f"{kind}-{next(_numbers)}"


def tomorrow() -> str:
    """A time at which no test runs any more, and a job may still begin."""
    return (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def message_of(body: Any) -> tuple[None, str]:
    """The message of an error; a bulk request has one for each item."""
    if "errors" in body:
        return None, " ".join(error["errorStatus"] or error["errorCode"] for error in body["errors"])
    return None, body["Message"]


class Answerer:
    """A device or module that is connected and answers every direct method with what it was told."""

    def __init__(self, emulator: Emulator, identity: str) -> None:
        host = emulator.hub_host
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=identity,
            protocol=mqtt.MQTTv311,
        )
        resource = f"{host}/devices/{identity.replace('/', '/modules/')}"
        client.username_pw_set(
            f"{host}/{identity}/?api-version={VERSION}", sas.token(resource, KEY)
        )
        client.tls_set_context(ssl.create_default_context(cafile=str(emulator.ca_file)))
        client.on_message = self._answer
        client.on_connect = lambda *_: client.subscribe("$iothub/methods/POST/#")
        address, port = emulator.mqtt.rsplit(":", 1)
        client.connect(host, int(port))
        client.loop_start()
        self._client = client

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @staticmethod
    def _answer(client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        request_id = message.topic.rsplit("$rid=", 1)[1]
        client.publish(f"$iothub/methods/res/200/?$rid={request_id}", message.payload or b"null")


class Hub:
    """The API, a device and a module that answer, and a job."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.api = Api(
            schema=SCHEMA,
            base_url=f"https://{emulator.hub_host}:{emulator.https_port}",
            ca_file=str(emulator.ca_file),
            authorization=self._authorization,
            error_header="iothub-errorcode",
            error_of=message_of,
        )
        self._device = self.device()["deviceId"]
        self._module = self.module(self._device)["moduleId"]
        self._job = self.job()["jobId"]
        self._answerers = [
            Answerer(emulator, self._device),
            Answerer(emulator, f"{self._device}/{self._module}"),
        ]

    def close(self) -> None:
        for answerer in self._answerers:
            answerer.close()

    def device(self, **members: Any) -> dict[str, Any]:
        """Creates a device with a name of its own."""
        name = name_of("device")
        body = {"deviceId": name, "authentication": SYMMETRIC, **members}
        answer = self.api.send("Devices_CreateOrUpdateIdentity", {"id": name}, body=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def module(self, device: str | None = None, **members: Any) -> dict[str, Any]:
        """Creates a module with a name of its own, on a device of its own if none is named."""
        device = device or self.device()["deviceId"]
        name = name_of("module")
        body = {"deviceId": device, "moduleId": name, "authentication": SYMMETRIC, **members}
        place = {"id": device, "mid": name}
        answer = self.api.send("Modules_CreateOrUpdateIdentity", place, body=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def job(self, **members: Any) -> dict[str, Any]:
        """Creates a job that begins long after the test, and is not in the way of others."""
        name = name_of("job")
        body = {
            "jobId": name,
            "type": "scheduleUpdateTwin",
            "updateTwin": {"etag": "*", "tags": {"site": "north"}},
            "queryCondition": "deviceId = 'nobody'",
            "startTime": tomorrow(),
            "maxExecutionTimeInSeconds": 60,
            **members,
        }
        answer = self.api.send("Jobs_CreateScheduledJob", {"id": name}, body=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def message(self, device: str) -> None:
        """Sends the device a message whose end is to be told."""
        answer = self.api.session.post(
            f"{self.api.base_url}/devices/{device}/messages/devicebound",
            params={"api-version": VERSION},
            headers={**self._authorization(), "iothub-ack": "full"},
            data=b"contract",
            verify=self.api.ca_file,
            timeout=WAIT_SECONDS,
        )
        assert answer.status_code == 204, answer.text

    def place(self, operation_id: str) -> dict[str, str]:
        """The path of what exists."""
        known = {
            "id": self._job if operation_id.startswith("Jobs_") else self._device,
            "mid": self._module,
            "deviceId": self._device,
            "moduleId": self._module,
            "lockToken": "none",
            "commandName": "none",
            "componentPath": "none",
        }
        operation = self.api.schema.find_operation_by_id(operation_id)
        return {parameter.name: known[parameter.name] for parameter in operation.path_parameters}

    def aim(self, case: Any) -> None:
        """Turns a generated case to what exists."""
        operation_id = id_of(case.operation)
        place = self.place(operation_id)
        if operation_id.endswith("_DeleteIdentity"):
            # Others need the device that is there.
            last = self.module() if "mid" in place else self.device()
            place = {"id": last["deviceId"], "mid": last.get("moduleId", "")}
        case.path_parameters.update(place)
        if operation_id in CONDITIONAL:
            case.headers.setdefault("If-Match", "*")
        if isinstance(case.body, dict) and operation_id.endswith("_CreateOrUpdateIdentity"):
            # As it was, so that the device stays connected.
            case.body |= {"deviceId": place["id"], "authentication": SYMMETRIC, "status": "enabled"}
            if "mid" in place:
                case.body["moduleId"] = place["mid"]

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": sas.from_connection_string(self.emulator.hub_connection_string)}
