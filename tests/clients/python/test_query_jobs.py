"""Queries and jobs as a back end uses them (R-G32 to R-G36, R-F7, R-F10)."""

from __future__ import annotations

import datetime
import os
from typing import Any

import pytest
from azure.iot.device import IoTHubDeviceClient, MethodResponse
from azure.iot.hub import IoTHubJobManager
from azure.iot.hub.models import (
    CloudToDeviceMethod,
    JobRequest,
    QuerySpecification,
    Twin,
)
from msrest.exceptions import HttpOperationError

from device_side import eventually
from emulator import Emulator
from operator_side import Operator

COUNT = 5


def _tagged(operator: Operator, name: str, count: int = COUNT) -> list[str]:
    """Devices that nobody else's query finds."""
    ids = [f"{name}-{number}" for number in range(count)]
    for number, device_id in enumerate(ids):
        operator.hub.create_device_with_sas(device_id, "", "", "enabled")
        tags = {"run": name, "number": number, "even": number % 2 == 0}
        operator.hub.update_twin(device_id, Twin(tags=tags), "*")
    return ids


def _ask(operator: Operator, query: str, size: int | None = None) -> list[Any]:
    """All that is found, page after page."""
    found: list[Any] = []
    continuation = None
    while True:
        page = operator.hub.query_iot_hub(QuerySpecification(query=query), continuation, size)
        assert size is None or len(page.items) <= size
        found += page.items
        continuation = page.continuation_token
        if continuation is None:
            return found


def _outcomes(operator: Operator, job_id: str) -> dict[str, Any]:
    found = _ask(operator, f"SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '{job_id}'")
    # What a twin has no name for, the client keeps as it came.
    return {one.device_id: one.additional_properties for one in found}


@pytest.fixture
def jobs(emulator: Emulator) -> IoTHubJobManager:
    return IoTHubJobManager.from_connection_string(emulator.hub_connection_string)


def _ended(jobs: IoTHubJobManager, job_id: str) -> Any:
    over = {"completed", "failed", "cancelled"}
    eventually(f"the end of {job_id}", lambda: jobs.get_scheduled_job(job_id).status in over)
    return jobs.get_scheduled_job(job_id)


def test_devices_are_found_page_by_page(operator: Operator, name: str) -> None:
    ids = _tagged(operator, name)
    query = f"SELECT * FROM devices WHERE tags.run = '{name}'"
    twins = _ask(operator, query, 2)
    assert [twin.device_id for twin in twins] == ids
    assert twins[3].tags == {"run": name, "number": 3, "even": False}
    assert twins[3].etag == operator.hub.get_twin(ids[3]).etag
    late = _ask(operator, f"{query} AND tags.number IN [1, 3] AND NOT is_defined(tags.gone)")
    assert [twin.device_id for twin in late] == [ids[1], ids[3]]
    assert _ask(operator, f"{query} AND tags.gone = 1") == []
    first = _ask(operator, query.replace("SELECT", "SELECT TOP 3"), 2)
    assert [twin.device_id for twin in first] == ids[:3]


def test_columns_and_counts_are_chosen(operator: Operator, name: str) -> None:
    ids = _tagged(operator, name)
    where = f"FROM devices WHERE tags.run = '{name}'"
    rows = _ask(operator, f"SELECT deviceId, tags.number AS place {where}")
    assert [(row.device_id, row.additional_properties["place"]) for row in rows] == [
        (device_id, number) for number, device_id in enumerate(ids)
    ]
    groups = _ask(
        operator,
        f"SELECT tags.even AS even, COUNT() AS n, MAX(tags.number) AS last {where} "
        "GROUP BY tags.even",
    )
    found = [row.additional_properties for row in groups]
    assert sorted(found, key=lambda row: row["n"]) == [
        {"even": False, "n": 2, "last": 3},
        {"even": True, "n": 3, "last": 4},
    ]


def test_a_query_that_is_none_is_refused_by_its_place(operator: Operator) -> None:
    with pytest.raises(HttpOperationError) as refusal:
        _ask(operator, "SELECT * FROM devices ORDER BY deviceId")
    response = refusal.value.response
    assert response.status_code == 400
    assert response.headers["iothub-errorcode"] == "ArgumentInvalid"
    assert "Line 1:23 ORDER" in response.json()["Message"]


