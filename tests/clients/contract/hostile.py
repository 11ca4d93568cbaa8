"""Requests that no client library would send, for every operation of an API."""

from __future__ import annotations

from typing import Any

import requests

from contract import DOCUMENTED, SECONDS, Api

JSON = "application/json"
DEPTH = 20_000

# What replaces a body. Each is refused, whatever the operation.
BODIES: dict[str, tuple[bytes, str | None]] = {
    "nothing": (b"", JSON),
    "half-an-object": (b'{"mode":', JSON),
    "null": (b"null", JSON),
    "an-array": (b"[]", JSON),
    "a-string": (b'"text"', JSON),
    "a-number": (b"1e999", JSON),
    "not-utf-8": (b'{"query":"\xff\xfe"}', JSON),
    "half-a-surrogate": (b'{"query":"\\ud800"}', JSON),
    "a-byte-order-mark": (b"\xef\xbb\xbf{}", JSON),
    "no-member": (b"{}", JSON),
    "deep-arrays": (b"[" * DEPTH + b"]" * DEPTH, JSON),
    "deep-objects": (b'{"a":' * DEPTH + b"1" + b"}" * DEPTH, JSON),
    "megabytes": (b'{"a":"' + b"a" * (2 << 20) + b'"}', JSON),
    "xml": (b"<?xml version='1.0'?><a/>", "application/xml"),
    "a-form": (b"a=1&b=2", "application/x-www-form-urlencoded"),
}

# What replaces the headers that open the API. Each is refused.
TOKENS: dict[str, str | None] = {
    "none": None,
    "empty": "",
    "another-scheme": "Basic dXNlcjpwYXNzd29yZA==",
    "no-fields": "SharedAccessSignature",
    "empty-fields": "SharedAccessSignature sr=&sig=&se=&skn=",
    "not-base64": "SharedAccessSignature sr=localhost&sig=%ff%00&se=99999999999&skn=x",
    "an-endless-life": "SharedAccessSignature sr=localhost&sig=AA&se=99999999999999999999&skn=x",
    "twice": "SharedAccessSignature sr=a&sr=b&sig=AA&sig=BB&se=1&se=2&skn=x",
    "very-long": "SharedAccessSignature sr=" + "a" * 8000,
}


def send(
    api: Api,
    operation_id: str,
    path: dict[str, str],
    *,
    body: bytes | None = None,
    content_type: str | None = JSON,
    headers: dict[str, str] | None = None,
) -> requests.Response:
    """The operation with other bytes; the answer has passed every check but that of its input."""
    operation = api.schema.find_operation_by_id(operation_id)
    case = operation.Case(path_parameters=path)
    content = {} if content_type is None else {"Content-Type": content_type}
    response = api.session.request(
        case.method,
        api.base_url + case.formatted_path,
        params={"api-version": api.version(operation)},
        data=body,
        headers={**(api.authorization() if headers is None else headers), **content},
        verify=api.ca_file,
        cert=api.client_certificate,
        timeout=SECONDS,
        allow_redirects=False,
    )
    case.validate_response(response, checks=[api.answered, *DOCUMENTED])
    return response


def takes_body(api: Api, operation_id: str) -> bool:
    return bool(api.schema.find_operation_by_id(operation_id).body)


def ids(table: dict[str, Any]) -> dict[str, Any]:
    """The table as arguments of `pytest.mark.parametrize`."""
    return {"argvalues": list(table.values()), "ids": list(table)}
