"""Azure's OpenAPI files, read where they lie and repaired so that they say what Azure means.

The files are Swagger 2 made to generate clients from, not to judge answers. Every repair is here,
with its reason; none makes an answer right that a client would stumble over.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import schemathesis

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("LINARITE_OPENAPI", REPOSITORY.parent / "shared/api/openapi"))
# How what may come back is told from what may be sent; the second may be null.
ANSWER, UNSET = "Answer.", "Unset."
RFC_1123 = r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d GMT$"
# With a zone, but for the moment that hubs give for "never".
RFC_3339 = r"^(0001-01-01T00:00:00|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))$"

Schema = dict[str, Any]
_SAYS_MEMBERS = {"properties", "additionalProperties", "allOf"}


def load(
    name: str,
    version: str,
    errors: Schema | None = None,
    amend: Callable[[Schema], None] = lambda _: None,
) -> Any:
    """The repaired file as a schema that makes requests and judges answers.

    `errors` is the error answer of an API whose file has none; `amend` repairs what is wrong in
    this file alone.
    """
    specification = json.loads((FOLDER / f"{name}.json").read_text())
    amend(specification)
    # The base URL is known at run time only. Tokens are ours to add: made up ones would only ever
    # be refused, and the tests of rights have their own.
    for member in ("host", "security", "securityDefinitions"):
        specification.pop(member, None)
    _free(specification)
    definitions = specification["definitions"]
    for name, definition in list(definitions.items()):
        definitions[ANSWER + name] = _as_answer(definition, definitions)
        definitions[UNSET + name] = _or_null(definitions[ANSWER + name])
    for parameter in _parameters(specification):
        _repair_parameter(parameter, version)
    for operation in _operations(specification):
        if errors is not None:
            operation["responses"].setdefault("default", copy.deepcopy(errors))
        for response in operation["responses"].values():
            if "schema" in response:
                response["schema"] = _as_answer(response["schema"], definitions)
    config = schemathesis.Config.from_dict(
        {
            "generation": {"deterministic": True},
            # Answers hold fresh etags and keys; cases made from them would differ in every run.
            "phases": {
                "fuzzing": {
                    "extra-data-sources": {"responses": False},
                    "error-feedback": {"enabled": False},
                }
            },
        }
    )
    return schemathesis.openapi.from_dict(specification, config=config)


def operation_ids(name: str) -> list[str]:
    """Every operation of the file, so that a test can tell which it has forgotten."""
    specification = json.loads((FOLDER / f"{name}.json").read_text())
    return [operation["operationId"] for operation in _operations(specification)]


def _free(schema: Any) -> None:
    """An object without a word about its members is any JSON to the generators of clients."""
    if isinstance(schema, list):
        for item in schema:
            _free(item)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and not schema.keys() & _SAYS_MEMBERS:
        del schema["type"]
    for value in schema.values():
        _free(value)


def _operations(specification: Schema) -> list[Schema]:
    return [
        operation
        for path in specification["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]


def _parameters(specification: Schema) -> list[Schema]:
    found = list(specification.get("parameters", {}).values())
    for operation in _operations(specification):
        found += [parameter for parameter in operation.get("parameters", []) if "in" in parameter]
    return found


def _repair_parameter(parameter: Schema, version: str) -> None:
    # The files say it in words at most; any other version is a hostile input.
    if parameter["name"] == "api-version":
        parameter["enum"] = [version]


def _as_answer(schema: Schema, definitions: Schema) -> Schema:
    """What may come back: as declared, or null, and nothing undeclared.

    - The services send null for what is unset, and the files have no marker for it.
    - Nearly every member is optional, so an answer with a misspelled member would pass; a member
      that no client knows is of no use either. So what declares members is closed.
    - `allOf` must be dissolved first, or each part would refuse the members of the others.
    - Formats are annotations only; for dates, clients need the exact spelling.
    - Rights are a list in one string, as the generated clients say and the file does not.
    """
    if "$ref" in schema:
        return {"$ref": schema["$ref"].replace("#/definitions/", f"#/definitions/{ANSWER}")}
    schema = copy.deepcopy(schema)
    for part in schema.pop("allOf", []):
        whole = definitions[part["$ref"].removeprefix("#/definitions/")]
        schema["properties"] = {**whole.get("properties", {}), **schema.get("properties", {})}
        schema["required"] = [*whole.get("required", []), *schema.get("required", [])]
    if "properties" in schema:
        answers = {name: _as_answer(value, definitions) for name, value in schema["properties"].items()}
        schema["properties"] = {name: _or_null(value) for name, value in answers.items()}
        schema.setdefault("additionalProperties", False)
    for member in ("items", "additionalProperties"):
        if isinstance(schema.get(member), dict):
            schema[member] = _as_answer(schema[member], definitions)
    match schema.get("format"):
        case "date-time":
            schema["pattern"] = RFC_3339
        case "date-time-rfc1123":
            schema["pattern"] = RFC_1123
        case "int32":
            schema |= {"minimum": -(2**31), "maximum": 2**31 - 1}
    if schema.get("x-ms-enum", {}).get("name") == "AccessRightsDescription":
        right = f"({'|'.join(schema.pop('enum'))})"
        schema["pattern"] = f"^{right}(, {right})*$"
    # It would be refused in an answer as much as in a request.
    schema.pop("readOnly", None)
    return schema


def _or_null(schema: Schema) -> Schema:
    if "$ref" in schema:
        return {"$ref": schema["$ref"].replace(f"/{ANSWER}", f"/{UNSET}")}
    schema = copy.deepcopy(schema)
    if "type" in schema:
        schema["type"] = [schema["type"], "null"]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema
