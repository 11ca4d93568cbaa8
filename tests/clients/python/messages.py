"""The back end's side of cloud-to-device messages, over the hub's HTTP API.

The published service client sends over AMQP, which the emulator does not speak yet.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import time
import urllib.parse
import urllib.request
from typing import Any

from emulator import Emulator


class Messages:
    """Sends to devices and hears what became of it."""

    def __init__(self, emulator: Emulator) -> None:
        parts = dict(
            part.split("=", 1) for part in emulator.hub_connection_string.split(";")
        )
        # Behind the port, if one is named.
        self._host = parts["HostName"].split(":")[0]
        self._policy, self._key = parts["SharedAccessKeyName"], parts["SharedAccessKey"]
        self._base = f"https://{self._host}:{emulator.https_port}"
        self._trust = ssl.create_default_context(cadata=emulator.ca_pem)

    def send(self, device_id: str, body: str, **headers: str) -> None:
        """Header names are spelled with underscores: `iothub_app_colour="green"`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"/devices/{device_id}/messages/devicebound"
        status, _, _ = self._ask("POST", path, body.encode(), named)
        assert status == 204

    def purge(self, device_id: str) -> Any:
        _, _, body = self._ask("DELETE", f"/devices/{device_id}/commands")
        return json.loads(body)

    def feedback(self) -> list[dict[str, Any]]:
        """The next batch, which is completed by that; empty if there is none."""
        path = "/messages/serviceBound/feedback"
        status, headers, body = self._ask("GET", path)
        if status == 204:
            return []
        token = headers["ETag"].strip('"')
        self._ask("DELETE", f"{path}/{token}")
        return json.loads(body)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any, bytes]:
        request = urllib.request.Request(
            f"{self._base}{path}?api-version=2021-04-12",
            data=body,
            method=method,
            headers={"Authorization": self._token(), **(headers or {})},
        )
        with urllib.request.urlopen(request, context=self._trust, timeout=20) as response:
            return response.status, response.headers, response.read()

    def _token(self) -> str:
        resource = urllib.parse.quote(self._host, safe="")
        expiry = int(time.time()) + 600
        signed = f"{resource}\n{expiry}".encode()
        digest = hmac.new(base64.b64decode(self._key), signed, hashlib.sha256).digest()
        signature = urllib.parse.quote(base64.b64encode(digest), safe="")
        return (
            f"SharedAccessSignature sr={resource}&sig={signature}"
            f"&se={expiry}&skn={self._policy}"
        )
