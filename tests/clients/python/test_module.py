"""A module at a hub, through the published module client (wire 4.1, 4.2, R-G7, R-G8, R-G24)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from azure.iot.device import X509, IoTHubModuleClient, MethodRequest, MethodResponse
from azure.iot.device.exceptions import CredentialError
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

from device_side import eventually
from emulator import Emulator
from operator_side import Operator
from pki import Certificate, Pki


@contextlib.contextmanager
def _connected(client: IoTHubModuleClient) -> Iterator[IoTHubModuleClient]:
    try:
        client.connect()
        yield client
    finally:
        client.shutdown()


def _by_key(emulator: Emulator, device_id: str, module: Any) -> IoTHubModuleClient:
    key = module.authentication.symmetric_key.primary_key
    return IoTHubModuleClient.create_from_connection_string(
        f"HostName={emulator.hub_host};DeviceId={device_id};"
        f"ModuleId={module.module_id};SharedAccessKey={key}",
        server_verification_cert=emulator.ca_pem,
    )


def _by_certificate(
    emulator: Emulator, device_id: str, module_id: str, shown: Certificate
) -> IoTHubModuleClient:
    return IoTHubModuleClient.create_from_x509_certificate(
        x509=X509(cert_file=str(shown.certificate), key_file=str(shown.key)),
        hostname=emulator.hub_host,
        device_id=device_id,
        module_id=module_id,
        server_verification_cert=emulator.ca_pem,
    )


def test_a_module_lives_by_its_key(operator: Operator, emulator: Emulator, name: str) -> None:
    hub = operator.hub
    hub.create_device_with_sas(name, "", "", "enabled")
    module = hub.create_module_with_sas(name, "mod", "me", "", "")

    with _connected(_by_key(emulator, name, module)) as client:
        assert hub.get_module(name, "mod").connection_state == "Connected"
        assert hub.get_device(name).connection_state == "Disconnected"
        client.send_message("telemetry")
        client.send_message_to_output("to another module", "out")
        client.patch_twin_reported_properties({"fan": 2})
        assert client.get_twin()["reported"]["fan"] == 2
        assert hub.get_module_twin(name, "mod").properties.reported["fan"] == 2

        told: list[Any] = []
        client.on_twin_desired_properties_patch_received = told.append
        patch = Twin(properties=TwinProperties(desired={"speed": 3}))
        hub.update_module_twin(name, "mod", patch, "*")
        eventually("the module is told", lambda: told == [{"speed": 3, "$version": 2}])

        def answer(request: MethodRequest) -> None:
            body = {"got": request.payload}
            client.send_method_response(MethodResponse.create_from_method_request(request, 207, body))

        client.on_method_request_received = answer
        call = CloudToDeviceMethod(
            method_name="reboot",
            payload={"delay": 3},
            response_timeout_in_seconds=20,
            connect_timeout_in_seconds=5,
        )
        result = hub.invoke_device_module_method(name, "mod", call)
        assert (result.status, result.payload) == (207, {"got": {"delay": 3}})

        # R-E6: without its device there is no module.
        hub.delete_device(name)
        eventually("the hub cuts the module off", lambda: not client.connected)


def test_a_module_lives_by_its_certificate(
    operator: Operator, emulator: Emulator, pki: Pki, name: str
) -> None:
    hub = operator.hub
    hub.create_device_with_sas(name, "", "", "enabled")
    leaf, stranger = pki.self_signed_leaf("anything"), pki.self_signed_leaf("anything")
    thumbprint = pki.thumbprint(leaf)
    hub.create_module_with_x509(name, "mod", "me", thumbprint, thumbprint)
    with _connected(_by_certificate(emulator, name, "mod", leaf)) as client:
        client.send_message("hello")
        with pytest.raises(CredentialError):
            with _connected(_by_certificate(emulator, name, "mod", stranger)):
                pass
        assert client.connected
