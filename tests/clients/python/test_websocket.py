"""MQTT over WebSocket, on the port that firewalls leave open (W15, R-B10, R-G12)."""

from __future__ import annotations

import pytest
from azure.iot.device import MethodRequest, MethodResponse
from azure.iot.device.exceptions import CredentialError

from device_side import DeviceSide, eventually
from emulator import Emulator
from operator_side import Operator
from pki import Pki


@pytest.fixture(autouse=True)
def port_443(emulator: Emulator) -> None:
    if emulator.https_port != "443":
        pytest.skip(f"this client dials 443 only, HTTPS is served on {emulator.https_port}")


def test_a_device_lives_over_websocket(
    operator: Operator, devices: DeviceSide, pki: Pki, name: str
) -> None:
    leaf, stranger = pki.self_signed_leaf(name), pki.self_signed_leaf(name)
    operator.save_individual(name, leaf)

    state = devices.register(name, leaf, websockets=True).registration_state
    assert state.device_id == name

    with devices.client(name, leaf, state.assigned_hub, websockets=True) as client:
        client.connect()
        client.send_message("hello")
        # Too long for one record of TLS, and for one short frame.
        client.send_message("x" * 100_000)
        client.patch_twin_reported_properties({"over": "websocket"})
        assert operator.reported(name)["over"] == "websocket"
        assert client.get_twin()["reported"]["over"] == "websocket"

        def answer(request: MethodRequest) -> None:
            body = {"got": request.payload}
            client.send_method_response(MethodResponse.create_from_method_request(request, 207, body))

        client.on_method_request_received = answer
        result = operator.call(name, "reboot", {"delay": 3})
        assert (result.status, result.payload) == (207, {"got": {"delay": 3}})

        # The certificate counts as on port 8883.
        with devices.client(name, stranger, websockets=True) as refused:
            with pytest.raises(CredentialError):
                refused.connect()
        assert client.connected


def test_sessions_of_both_kinds_take_each_other_over(
    operator: Operator, devices: DeviceSide, pki: Pki, name: str
) -> None:
    leaf = pki.self_signed_leaf(name)
    operator.save_individual(name, leaf)
    devices.register(name, leaf)

    # One that came back would in its turn take over (R-G13).
    with devices.client(name, leaf, comes_back=False) as plain:
        plain.connect()
        with devices.client(name, leaf, websockets=True) as socket:
            socket.connect()
            eventually("the plain session ends", lambda: not plain.connected)
            socket.send_message("taken over")
