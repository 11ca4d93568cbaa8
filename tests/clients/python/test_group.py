"""Devices of an enrollment group: a whole life with one leaf, then the roll to the next (J5)."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest
from azure.iot.device import Message, MethodRequest, MethodResponse
from azure.iot.device.exceptions import ClientError, CredentialError

from device_side import WAIT_SECONDS, DeviceSide, eventually
from operator_side import Operator
from pki import Certificate, Pki


@dataclass(frozen=True)
class Group:
    """A verified root, an intermediate below it, and a group that trusts the intermediate."""

    name: str
    pki: Pki
    root: Certificate
    intermediate: Certificate

    def leaf(self, common_name: str) -> Certificate:
        """A fresh leaf in one file with the intermediate."""
        leaf = self.pki.leaf(common_name, self.intermediate)
        return self.pki.presented(leaf, self.intermediate)


@pytest.fixture
def group(operator: Operator, pki: Pki, name: str) -> Group:
    root = pki.root(f"{name}-root")
    intermediate = pki.intermediate(f"{name}-ca", root)
    operator.upload(name, root)
    operator.prove(name, root, pki)
    saved = operator.save_group(name, intermediate)
    assert saved["provisioningStatus"] == "enabled"
    return Group(name, pki, root, intermediate)


def test_a_device_lives_with_one_leaf(
    operator: Operator, devices: DeviceSide, group: Group
) -> None:
    device_id = f"{group.name}-device"
    leaf = group.leaf(device_id)

    registration = devices.register(device_id, leaf)
    assert registration.status == "assigned"
    state = registration.registration_state
    assert (state.device_id, state.sub_status) == (device_id, "initialAssignment")
    assert operator.registration(device_id)["status"] == "assigned"

    with devices.client(device_id, leaf, state.assigned_hub) as client:
        client.connect()
        assert client.connected
        assert operator.hub.get_twin(device_id).connection_state == "Connected"

        # Both return once the hub has acknowledged.
        client.send_message("plain text")
        message = Message('{"temperature": 21.5}', message_id="m-1", content_type="application/json")
        message.custom_properties["room name"] = "a & b"
        client.send_message(message)

        assert client.get_twin()["desired"] == {"$version": 1}
        client.patch_twin_reported_properties({"firmware": "1.0", "gone": 1})
        client.patch_twin_reported_properties({"gone": None})
        reported = operator.reported(device_id)
        assert reported["firmware"] == "1.0"
        assert "gone" not in reported
        assert client.get_twin()["reported"]["firmware"] == "1.0"

        assert _desired_change(client, lambda: operator.desire(device_id, interval=5)) == {
            "interval": 5,
            "$version": 2,
        }
        assert client.get_twin()["desired"]["interval"] == 5

        def answer(request: MethodRequest) -> None:
            body = {"name": request.name, "got": request.payload}
            client.send_method_response(MethodResponse.create_from_method_request(request, 207, body))

        client.on_method_request_received = answer
        result = operator.call(device_id, "reboot", {"delay": 3})
        assert result.status == 207
        assert result.payload == {"name": "reboot", "got": {"delay": 3}}

    eventually(
        "the hub sees the device leave",
        lambda: operator.hub.get_twin(device_id).connection_state == "Disconnected",
    )


def test_a_roll_to_the_second_leaf(operator: Operator, devices: DeviceSide, group: Group) -> None:
    device_id = f"{group.name}-device"
    old, new = group.leaf(device_id), group.leaf(device_id)
    first = devices.register(device_id, old).registration_state
    etag = operator.dps.enrollment_group.get(group.name)["etag"]

    with devices.client(device_id, old) as before:
        before.connect()
        before.patch_twin_reported_properties({"serial": "kept over the roll"})
        thumbprint = operator.thumbprint(device_id)

        # R-G10: the group knows the issuer, the hub does not know the leaf.
        with devices.client(device_id, new) as too_early:
            with pytest.raises(CredentialError):
                too_early.connect()
            assert not too_early.connected
        assert before.connected, "a refused client must not take over the session"
        before.send_message("still here")

        second = devices.register(device_id, new)
        assert second.status == "assigned"
        assert second.registration_state.device_id == first.device_id
        assert second.registration_state.assigned_hub == first.assigned_hub
        assert operator.thumbprint(device_id) != thumbprint
        # R-G13: a session that is open stays; only new ones need the new leaf.
        assert before.connected
        before.send_message("and still here")

    with devices.client(device_id, new) as after:
        after.connect()
        after.send_message("with the new leaf")
        assert after.get_twin()["reported"]["serial"] == "kept over the roll"

        # R-B21: the old leaf is worth nothing at the hub, though it has not expired.
        with devices.client(device_id, old) as stale:
            with pytest.raises(CredentialError):
                stale.connect()
        assert after.connected

    assert operator.dps.enrollment_group.get(group.name)["etag"] == etag, "no edit was needed"
    records = operator.registrations_in_group(group.name)
    assert [record["registrationId"] for record in records] == [device_id]


@pytest.mark.parametrize("with_root", [True, False], ids=["to-the-root", "without-the-root"])
def test_chains_a_device_may_send(devices: DeviceSide, group: Group, with_root: bool) -> None:
    """R-A17: the root may be left out, as in TLS; the emulator takes both by default."""
    device_id = f"{group.name}-device"
    leaf = group.pki.leaf(device_id, group.intermediate)
    chain = [group.intermediate, group.root] if with_root else [group.intermediate]
    presented = group.pki.presented(leaf, *chain)

    assert devices.register(device_id, presented).status == "assigned"

    with devices.client(device_id, presented) as client:
        client.connect()
        client.send_message("hello")


def test_a_leaf_alone_is_refused(operator: Operator, devices: DeviceSide, group: Group) -> None:
    """R-A16: DPS does not complete a chain from what it has stored."""
    device_id = f"{group.name}-device"
    leaf = group.pki.leaf(device_id, group.intermediate)

    with pytest.raises(ClientError):
        devices.register(device_id, leaf)

    assert operator.registrations_in_group(group.name) == []


def test_an_unverified_root_is_worth_nothing(
    operator: Operator, devices: DeviceSide, pki: Pki, name: str
) -> None:
    root = pki.root(f"{name}-root")
    intermediate = pki.intermediate(f"{name}-ca", root)
    operator.upload(name, root)
    operator.save_group(name, intermediate)
    presented = pki.presented(pki.leaf(f"{name}-device", intermediate), intermediate, root)

    with pytest.raises(ClientError):
        devices.register(f"{name}-device", presented)

    operator.prove(name, root, pki)
    assert devices.register(f"{name}-device", presented).status == "assigned"


def _desired_change(client: Any, make: Any) -> dict[str, Any]:
    """The first change that reaches the device after it began to listen."""
    arrived, patches = threading.Event(), []

    def remember(patch: dict[str, Any]) -> None:
        patches.append(patch)
        arrived.set()

    client.on_twin_desired_properties_patch_received = remember
    make()
    assert arrived.wait(WAIT_SECONDS), f"no desired properties within {WAIT_SECONDS} s"
    return patches[0]
