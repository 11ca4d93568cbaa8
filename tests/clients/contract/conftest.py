"""A fresh emulator for each API, so that nothing made for one disturbs another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import emulator as server
from emulator import Emulator
from pki import Pki


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    process, ready = server.start()
    try:
        yield ready
        assert process.poll() is None, f"the emulator ended early:\n{process.communicate()[1]}"
    finally:
        code = server.stop(process)
    assert code == 0, f"the emulator ended with exit code {code} when asked to stop"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))