def test_a_job_updates_twins(operator: Operator, jobs: IoTHubJobManager, name: str) -> None:
    ids = _tagged(operator, name)
    request = JobRequest(
        type="scheduleUpdateTwin",
        update_twin=Twin(etag="*", tags={"rolled": True}),
        query_condition=f"tags.run = '{name}' AND tags.even = true",
        max_execution_time_in_seconds=60,
    )
    assert jobs.create_scheduled_job(name, request).status == "queued"
    done = _ended(jobs, name)
    assert (done.type, done.status) == ("scheduleUpdateTwin", "completed")
    counts = done.device_job_statistics
    assert (counts.device_count, counts.succeeded_count, counts.failed_count) == (3, 3, 0)
    for number, device_id in enumerate(ids):
        tags = operator.hub.get_twin(device_id).tags
        assert tags.get("rolled", False) is (number % 2 == 0)
    outcomes = _outcomes(operator, name)
    assert set(outcomes) == set(ids[::2])
    assert all(one["jobType"] == "scheduleUpdateTwin" for one in outcomes.values())

    with pytest.raises(HttpOperationError) as refusal:
        jobs.create_scheduled_job(name, request)
    assert refusal.value.response.headers["iothub-errorcode"] == "JobAlreadyExists"


def test_a_job_calls_who_is_there(
    emulator: Emulator, operator: Operator, jobs: IoTHubJobManager, name: str
) -> None:
    here, away = _tagged(operator, name, 2)
    key = operator.hub.get_device(here).authentication.symmetric_key.primary_key
    client = IoTHubDeviceClient.create_from_symmetric_key(
        key, emulator.hub_host, here, server_verification_cert=emulator.ca_pem
    )

    def answer(request: Any) -> None:
        payload = {"told": request.payload}
        client.send_method_response(MethodResponse.create_from_method_request(request, 207, payload))

    try:
        client.connect()
        client.on_method_request_received = answer
        # Setting the handler subscribes; until then the device does not listen.
        eventually("the device's listening", lambda: _listens(operator, here))
        request = JobRequest(
            type="scheduleDeviceMethod",
            cloud_to_device_method=CloudToDeviceMethod(
                method_name="reprovision", payload={"by": "job"}, response_timeout_in_seconds=10
            ),
            query_condition=f"deviceId IN ['{here}', '{away}']",
                max_execution_time_in_seconds=60,
        )
        jobs.create_scheduled_job(name, request)
        done = _ended(jobs, name)
    finally:
        client.shutdown()
    counts = done.device_job_statistics
    assert done.status == "completed"
    assert (counts.device_count, counts.succeeded_count, counts.failed_count) == (2, 1, 1)
    outcomes = _outcomes(operator, name)
    method = outcomes[here]["outcome"]["deviceMethodResponse"]
    assert method == {"status": 207, "payload": {"told": {"by": "job"}}}
    assert outcomes[away]["error"]["code"] == "DeviceNotOnline"


def _listens(operator: Operator, device_id: str) -> bool:
    try:
        return operator.call(device_id, "ready", None).status == 207
    except HttpOperationError:
        return False


def test_a_job_is_cancelled_before_it_begins(
    operator: Operator, jobs: IoTHubJobManager, name: str
) -> None:
    (device_id,) = _tagged(operator, name, 1)
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    request = JobRequest(
        type="scheduleUpdateTwin",
        update_twin=Twin(etag="*", tags={"rolled": True}),
        query_condition=f"deviceId = '{device_id}'",
        start_time=later,
        max_execution_time_in_seconds=60,
    )
    jobs.create_scheduled_job(name, request)
    assert jobs.get_scheduled_job(name).status in {"queued", "scheduled"}
    assert jobs.cancel_scheduled_job(name).status == "cancelled"
    assert jobs.get_scheduled_job(name).status == "cancelled"
    assert "rolled" not in operator.hub.get_twin(device_id).tags
    with pytest.raises(HttpOperationError) as refusal:
        jobs.cancel_scheduled_job(f"{name}-{os.getpid()}")
    assert refusal.value.response.headers["iothub-errorcode"] == "JobNotFound"
