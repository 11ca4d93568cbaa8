"""What every answer of an API must satisfy, whatever was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import requests
from hypothesis import HealthCheck, Phase, settings
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from not_emulated import NOT_EMULATED, NOT_EMULATED_WITHIN

# The same requests in every run, and few enough for the whole section to end in minutes. Nothing is
# shrunk: by then the server has changed.
GENERATED = settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


def content_type(context: Any, response: Any, case: Any) -> bool | None:
    """A check: JSON is said to be JSON. The files say it of empty answers too."""
    return None if not response.content else content_type_conformance(context, response, case)


def refused(context: Any, response: Any, case: Any) -> None:
    """A check: what the file forbids is done by nobody. What may pass all the same is listed."""
    try:
        negative_data_rejection(context, response, case)
    except AcceptedNegativeData:
        if response.status_code in (412, 413, 501) or _holds_null(case.body):
            return
        operation_id = id_of(case.operation)
        if not any(allows(case, response) for allows in TOLERATED.get(operation_id, [])):
            raise


def _says_so_itself(_case: Any, response: Any) -> bool:
    """Items of a bulk request fail one by one, each with its reason (R-F6)."""
    return json.loads(response.text)["isSuccessful"] is False


def _has_no_body(case: Any, _response: Any) -> bool:
    """Devices may send none (W5)."""
    return not isinstance(case.body, (dict, list, str, int, float))


def _holds_null(value: Any) -> bool:
    """Clients send null for what is unset, which the files do not say."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return value is None or any(_holds_null(member) for member in members)


# What a file forbids and its service takes.
TOLERATED: dict[str, list[Callable[[Any, Any], bool]]] = {
    "IndividualEnrollment_RunBulkOperation": [_says_so_itself],
    "EnrollmentGroup_RunBulkOperation": [_says_so_itself],
    "RuntimeRegistration_RegisterDevice": [_has_no_body],
    "RuntimeRegistration_DeviceRegistrationStatusLookup": [_has_no_body],
}

DOCUMENTED = [
    content_type,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
SECONDS = 30


@dataclass(frozen=True)
class Api:
    """How to reach an API, and how it says no."""

    schema: Any
    base_url: str
    ca_file: str
    # Headers that open it.
    authorization: Callable[[], dict[str, str]] = field(repr=False)
    # The header that has the error's number or name.
    error_header: str
    # The error's number, if it has one, and its message in the body.
    error_of: Callable[[dict[str, Any]], tuple[str | None, str]]
    client_certificate: tuple[str, str] | None = None
    session: requests.Session = field(default_factory=requests.Session, repr=False)

    def send(
        self,
        operation_id: str,
        path: dict[str, str] | None = None,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> Any:
        """A request made by hand; the answer has passed every check."""
        operation = self.schema.find_operation_by_id(operation_id)
        content = {} if body is None else {"body": body, "media_type": "application/json"}
        case = operation.Case(
            path_parameters=path or {},
            query={"api-version": self.version(operation), **(query or {})},
            headers=headers or {},
            **content,
        )
        return self.judge(case)

    def judge(self, case: Any, *, repaired: bool = False) -> Any:
        """Sends the case and checks the answer. A `repaired` case may be as the file allows again."""
        return case.call_and_validate(
            base_url=self.base_url,
            session=self.session,
            headers=self.authorization(),
            verify=self.ca_file,
            cert=self.client_certificate,
            timeout=SECONDS,
            allow_redirects=False,
            checks=[self.answered, *DOCUMENTED, *([] if repaired else [refused])],
        )

    @staticmethod
    def version(operation: Any) -> str:
        return operation.query.get("api-version").definition["enum"][0]

    def answered(self, _context: Any, response: Any, case: Any) -> None:
        """A check: no failure of the server, nothing forgotten, errors that say something."""
        status = response.status_code
        assert 200 <= status < 300 or 400 <= status < 600, f"{status} is no answer of this API"
        assert status not in (500, 502, 503, 504), f"the server failed: {response.text}"
        if status >= 400:
            message = self._check_error(status, response)
            if status == 501 and _is_addressed(case):
                operation_id = id_of(case.operation)
                known = NOT_EMULATED_WITHIN.get(operation_id, {})
                assert operation_id in NOT_EMULATED or any(part in message for part in known), (
                    f"{operation_id} is not in the list of what is not emulated: {message}"
                )

    def _check_error(self, status: int, response: Any) -> str:
        assert response.headers.get(self.error_header.lower()), f"no header {self.error_header}"
        number, message = self.error_of(json.loads(response.text))
        assert number is None or number.startswith(str(status)), f"error {number} with status {status}"
        assert message.strip(), "an error without a message"
        return message


def id_of(operation: Any) -> str:
    return operation.definition.raw["operationId"]


def _is_addressed(case: Any) -> bool:
    """Whether method and path, as a server reads them, are still those of the operation."""
    if case.method != case.operation.method.upper():
        return False
    pattern = re.sub(r"\\{[^/]+?\\}", "[^/]+", re.escape(case.operation.path))
    return re.fullmatch(pattern, unquote(case.formatted_path)) is not None
