"""A device with a TPM: a real one in software proves itself and signs (R-A35, R-B22, wire 3.4)."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device.exceptions import CredentialError

import tpm as software
from device_side import WAIT_SECONDS
from emulator import Emulator
from operator_side import Operator
from tpm import Tpm, TpmError

pytestmark = pytest.mark.skipif(
    not software.is_installed(), reason="needs swtpm and tpm2-tools (Debian packages)"
)


class Device:
    """Registers over HTTPS by itself: no SDK for Python attests with a TPM."""

    def __init__(self, emulator: Emulator, tpm: Tpm, registration_id: str) -> None:
        self._emulator = emulator
        self._tpm = tpm
        self._id = registration_id
        self._trust = ssl.create_default_context(cafile=str(emulator.ca_file))

    def offer(self) -> tuple[int, dict[str, Any]]:
        return self._ask("PUT", "/register", self._body())

    def register(self) -> dict[str, Any]:
        """The whole dialogue; leaves the key for the hub in the TPM."""
        status, challenge = self.offer()
        assert (status, challenge["keyName"]) == (401, "registration"), challenge
        self._tpm.activate(challenge["authenticationKey"])
        token = self.token(f"{self._emulator.id_scope}/registrations/{self._id}", "registration")
        status, begun = self._ask("PUT", "/register", self._body(), token)
        assert (status, begun["status"]) == (202, "assigning"), begun
        deadline = time.monotonic() + WAIT_SECONDS
        while status == 202:
            assert time.monotonic() < deadline, f"no end of {begun}"
            time.sleep(0.2)
            status, ended = self._ask("GET", f"/operations/{begun['operationId']}", None, token)
        assert status == 200, ended
        state = ended["registrationState"]
        if ended["status"] == "assigned":
            self._tpm.activate(state["tpm"]["authenticationKey"])
        return state

    def token(self, resource: str, policy: str | None = None) -> str:
        """A token signed inside the TPM."""
        resource, expiry = urllib.parse.quote(resource, safe=""), int(time.time()) + 3600
        signature = base64.b64encode(self._tpm.sign(f"{resource}\n{expiry}".encode()))
        signature = urllib.parse.quote(signature, safe="")
        token = f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"
        return token if policy is None else f"{token}&skn={policy}"

    def client(self, hub: str, device_id: str) -> IoTHubDeviceClient:
        return IoTHubDeviceClient.create_from_sastoken(
            self.token(f"{hub}/devices/{device_id}"),
            server_verification_cert=self._emulator.ca_pem,
        )

    def _body(self) -> dict[str, Any]:
        keys = {
            "endorsementKey": self._tpm.endorsement_key,
            "storageRootKey": self._tpm.storage_root_key,
        }
        return {"registrationId": self._id, "tpm": keys}

    def _ask(
        self, method: str, what: str, body: dict[str, Any] | None, token: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        authority = f"{self._emulator.dps_host}:{self._emulator.https_port}"
        path = f"{self._emulator.id_scope}/registrations/{self._id}{what}"
        request = urllib.request.Request(
            f"https://{authority}/{path}?api-version=2021-06-01",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json; charset=utf-8"},
        )
        if token is not None:
            request.add_header("Authorization", token)
        try:
            with urllib.request.urlopen(request, context=self._trust, timeout=WAIT_SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture
def tpm(tmp_path: Path) -> Iterator[Tpm]:
    with software.running(tmp_path / "tpm") as running:
        yield running


def enroll(operator: Operator, name: str, tpm: Tpm, status: str = "enabled") -> Any:
    return operator.dps.enrollment.create_or_update(
        name,
        {
            "registrationId": name,
            "attestation": {"type": "tpm", "tpm": {"endorsementKey": tpm.endorsement_key}},
            "provisioningStatus": status,
        },
    )


@pytest.mark.parametrize(("endorsement", "storage"), [("rsa", "rsa"), ("ecc", "ecc")])
def test_a_tpm_registers_and_connects(
    emulator: Emulator, operator: Operator, tpm: Tpm, endorsement: str, storage: str
) -> None:
    """R-A35, R-B22: the key that the TPM is given opens the hub."""
    tpm.make_keys(endorsement, storage)
    name = tpm.registration_id
    enroll(operator, name, tpm)
    shown = operator.dps.enrollment.get_attestation_mechanism(name)
    assert shown["tpm"]["endorsementKey"] == tpm.endorsement_key

    device = Device(emulator, tpm, name)
    state = device.register()
    assert (state["assignedHub"], state["deviceId"]) == (emulator.hub_host, name)
    assert operator.hub.get_device(name).authentication.type == "sas"

    client = device.client(state["assignedHub"], state["deviceId"])
    try:
        client.connect()
        client.send_message("signed inside a TPM")
        client.patch_twin_reported_properties({"chip": "real"})
        assert operator.reported(name)["chip"] == "real"
    finally:
        client.shutdown()


def test_registering_again_replaces_the_key(
    emulator: Emulator, operator: Operator, tpm: Tpm, name: str
) -> None:
    """R-B22, R-C4."""
    tpm.make_keys("rsa", "rsa")
    enroll(operator, name, tpm)
    device = Device(emulator, tpm, name)
    state = device.register()
    stale = device.client(state["assignedHub"], name)
    device.register()
    fresh = device.client(state["assignedHub"], name)
    try:
        fresh.connect()
        fresh.send_message("with the new key")
        with pytest.raises(CredentialError):
            stale.connect()
    finally:
        fresh.shutdown()
        stale.shutdown()


def test_another_tpm_gets_nothing_out_of_a_challenge(
    emulator: Emulator, operator: Operator, tpm: Tpm, name: str, tmp_path: Path
) -> None:
    """R-A35."""
    tpm.make_keys("rsa", "rsa")
    enroll(operator, name, tpm)
    status, challenge = Device(emulator, tpm, name).offer()
    assert status == 401
    with software.running(tmp_path / "other") as other:
        other.make_keys("rsa", "rsa")
        with pytest.raises(TpmError, match="tpm2_activatecredential"):
            other.activate(challenge["authenticationKey"])
        status, refused = Device(emulator, other, name).offer()
    assert (status, refused["errorCode"]) == (401, 401000)
    assert "authenticationKey" not in refused
    status, unknown = Device(emulator, tpm, f"{name}-unknown").offer()
    assert (status, unknown["errorCode"]) == (404, 404201)


def test_a_disabled_entry_shows_after_the_proof(
    emulator: Emulator, operator: Operator, tpm: Tpm, name: str
) -> None:
    """R-A27, I-12."""
    tpm.make_keys("rsa", "rsa")
    enroll(operator, name, tpm, status="disabled")
    assert Device(emulator, tpm, name).register()["status"] == "disabled"
