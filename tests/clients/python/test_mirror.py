"""Telemetry of the device client, watched by strangers: an MQTT client and an HTTP client."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import urllib.request

import pytest
from azure.iot.device import Message

from device_side import WAIT_SECONDS, DeviceSide
from emulator import Emulator
from operator_side import Operator
from pki import Pki

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto_sub") is None, reason="mosquitto_sub is not installed"
)


def _message() -> Message:
    message = Message(json.dumps({"temperature": 21.5}), message_id="m-1")
    message.content_type = "application/json"
    message.content_encoding = "utf-8"
    message.custom_properties["level"] = "3"
    return message


def _as_sent(told: dict, device_id: str) -> None:
    assert told["deviceId"] == device_id
    assert told["bodyEncoding"] == "json"
    assert told["body"] == {"temperature": 21.5}
    assert told["applicationProperties"] == {"level": "3"}
    assert told["systemProperties"]["message-id"] == "m-1"
    assert told["systemProperties"]["iothub-connection-device-id"] == device_id


@needs_mosquitto
def test_mosquitto_sub_sees_telemetry(
    emulator: Emulator, operator: Operator, devices: DeviceSide, pki: Pki, name: str
) -> None:
    """R-G37."""
    leaf = pki.self_signed_leaf(name)
    operator.save_individual(name, leaf)
    devices.register(name, leaf)
    host, port = emulator.mirror.rsplit(":", 1)
    topic = f"telemetry/{name}"
    watcher = subprocess.Popen(
        # It would keep what it says to itself until it has a page full.
        ["stdbuf", "--output=L", "mosquitto_sub", "-d", "-h", host, "-p", port, "-q", "1"]
        + ["-t", topic, "-C", "1", "-W", str(WAIT_SECONDS), "-F", "told %t %p"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with devices.client(name, leaf) as client:
            client.connect()
            lines = iter(watcher.stdout.readline, "")
            # What it says of itself; nothing is missed from here on.
            assert any("SUBACK" in line for line in lines), "not subscribed"
            client.send_message(_message())
            told = [line for line in lines if line.startswith("told ")]
        assert watcher.wait(WAIT_SECONDS) == 0, "nothing came"
    finally:
        watcher.kill()
        watcher.wait()
    [line] = told
    _, seen, payload = line.split(" ", 2)
    assert seen == topic
    _as_sent(json.loads(payload), name)


@needs_mosquitto
def test_mosquitto_pub_is_cut_off(emulator: Emulator, name: str) -> None:
    host, port = emulator.mirror.rsplit(":", 1)
    publisher = ["mosquitto_pub", "-h", host, "-p", port, "-q", "1"]
    outcome = subprocess.run(
        [*publisher, "-t", f"telemetry/{name}", "-m", "forged", "--repeat", "2"],
        timeout=WAIT_SECONDS,
        capture_output=True,
        check=False,
    )
    assert outcome.returncode != 0


def test_the_events_stream_sees_telemetry(
    emulator: Emulator, operator: Operator, devices: DeviceSide, pki: Pki, name: str
) -> None:
    """R-G37."""
    leaf = pki.self_signed_leaf(name)
    operator.save_individual(name, leaf)
    devices.register(name, leaf)
    stream = urllib.request.urlopen(f"{emulator.admin}/events", timeout=WAIT_SECONDS)
    with stream, devices.client(name, leaf) as client:
        client.connect()
        # The head of the answer is here, so nothing is missed.
        sender = threading.Thread(target=client.send_message, args=(_message(),))
        sender.start()
        data = next(line for line in stream if line.startswith(b"data: ") and name.encode() in line)
        sender.join()
    _as_sent(json.loads(data.removeprefix(b"data: ")), name)
