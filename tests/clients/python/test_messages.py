"""Cloud-to-device messages, as the published device client gets them (R-G27 to R-G31, W12)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from azure.iot.device import IoTHubDeviceClient, Message

from device_side import eventually
from emulator import Emulator
from messages import Messages
from operator_side import Operator


@pytest.fixture(scope="session")
def messages(emulator: Emulator) -> Messages:
    return Messages(emulator)


@contextlib.contextmanager
def _device(
    operator: Operator, emulator: Emulator, name: str, *, websockets: bool = False
) -> Iterator[IoTHubDeviceClient]:
    """A device with a key, not connected yet, that comes back by itself within a second."""
    key = operator.hub.create_device_with_sas(name, "", "", "enabled")
    key = key.authentication.symmetric_key.primary_key
    client = IoTHubDeviceClient.create_from_connection_string(
        f"HostName={emulator.hub_host};DeviceId={name};SharedAccessKey={key}",
        server_verification_cert=emulator.ca_pem,
        websockets=websockets,
        connection_retry_interval=1,
    )
    try:
        yield client
    finally:
        client.shutdown()


def _waiting(operator: Operator, name: str) -> int:
    return operator.hub.get_device(name).cloud_to_device_message_count


def _receive_with(client: IoTHubDeviceClient) -> list[Message]:
    received: list[Message] = []
    client.on_message_received = received.append
    return received


def _fates(messages: Messages, name: str, told: list[dict[str, Any]]) -> list[tuple[str, str]]:
    told += messages.feedback()
    own = (record for record in told if record["deviceId"] == name)
    return [(record["originalMessageId"], record["statusCode"]) for record in own]


@pytest.mark.parametrize("websockets", [False, True], ids=["tcp", "websocket"])
def test_a_message_arrives_and_is_settled(
    operator: Operator, emulator: Emulator, messages: Messages, name: str, websockets: bool
) -> None:
    if websockets and emulator.https_port != "443":
        pytest.skip(f"this client dials 443 only, HTTPS is served on {emulator.https_port}")
    with _device(operator, emulator, name, websockets=websockets) as client:
        client.connect()
        received = _receive_with(client)
        messages.send(
            name,
            '{"on": true}',
            iothub_messageid=f"{name}-m",
            iothub_correlationid="c/1",
            iothub_userid="us er",
            iothub_expiry="2099-01-01T00:00:00Z",
            iothub_contenttype="application/json",
            iothub_contentencoding="utf-8",
            iothub_ack="full",
            iothub_app_colour="green & blue",
        )
        eventually("the message", lambda: len(received) == 1)
        message = received[0]
        assert message.data == b'{"on": true}'
        assert message.message_id == f"{name}-m"
        assert message.correlation_id == "c/1"
        assert message.user_id == "us er"
        assert message.expiry_time_utc == "2099-01-01T00:00:00Z"
        assert message.content_type == "application/json"
        assert message.content_encoding == "utf-8"
        assert message.ack == "full"
        assert message.custom_properties["colour"] == "green & blue"
        # The client acknowledges what it hands on, and that completes it.
        eventually("the queue is empty", lambda: _waiting(operator, name) == 0)
        told: list[dict[str, Any]] = []
        expected = [(f"{name}-m", "Success")]
        eventually("the feedback", lambda: _fates(messages, name, told) == expected)


def test_messages_wait_for_their_device(
    operator: Operator, emulator: Emulator, messages: Messages, name: str
) -> None:
    # R-G17: this client escapes its id in filters, and drops topics that are spelled otherwise.
    name = f"{name}$1"
    with _device(operator, emulator, name) as client:
        for number in range(3):
            messages.send(name, str(number))
        assert _waiting(operator, name) == 3
        client.connect()
        received = _receive_with(client)
        eventually("all messages", lambda: len(received) == 3)
        assert [message.data for message in received] == [b"0", b"1", b"2"]

        client.disconnect()
        messages.send(name, "purged", iothub_messageid=f"{name}-p", iothub_ack="negative")
        answer = messages.purge(name)
        assert (answer["totalMessagesPurged"], answer["deviceId"]) == (1, name)
        told: list[dict[str, Any]] = []
        expected = [(f"{name}-p", "Purged")]
        eventually("the feedback", lambda: _fates(messages, name, told) == expected)


def test_a_drop_loses_no_subscription_and_no_message(
    operator: Operator, emulator: Emulator, messages: Messages, name: str
) -> None:
    with _device(operator, emulator, name) as client:
        client.connect()
        received = _receive_with(client)
        messages.send(name, "before")
        eventually("the first message", lambda: len(received) == 1)

        # R-E6: that ends the session, and what comes meanwhile waits.
        device = operator.hub.get_device(name)
        keys = device.authentication.symmetric_key
        for status in ("disabled", "enabled"):
            operator.hub.update_device_with_sas(
                name, "*", keys.primary_key, keys.secondary_key, status
            )
            if status == "disabled":
                eventually("the drop", lambda: not client.connected)
        for number in range(3):
            messages.send(name, f"after {number}")

        # W12: this client never subscribes again by itself. A refused reconnect is final for it,
        # until it is asked for something.
        client.connect()
        eventually("what was sent meanwhile", lambda: len(received) == 4)
        assert [message.data.decode() for message in received] == [
            "before", "after 0", "after 1", "after 2",
        ]
        messages.send(name, "and on")
        eventually("what is sent now", lambda: len(received) == 5)
        eventually("the queue is empty", lambda: _waiting(operator, name) == 0)


def test_a_client_that_is_dropped_comes_back_by_itself(
    operator: Operator, emulator: Emulator, messages: Messages, name: str
) -> None:
    with _device(operator, emulator, name) as client:
        client.connect()
        received = _receive_with(client)
        messages.send(name, "before")
        eventually("the first message", lambda: len(received) == 1)

        # R-G13: another connection of the device drops this one, which takes over in its turn.
        key = operator.hub.get_device(name).authentication.symmetric_key.primary_key
        other = IoTHubDeviceClient.create_from_connection_string(
            f"HostName={emulator.hub_host};DeviceId={name};SharedAccessKey={key}",
            server_verification_cert=emulator.ca_pem,
            connection_retry=False,
        )
        try:
            other.connect()
            eventually("the other is dropped", lambda: not other.connected)
        finally:
            other.shutdown()
        eventually("it is back", lambda: client.connected)
        messages.send(name, "after")
        eventually("the second message", lambda: len(received) == 2)
        assert received[1].data == b"after"
