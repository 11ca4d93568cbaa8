"""The device: the published device client, used through its public methods only."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from typing import Any

from azure.iot.device import X509, IoTHubDeviceClient, ProvisioningDeviceClient

from emulator import Emulator
from pki import Certificate

WAIT_SECONDS = 20


class DeviceSide:
    """Makes clients that trust the emulator and nobody else."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def register(
        self, registration_id: str, presented: Certificate, *, websockets: bool = False
    ) -> Any:
        client = ProvisioningDeviceClient.create_from_x509_certificate(
            x509=_x509(presented),
            registration_id=registration_id,
            provisioning_host=self._emulator.dps_host,
            id_scope=self._emulator.id_scope,
            server_verification_cert=self._emulator.ca_pem,
            websockets=websockets,
        )
        # There is no way to close it. After a refusal it stays connected, and when the emulator
        # ends it tries to return for 10 s and may complain about the interpreter's end.
        return client.register()

    def register_with_key(self, registration_id: str, key: str) -> Any:
        """With an entry's key, or with what `derived_key` makes of a group's."""
        client = ProvisioningDeviceClient.create_from_symmetric_key(
            symmetric_key=key,
            registration_id=registration_id,
            provisioning_host=self._emulator.dps_host,
            id_scope=self._emulator.id_scope,
            server_verification_cert=self._emulator.ca_pem,
        )
        return client.register()

    @contextlib.contextmanager
    def client(
        self,
        device_id: str,
        presented: Certificate,
        hub: str | None = None,
        *,
        websockets: bool = False,
        comes_back: bool = True,
    ) -> Iterator[IoTHubDeviceClient]:
        """A client that is not connected yet, and is gone afterwards.

        One that `comes_back` connects again when it has lost its connection.
        """
        client = IoTHubDeviceClient.create_from_x509_certificate(
            x509=_x509(presented),
            hostname=hub or self._emulator.hub_host,
            device_id=device_id,
            server_verification_cert=self._emulator.ca_pem,
            websockets=websockets,
            connection_retry=comes_back,
        )
        try:
            yield client
        finally:
            client.shutdown()


def derived_key(group_key: str, registration_id: str) -> str:
    """The key of one device of a group; no client library makes it (R-A33)."""
    made = hmac.new(base64.b64decode(group_key), registration_id.encode(), hashlib.sha256)
    return base64.b64encode(made.digest()).decode()


def eventually(what: str, condition: Callable[[], bool]) -> None:
    """Waits until `condition` holds; names it if it never does."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {WAIT_SECONDS} s"
        time.sleep(0.05)


def _x509(presented: Certificate) -> X509:
    return X509(cert_file=str(presented.certificate), key_file=str(presented.key))
