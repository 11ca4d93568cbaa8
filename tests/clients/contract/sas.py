"""Shared access signatures, as any client makes them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from urllib.parse import quote

LIFETIME_SECONDS = 3600


def token(resource: str, key: str, policy: str | None = None) -> str:
    """Opens `resource` to whoever knows `key`, which is base64."""
    escaped = quote(resource, safe="")
    expiry = str(int(time.time()) + LIFETIME_SECONDS)
    signature = _hmac(base64.b64decode(key), f"{escaped}\n{expiry}")
    text = f"SharedAccessSignature sr={escaped}&sig={quote(signature, safe='')}&se={expiry}"
    return text if policy is None else f"{text}&skn={policy}"


def derived_key(group_key: str, registration_id: str) -> str:
    """The key of one device of a group (R-A33)."""
    return _hmac(base64.b64decode(group_key), registration_id)


def from_connection_string(text: str) -> str:
    """A token of the policy that the connection string names."""
    parts = dict(part.split("=", 1) for part in text.split(";"))
    return token(parts["HostName"], parts["SharedAccessKey"], parts["SharedAccessKeyName"])


def _hmac(key: bytes, text: str) -> str:
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
