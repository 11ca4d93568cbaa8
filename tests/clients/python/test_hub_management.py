"""A hub and its CA certificates in the management API, and devices that come in by them
(R-D3, R-D6, R-D10, R-G8)."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.iot.device.exceptions import CredentialError
from azure.mgmt.iothub import IotHubClient

from device_side import DeviceSide
from emulator import Emulator
from operator_side import RESOURCE_GROUP, AnyToken, Operator
from pki import Certificate, Pki


class HubOperator:
    """Acts on the hub as a resource."""

    def __init__(self, emulator: Emulator) -> None:
        self.client = IotHubClient(
            AnyToken(),
            "00000000-0000-0000-0000-000000000000",
            base_url=f"https://{emulator.dps_host}:{emulator.https_port}",
            connection_verify=str(emulator.ca_file),
        )
        self.name = emulator.hub_host.split(".")[0]

    def upload(self, name: str, authority: Certificate) -> Any:
        body = {"properties": {"certificate": authority.pem}}
        return self.client.certificates.create_or_update(
            RESOURCE_GROUP, self.name, name, body
        )

    def prove(self, name: str, authority: Certificate, pki: Pki) -> Any:
        certificates = self.client.certificates
        held = certificates.get(RESOURCE_GROUP, self.name, name)
        challenge = certificates.generate_verification_code(
            RESOURCE_GROUP, self.name, name, if_match=held.etag
        )
        answer = pki.leaf(challenge.properties.verification_code, authority)
        return certificates.verify(
            RESOURCE_GROUP, self.name, name, challenge.etag, {"certificate": answer.pem}
        )

    def delete(self, name: str) -> None:
        held = self.client.certificates.get(RESOURCE_GROUP, self.name, name)
        self.client.certificates.delete(RESOURCE_GROUP, self.name, name, if_match=held.etag)


@pytest.fixture
def hubs(emulator: Emulator) -> HubOperator:
    return HubOperator(emulator)


def test_a_hub_is_described(hubs: HubOperator, emulator: Emulator) -> None:
    resources = hubs.client.iot_hub_resource
    hub = resources.get(RESOURCE_GROUP, hubs.name)
    cloud_to_device = hub.properties.cloud_to_device
    assert cloud_to_device.default_ttl_as_iso8601 == datetime.timedelta(hours=1)
    assert cloud_to_device.max_delivery_count == 10
    assert cloud_to_device.feedback.lock_duration_as_iso8601 == datetime.timedelta(minutes=1)
    assert hub.properties.host_name == emulator.hub_host
    assert (hub.properties.state, hub.sku.name) == ("Active", "S1")
    assert [one.name for one in resources.list_by_subscription()] == [hub.name]
    assert [one.id for one in resources.list_by_resource_group(RESOURCE_GROUP)] == [hub.id]
    keys = {rule.key_name: rule for rule in resources.list_keys(RESOURCE_GROUP, hubs.name)}
    assert set(keys) == {"iothubowner", "service", "device", "registryRead", "registryReadWrite"}
    owner = resources.get_keys_for_key_name(RESOURCE_GROUP, hubs.name, "iothubowner")
    assert owner.primary_key == keys["iothubowner"].primary_key
    assert owner.primary_key in emulator.hub_connection_string


def test_a_device_comes_in_by_an_authority_of_the_hub(
    hubs: HubOperator, operator: Operator, devices: DeviceSide, pki: Pki, name: str
) -> None:
    root, stranger = pki.root(f"{name}-root"), pki.root(f"{name}-root")
    intermediate = pki.intermediate(f"{name}-ca", root)
    operator.hub.create_device_with_certificate_authority(name, "enabled")
    first, second = (pki.leaf(name, intermediate) for _ in range(2))
    shown = pki.presented(first, intermediate)

    uploaded = hubs.upload(name, root)
    assert uploaded.properties.is_verified is False
    assert uploaded.properties.subject == f"{name}-root"
    with devices.client(name, shown) as client:
        with pytest.raises(CredentialError):
            client.connect()
    with pytest.raises(HttpResponseError) as refusal:
        hubs.prove(name, stranger, pki)
    assert refusal.value.status_code == 400
    assert hubs.prove(name, root, pki).properties.is_verified is True
    listed = hubs.client.certificates.list_by_iot_hub(RESOURCE_GROUP, hubs.name).value
    assert [one.name for one in listed if one.properties.is_verified] == [name]

    with devices.client(name, shown) as client:
        client.connect()
        client.send_message("hello")
    # The next leaf of the same authority needs no word to the hub.
    with devices.client(name, pki.presented(second, intermediate)) as client:
        client.connect()
        client.send_message("hello again")
    with devices.client(name, pki.presented(pki.leaf("another", intermediate), intermediate)) as client:
        with pytest.raises(CredentialError):
            client.connect()

    hubs.delete(name)
    with devices.client(name, shown) as client:
        with pytest.raises(CredentialError):
            client.connect()
