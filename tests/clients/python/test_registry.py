"""The identity registry as a back end uses it: devices, modules, twins, bulk, statistics
(R-G1 to R-G3, R-G20 to R-G22, R-F10)."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

import pytest
from azure.iot.hub.models import ExportImportDevice, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from operator_side import Operator

NEVER = "0001-01-01T00:00:00"


def _key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def _thumbprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest().upper()


def _refused(refusal: pytest.ExceptionInfo[HttpOperationError], status: int, name: str) -> None:
    response = refusal.value.response
    assert response.status_code == status
    assert response.headers["iothub-errorcode"] == name
    assert response.json()["Message"].startswith(f"ErrorCode:{name};")


def test_devices_of_each_mechanism(operator: Operator, name: str) -> None:
    hub = operator.hub
    primary, secondary = _key(), _key()
    made = hub.create_device_with_sas(
        f"{name}-sas", primary, secondary, "enabled", status_reason="new"
    )
    assert (made.device_id, made.status, made.status_reason) == (f"{name}-sas", "enabled", "new")
    assert made.authentication.type == "sas"
    assert made.authentication.symmetric_key.primary_key == primary
    assert made.authentication.symmetric_key.secondary_key == secondary
    assert made.connection_state == "Disconnected"
    assert made.last_activity_time.isoformat().startswith(NEVER)
    assert made.cloud_to_device_message_count == 0
    assert made.capabilities.iot_edge is False

    prints = _thumbprint("first"), _thumbprint("second")
    made = hub.create_device_with_x509(f"{name}-x509", *prints, "disabled", iot_edge=True)
    assert (made.status, made.authentication.type) == ("disabled", "selfSigned")
    assert made.authentication.x509_thumbprint.secondary_thumbprint == prints[1]
    assert made.capabilities.iot_edge is True
    assert made.device_scope == f"ms-azure-iot-edge://{name}-x509-{made.generation_id}"

    made = hub.create_device_with_certificate_authority(f"{name}-ca", "enabled")
    assert made.authentication.type == "certificateAuthority"

    with pytest.raises(HttpOperationError) as refusal:
        hub.create_device_with_sas(f"{name}-sas", primary, secondary, "enabled")
    _refused(refusal, 409, "DeviceAlreadyExists")
    listed = {device.device_id for device in hub.get_devices(1000)}
    assert {f"{name}-sas", f"{name}-x509", f"{name}-ca"} <= listed
    assert len(hub.get_devices(2)) == 2


def test_a_device_changes_by_its_etag(operator: Operator, name: str) -> None:
    hub = operator.hub
    first = hub.create_device_with_sas(name, _key(), _key(), "enabled")
    prints = _thumbprint("a"), _thumbprint("b")
    second = hub.update_device_with_x509(
        name, first.etag, *prints, "disabled", status_reason="lost"
    )
    assert (second.status, second.status_reason) == ("disabled", "lost")
    assert second.etag != first.etag
    assert second.generation_id == first.generation_id
    assert not second.status_updated_time.isoformat().startswith(NEVER)
    assert hub.get_device(name).authentication.type == "selfSigned"

    with pytest.raises(HttpOperationError) as refusal:
        hub.update_device_with_certificate_authority(name, first.etag, "enabled")
    _refused(refusal, 412, "PreconditionFailed")
    with pytest.raises(HttpOperationError) as refusal:
        hub.delete_device(name, first.etag)
    _refused(refusal, 412, "PreconditionFailed")
    hub.delete_device(name, second.etag)
    with pytest.raises(HttpOperationError) as refusal:
        hub.get_device(name)
    _refused(refusal, 404, "DeviceNotFound")


def test_modules_and_their_twins(operator: Operator, name: str) -> None:
    hub = operator.hub
    with pytest.raises(HttpOperationError) as refusal:
        hub.create_module_with_certificate_authority(name, "mod", "me")
    _refused(refusal, 404, "DeviceNotFound")
    hub.create_device_with_sas(name, "", "", "enabled")
    assert hub.get_modules(name) == []

    made = hub.create_module_with_sas(name, "mod", "me", _key(), _key())
    assert (made.device_id, made.module_id, made.managed_by) == (name, "mod", "me")
    hub.create_module_with_x509(name, "other", "me", _thumbprint("a"), _thumbprint("b"))
    assert [module.module_id for module in hub.get_modules(name)] == ["mod", "other"]
    changed = hub.update_module_with_x509(
        name, "mod", "you", made.etag, _thumbprint("c"), _thumbprint("d")
    )
    assert (changed.managed_by, changed.authentication.type) == ("you", "selfSigned")
    assert hub.get_module(name, "mod").etag == changed.etag

    patch = Twin(tags={"site": "plant"}, properties=TwinProperties(desired={"speed": 3}))
    twin = hub.update_module_twin(name, "mod", patch, "*")
    assert twin.tags == {"site": "plant"}
    assert twin.properties.desired["speed"] == 3
    whole = Twin(properties=TwinProperties(desired={"fan": 1}))
    twin = hub.replace_module_twin(name, "mod", whole, twin.etag)
    assert twin.properties.desired["fan"] == 1
    assert "speed" not in twin.properties.desired
    assert hub.get_module_twin(name, "mod").module_id == "mod"
    assert "fan" not in hub.get_twin(name).properties.desired

    hub.delete_module(name, "other")
    hub.delete_module(name, "mod", changed.etag)
    with pytest.raises(HttpOperationError) as refusal:
        hub.get_module_twin(name, "mod")
    _refused(refusal, 404, "ModuleNotFound")


def test_twins_change_by_their_etag(operator: Operator, name: str) -> None:
    hub = operator.hub
    device = hub.create_device_with_sas(name, _key(), _key(), "enabled")
    before = hub.get_twin(name)
    assert before.device_etag == device.etag
    patch = Twin(tags={"a": 1, "b": {"c": 2}}, properties=TwinProperties(desired={"x": [1, "2"]}))
    after = hub.update_twin(name, patch, before.etag)
    assert after.etag != before.etag
    assert after.tags == {"a": 1, "b": {"c": 2}}
    assert after.properties.desired["x"] == [1, "2"]
    assert after.properties.desired["$version"] == 2
    assert hub.get_device(name).etag == device.etag, "the identity is another version"
    with pytest.raises(HttpOperationError) as refusal:
        hub.update_twin(name, patch, before.etag)
    _refused(refusal, 412, "PreconditionFailed")
    deleted = hub.update_twin(name, Twin(tags={"a": None}), "*")
    assert deleted.tags == {"b": {"c": 2}}
    with pytest.raises(HttpOperationError) as refusal:
        hub.update_twin(name, Twin(tags={"a.b": 1}), "*")
    _refused(refusal, 400, "ArgumentInvalid")


def test_bulk_operations(operator: Operator, name: str) -> None:
    hub = operator.hub
    ids = [f"{name}-{number}" for number in range(100)]
    made = hub.bulk_create_or_update_devices([_item(id, "create") for id in ids])
    assert (made.is_successful, made.errors, made.warnings) == (True, [], [])
    twins = [
        _item(ids[0], "updateTwin", tags={"site": "plant"}),
        _item(ids[1], "update", status="disabled", status_reason="lost"),
        _item(ids[2], "create"),
        _item(ids[3], "deleteIfMatchETag", e_tag="another"),
        _item(ids[4], "delete"),
        _item(ids[5], "create", module_id="part"),
    ]
    mixed = hub.bulk_create_or_update_devices(twins)
    assert mixed.is_successful is False
    failed = {error.device_id: (error.error_code, error.operation) for error in mixed.errors}
    assert failed == {ids[2]: ("409001", "create"), ids[3]: ("412001", "deleteIfMatchETag")}
    assert hub.get_twin(ids[0]).tags == {"site": "plant"}
    assert hub.get_device(ids[1]).status_reason == "lost"
    assert hub.get_module(ids[5], "part").module_id == "part"
    with pytest.raises(HttpOperationError) as refusal:
        hub.get_device(ids[4])
    _refused(refusal, 404, "DeviceNotFound")
    with pytest.raises(HttpOperationError) as refusal:
        hub.bulk_create_or_update_devices([_item(f"{id}-x", "create") for id in [*ids, "101"]])
    _refused(refusal, 413, "TooManyDevices")


def test_statistics(operator: Operator, name: str) -> None:
    hub = operator.hub
    before = hub.get_device_registry_statistics()
    hub.create_device_with_sas(f"{name}-on", "", "", "enabled")
    hub.create_device_with_sas(f"{name}-off", "", "", "disabled")
    after = hub.get_device_registry_statistics()
    assert after.total_device_count == before.total_device_count + 2
    assert after.enabled_device_count == before.enabled_device_count + 1
    assert after.disabled_device_count == before.disabled_device_count + 1
    assert hub.get_service_statistics().connected_device_count >= 0


def _item(device_id: str, mode: str, **members: Any) -> ExportImportDevice:
    return ExportImportDevice(id=device_id, import_mode=mode, **members)
