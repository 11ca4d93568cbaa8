"""The server under test: `linarite up`, as a process of its own."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("LINARITE_BIN", REPOSITORY / "target/debug/linarite"))
READY_SECONDS = 30
STOP_SECONDS = 15


@dataclass(frozen=True)
class Emulator:
    """What the ready line says. Connection strings stay out of any printed form."""

    mqtt: str
    https: str
    admin: str
    mirror: str
    ca_file: Path
    ca_pem: str
    dps_name: str
    dps_host: str
    id_scope: str
    hub_host: str
    dps_connection_string: str = field(repr=False)
    hub_connection_string: str = field(repr=False)

    @property
    def https_port(self) -> str:
        return self.https.rsplit(":", 1)[1]


def start() -> tuple[subprocess.Popen[str], Emulator]:
    """Starts the command and waits for its ready line."""
    assert BINARY.is_file(), (
        f"{BINARY} is missing; run `cargo build -p linarite`, or name a binary in LINARITE_BIN"
    )
    process = subprocess.Popen(
        [BINARY, "up", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        return process, _ready(process)
    except BaseException:
        stop(process)
        raise


def stop(process: subprocess.Popen[str]) -> int:
    """Ends the command as a service manager would, and gives its exit code."""
    process.terminate()
    try:
        process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode


def _ready(process: subprocess.Popen[str]) -> Emulator:
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True).start()
    try:
        line = lines.get(timeout=READY_SECONDS)
    except queue.Empty:
        raise AssertionError(f"`linarite up --json` was not ready in {READY_SECONDS} s") from None
    if not line:
        raise AssertionError(f"`linarite up --json` ended at once: {process.communicate()[1]}")
    ready = json.loads(line)
    mqtt_port = ready["mqtt"].rsplit(":", 1)[1]
    assert mqtt_port == "8883", f"this client dials 8883 only, MQTT is served at {ready['mqtt']}"
    ca_file = Path(ready["ca_pem"])
    return Emulator(
        mqtt=ready["mqtt"],
        https=ready["https"],
        admin=ready["admin"],
        mirror=ready["mirror"],
        ca_file=ca_file,
        ca_pem=ca_file.read_text(),
        dps_name=ready["dps"]["name"],
        dps_host=ready["dps"]["host"],
        id_scope=ready["dps"]["id_scope"],
        hub_host=ready["hubs"][0]["host"],
        dps_connection_string=ready["dps"]["connection_string"],
        hub_connection_string=ready["hubs"][0]["connection_string"],
    )
