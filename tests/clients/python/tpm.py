"""A device's TPM: swtpm, a real TPM 2.0 in software, driven by tpm2-tools as a device would."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

COMMANDS = ("swtpm", "tpm2_createek", "tpm2_activatecredential")
READY_SECONDS = 15
COMMAND_SECONDS = 60

# What tpm2-tools put before a credential: a magic number and the version of the format.
CREDENTIAL_HEADER = struct.pack(">II", 0xBADCC0DE, 1)


def is_installed() -> bool:
    return all(shutil.which(command) for command in COMMANDS)


@contextmanager
def running(directory: Path) -> Iterator[Tpm]:
    """A TPM that nobody has used before, and that is gone afterwards."""
    directory.mkdir(parents=True)
    port = _free_port_pair()
    process = subprocess.Popen(
        [
            "swtpm", "socket", "--tpm2",
            "--tpmstate", f"dir={directory}",
            "--server", f"type=tcp,port={port},bindaddr=127.0.0.1",
            "--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1",
            "--flags", "not-need-init,startup-clear",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        _wait_for(process, port + 1)
        yield Tpm(directory, port)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=READY_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


class Tpm:
    """Keeps what passes between the TPM and the device as files in one directory."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self._environment = {
            **os.environ,
            "TPM2TOOLS_TCTI": f"swtpm:host=127.0.0.1,port={port}",
        }

    def make_keys(self, endorsement: str, storage: str) -> None:
        """Makes an endorsement key and a storage root key, of type rsa or ecc."""
        self._run("tpm2_createek", "-c", "ek.ctx", "-G", endorsement, "-u", "ek.pub")
        self._free()
        self._run("tpm2_createprimary", "-C", "o", "-G", storage, "-c", "srk.ctx")
        self._run("tpm2_readpublic", "-c", "srk.ctx", "-o", "srk.pub")
        self._free()

    @property
    def endorsement_key(self) -> str:
        return self._read_base64("ek.pub")

    @property
    def storage_root_key(self) -> str:
        return self._read_base64("srk.pub")

    @property
    def registration_id(self) -> str:
        """As the SDKs derive it from the endorsement key."""
        digest = hashlib.sha256(self._path("ek.pub").read_bytes()).digest()
        return base64.b32encode(digest).decode().rstrip("=").lower()

    def activate(self, blob: str) -> None:
        """Takes a blob of DPS apart and has the TPM keep the key in it, to sign with."""
        parts = _parts(base64.b64decode(blob, validate=True))
        id_object, credential_seed, duplicate, duplicate_seed, public, _ = parts
        self._path("credential").write_bytes(CREDENTIAL_HEADER + id_object + credential_seed)
        self._path("id.dup").write_bytes(duplicate)
        self._path("id.seed").write_bytes(duplicate_seed)
        self._path("id.pub").write_bytes(public)

        # The policy of an endorsement key: the password of its hierarchy, which is empty.
        self._run("tpm2_startauthsession", "--policy-session", "-S", "session")
        self._run("tpm2_policysecret", "-S", "session", "-c", "e")
        self._run(
            "tpm2_activatecredential", "-c", "srk.ctx", "-C", "ek.ctx",
            "-i", "credential", "-o", "inner.key", "-P", "session:session",
        )  # fmt: skip
        self._run("tpm2_flushcontext", "session")
        self._free()
        self._run(
            "tpm2_import", "-C", "srk.ctx", "-G", "hmac", "-k", "inner.key",
            "-i", "id.dup", "-s", "id.seed", "-u", "id.pub", "-r", "id.priv",
        )  # fmt: skip
        self._free()
        self._run("tpm2_load", "-C", "srk.ctx", "-u", "id.pub", "-r", "id.priv", "-c", "id.ctx")
        self._free()

    def sign(self, data: bytes) -> bytes:
        """HMAC with the key that was activated last, made inside the TPM."""
        self._path("data").write_bytes(data)
        self._run("tpm2_hmac", "-c", "id.ctx", "-o", "signature", "data")
        self._free()
        return self._path("signature").read_bytes()

    def _free(self) -> None:
        """Makes room: without a resource manager a TPM holds three objects."""
        self._run("tpm2_flushcontext", "-t")

    def _path(self, name: str) -> Path:
        return self._directory / name

    def _read_base64(self, name: str) -> str:
        return base64.b64encode(self._path(name).read_bytes()).decode()

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [*command, "-Q"],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        if done.returncode != 0:
            raise TpmError(f"{' '.join(command)} failed:\n{done.stderr}")


class TpmError(Exception):
    """The TPM does not do what it is asked to."""


def _parts(blob: bytes) -> list[bytes]:
    """The structures in a blob, each with its length in front."""
    parts = []
    while blob:
        (length,) = struct.unpack_from(">H", blob)
        parts.append(blob[: 2 + length])
        assert len(parts[-1]) == 2 + length, "the blob ends too early"
        blob = blob[2 + length :]
    return parts


def _free_port_pair() -> int:
    """A port that is free together with the next one, where tpm2-tools look for the control."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port
    raise AssertionError("no two free ports side by side")


def _wait_for(process: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        assert process.poll() is None, f"swtpm ended at once:\n{process.communicate()[0]}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert time.monotonic() < deadline, f"swtpm was not ready in {READY_SECONDS} s"
        time.sleep(0.05)
