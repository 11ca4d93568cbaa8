"""One emulator for all tests; certificates and names of their own for each."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import emulator as server
from device_side import DeviceSide
from emulator import Emulator
from operator_side import Operator
from pki import Pki

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    process, ready = server.start()
    # What the service clients of the hub trust; they have no option for it.
    before = os.environ.get("REQUESTS_CA_BUNDLE")
    os.environ["REQUESTS_CA_BUNDLE"] = str(ready.ca_file)
    try:
        yield ready
        assert process.poll() is None, f"the emulator ended early:\n{process.communicate()[1]}"
    finally:
        if before is None:
            del os.environ["REQUESTS_CA_BUNDLE"]
        else:
            os.environ["REQUESTS_CA_BUNDLE"] = before
        code = server.stop(process)
    assert code == 0, f"the emulator ended with exit code {code} when asked to stop"


@pytest.fixture(scope="session")
def operator(emulator: Emulator) -> Operator:
    return Operator(emulator)


@pytest.fixture(scope="session")
def devices(emulator: Emulator) -> DeviceSide:
    return DeviceSide(emulator)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name no other test uses, fit for devices, groups and certificates."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    return f"{words[:24].strip('-')}-{next(_numbers)}"
