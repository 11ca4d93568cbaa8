"""A request that Azure takes, for each operation of the service API of a hub.

Each makes what it needs. What it gets has passed the checks of its shape; here stands what the
answer must say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hub_world import KEY, WAIT_SECONDS, Hub, name_of, tomorrow

TWIN: dict[str, Any] = {
    "tags": {"site": "north", "rack": {"row": 3}},
    "properties": {"desired": {"interval": 5, "nested": {"list": [1, "two", None is None]}}},
}


def _device_statistics(hub: Hub) -> Any:
    before = hub.api.send("Statistics_GetDeviceStatistics").json()
    hub.device(status="disabled")
    answer = hub.api.send("Statistics_GetDeviceStatistics")
    after = answer.json()
    assert after["totalDeviceCount"] == before["totalDeviceCount"] + 1
    assert after["disabledDeviceCount"] == before["disabledDeviceCount"] + 1
    return answer


def _service_statistics(hub: Hub) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        answer = hub.api.send("Statistics_GetServiceStatistics")
        if answer.json()["connectedDeviceCount"] >= 1:
            return answer
        assert time.monotonic() < deadline, "the device did not connect"
        time.sleep(0.05)


def _list_devices(hub: Hub) -> Any:
    answer = hub.api.send("Devices_GetDevices", query={"top": "2"})
    assert len(answer.json()) == 2
    return answer


def _bulk(hub: Hub) -> Any:
    old = hub.device()
    body = [
        {"id": name_of("bulk"), "importMode": "create", "status": "disabled", "tags": {"a": 1}},
        {"id": old["deviceId"], "importMode": "delete"},
    ]
    answer = hub.api.send("BulkRegistry_UpdateRegistry", body=body)
    assert answer.json()["isSuccessful"] is True
    made = hub.api.send("Devices_GetIdentity", {"id": body[0]["id"]}).json()
    assert made["status"] == "disabled"
    assert hub.api.send("Devices_GetIdentity", {"id": old["deviceId"]}).status_code == 404
    failed = hub.api.send("BulkRegistry_UpdateRegistry", body=body)
    assert failed.status_code == 400
    assert [error["deviceId"] for error in failed.json()["errors"]] == [body[0]["id"], old["deviceId"]]
    return answer


def _query(hub: Hub) -> Any:
    device = hub.device()["deviceId"]
    text = f"SELECT * FROM devices WHERE deviceId = '{device}'"
    answer = hub.api.send("Query_GetTwins", body={"query": text})
    assert [twin["deviceId"] for twin in answer.json()] == [device]
    return answer


def _get_device(hub: Hub) -> Any:
    device = hub.device()
    answer = hub.api.send("Devices_GetIdentity", {"id": device["deviceId"]})
    assert answer.json() == device
    assert device["authentication"]["symmetricKey"]["primaryKey"] == KEY
    return answer


def _put_device(hub: Hub) -> Any:
    device = hub.device()
    changed = {**device, "status": "disabled", "statusReason": "contract"}
    answer = hub.api.send(
        "Devices_CreateOrUpdateIdentity",
        {"id": device["deviceId"]},
        headers={"If-Match": f'"{device["etag"]}"'},
        body=changed,
    )
    assert (answer.json()["status"], answer.json()["statusReason"]) == ("disabled", "contract")
    assert answer.json()["etag"] != device["etag"]
    return answer


def _delete_device(hub: Hub) -> Any:
    device = hub.device()
    return hub.api.send(
        "Devices_DeleteIdentity",
        {"id": device["deviceId"]},
        headers={"If-Match": f'"{device["etag"]}"'},
    )


def _device_place(hub: Hub) -> dict[str, str]:
    return {"id": hub.device()["deviceId"]}


def _module_place(hub: Hub) -> dict[str, str]:
    module = hub.module()
    return {"id": module["deviceId"], "mid": module["moduleId"]}


def _get_twin(kind: str, place: Callable[[Hub], dict[str, str]]) -> Callable[[Hub], Any]:
    def get_twin(hub: Hub) -> Any:
        where = place(hub)
        answer = hub.api.send(f"{kind}_GetTwin", where)
        assert answer.json()["deviceId"] == where["id"]
        assert answer.json().get("moduleId") == where.get("mid")
        assert answer.json()["properties"]["desired"]["$version"] == 1
        return answer

    return get_twin


def _write_twin(
    kind: str, verb: str, place: Callable[[Hub], dict[str, str]]
) -> Callable[[Hub], Any]:
    def write_twin(hub: Hub) -> Any:
        where = place(hub)
        answer = hub.api.send(f"{kind}_{verb}Twin", where, headers={"If-Match": "*"}, body=TWIN)
        twin = answer.json()
        assert twin["tags"] == TWIN["tags"]
        desired = {k: v for k, v in twin["properties"]["desired"].items() if not k.startswith("$")}
        assert desired == TWIN["properties"]["desired"]
        assert twin["properties"]["desired"]["$version"] == 2
        stale = hub.api.send(
            f"{kind}_{verb}Twin", where, headers={"If-Match": '"stale"'}, body=TWIN
        )
        assert stale.status_code == 412
        return answer

    return write_twin


def _get_job(hub: Hub) -> Any:
    job = hub.job()
    answer = hub.api.send("Jobs_GetScheduledJob", {"id": job["jobId"]})
    assert answer.json()["jobId"] == job["jobId"]
    assert answer.json()["status"] in ("queued", "scheduled")
    return answer


def _put_job(hub: Hub) -> Any:
    name = name_of("job")
    body = {
        "jobId": name,
        "type": "scheduleDeviceMethod",
        "cloudToDeviceMethod": {
            "methodName": "reprovision",
            "payload": {"why": "contract"},
            "responseTimeoutInSeconds": 30,
        },
        "queryCondition": "deviceId = 'nobody'",
        "startTime": tomorrow(),
        "maxExecutionTimeInSeconds": 60,
    }
    answer = hub.api.send("Jobs_CreateScheduledJob", {"id": name}, body=body)
    assert answer.json()["jobId"] == name
    return answer


def _cancel_job(hub: Hub) -> Any:
    job = hub.job()
    answer = hub.api.send("Jobs_CancelScheduledJob", {"id": job["jobId"]})
    assert answer.json()["status"] == "cancelled"
    return answer


def _query_jobs(hub: Hub) -> Any:
    hub.job()
    return hub.api.send("Jobs_QueryScheduledJobs", query={"jobType": "scheduleUpdateTwin"})


def _list_modules(hub: Hub) -> Any:
    module = hub.module()
    answer = hub.api.send("Modules_GetModulesOnDevice", {"id": module["deviceId"]})
    assert answer.json() == [module]
    return answer


def _get_module(hub: Hub) -> Any:
    module = hub.module()
    place = {"id": module["deviceId"], "mid": module["moduleId"]}
    answer = hub.api.send("Modules_GetIdentity", place)
    assert answer.json() == module
    return answer


def _put_module(hub: Hub) -> Any:
    module = hub.module()
    place = {"id": module["deviceId"], "mid": module["moduleId"]}
    changed = {**module, "managedBy": "contract"}
    answer = hub.api.send(
        "Modules_CreateOrUpdateIdentity", place, headers={"If-Match": "*"}, body=changed
    )
    assert answer.json()["managedBy"] == "contract"
    return answer


def _delete_module(hub: Hub) -> Any:
    place = _module_place(hub)
    answer = hub.api.send("Modules_DeleteIdentity", place, headers={"If-Match": "*"})
    assert hub.api.send("Modules_GetIdentity", place).status_code == 404
    return answer


def _method(operation_id: str) -> Callable[[Hub], Any]:
    def call(hub: Hub) -> Any:
        body = {
            "methodName": "reprovision",
            "payload": {"why": "contract"},
            "responseTimeoutInSeconds": 30,
            "connectTimeoutInSeconds": WAIT_SECONDS,
        }
        answer = hub.api.send(operation_id, hub.place(operation_id), body=body)
        assert answer.json() == {"status": 200, "payload": {"why": "contract"}}
        return answer

    return call


def _purge(hub: Hub) -> Any:
    device = hub.device()["deviceId"]
    hub.message(device)
    answer = hub.api.send(
        "CloudToDeviceMessages_PurgeCloudToDeviceMessageQueue", {"id": device}
    )
    assert (answer.json()["deviceId"], answer.json()["totalMessagesPurged"]) == (device, 1)
    return answer


def _feedback(hub: Hub) -> Any:
    """What became of a message that was purged."""
    _purge(hub)
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        answer = hub.api.send("CloudToDeviceMessages_ReceiveFeedbackNotification")
        if answer.status_code == 200:
            assert "Purged" in answer.text
            return answer
        assert time.monotonic() < deadline, "no feedback"
        time.sleep(0.2)


def _settle_feedback(operation_id: str) -> Callable[[Hub], Any]:
    def settle(hub: Hub) -> Any:
        lock_token = _feedback(hub).headers["etag"][0].strip('"')
        return hub.api.send(operation_id, {"lockToken": lock_token})

    return settle


VALID: dict[str, Callable[[Hub], Any]] = {
    "Statistics_GetDeviceStatistics": _device_statistics,
    "Statistics_GetServiceStatistics": _service_statistics,
    "Devices_GetDevices": _list_devices,
    "BulkRegistry_UpdateRegistry": _bulk,
    "Query_GetTwins": _query,
    "Devices_GetIdentity": _get_device,
    "Devices_CreateOrUpdateIdentity": _put_device,
    "Devices_DeleteIdentity": _delete_device,
    "Devices_GetTwin": _get_twin("Devices", _device_place),
    "Devices_ReplaceTwin": _write_twin("Devices", "Replace", _device_place),
    "Devices_UpdateTwin": _write_twin("Devices", "Update", _device_place),
    "Modules_GetTwin": _get_twin("Modules", _module_place),
    "Modules_ReplaceTwin": _write_twin("Modules", "Replace", _module_place),
    "Modules_UpdateTwin": _write_twin("Modules", "Update", _module_place),
    "Jobs_GetScheduledJob": _get_job,
    "Jobs_CreateScheduledJob": _put_job,
    "Jobs_CancelScheduledJob": _cancel_job,
    "Jobs_QueryScheduledJobs": _query_jobs,
    "Modules_GetModulesOnDevice": _list_modules,
    "Modules_GetIdentity": _get_module,
    "Modules_CreateOrUpdateIdentity": _put_module,
    "Modules_DeleteIdentity": _delete_module,
    "CloudToDeviceMessages_PurgeCloudToDeviceMessageQueue": _purge,
    "CloudToDeviceMessages_ReceiveFeedbackNotification": _feedback,
    "CloudToDeviceMessages_CompleteFeedbackNotification": _settle_feedback(
        "CloudToDeviceMessages_CompleteFeedbackNotification"
    ),
    "CloudToDeviceMessages_AbandonFeedbackNotification": _settle_feedback(
        "CloudToDeviceMessages_AbandonFeedbackNotification"
    ),
    "Devices_InvokeMethod": _method("Devices_InvokeMethod"),
    "Modules_InvokeMethod": _method("Modules_InvokeMethod"),
}
