"""The published management client: the life of a root, and the instance itself."""

from __future__ import annotations

import copy

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError

from emulator import Emulator
from operator_side import RESOURCE_GROUP, Operator
from pki import Pki


def test_root_lives_from_upload_to_deletion(operator: Operator, pki: Pki, name: str) -> None:
    """R-D1 to R-D6, R-F1: each write takes the etag that the one before gave."""
    root = pki.root(name)
    uploaded = operator.upload(name, root)
    assert uploaded.properties.is_verified is False
    verified = operator.prove(name, root, pki)
    assert verified.properties.is_verified is True
    assert verified.etag != uploaded.etag
    assert operator.certificate(name).etag == verified.etag
    service = {
        "resource_group_name": RESOURCE_GROUP,
        "provisioning_service_name": operator.dps_name,
    }
    listed = operator.management.dps_certificate.list(**service)
    names = [one.name for one in getattr(listed, "value", listed)]
    assert name in names

    def delete(etag: str) -> None:
        operator.management.dps_certificate.delete(
            certificate_name=name,
            etag=etag,
            match_condition=MatchConditions.IfNotModified,
            **service,
        )

    with pytest.raises(HttpResponseError) as stale:
        delete(uploaded.etag)
    assert stale.value.status_code == 412
    delete(verified.etag)
    with pytest.raises(HttpResponseError) as gone:
        operator.certificate(name)
    assert gone.value.status_code == 404


def test_instance_is_changed_and_changed_back(operator: Operator, emulator: Emulator) -> None:
    """R-B11, R-B12, R-F1, R-F9."""
    resource = operator.management.iot_dps_resource
    service = {
        "resource_group_name": RESOURCE_GROUP,
        "provisioning_service_name": operator.dps_name,
    }
    before = resource.get(**service)
    assert before.properties.id_scope == emulator.id_scope
    assert [one.name for one in resource.list_by_subscription()] == [operator.dps_name]
    keys = resource.list_keys(**service)
    assert "provisioningserviceowner" in [key.key_name for key in keys]

    def write(policy: str, weight: int) -> object:
        description = copy.deepcopy(before)
        description.properties.allocation_policy = policy
        description.properties.iot_hubs[0].allocation_weight = weight
        written = resource.begin_create_or_update(
            iot_dps_description=description, **service
        ).result()
        hub = written.properties.iot_hubs[0]
        assert (written.properties.allocation_policy, hub.allocation_weight) == (policy, weight)
        return written

    policy = before.properties.allocation_policy
    weight = before.properties.iot_hubs[0].allocation_weight
    write("Static", weight + 6)
    after = write(policy, weight)
    assert after.etag != before.etag
    tagged = resource.begin_update(
        provisioning_service_tags={"tags": {"stage": "test"}}, **service
    ).result()
    assert tagged.tags == {"stage": "test"}
    resource.begin_update(provisioning_service_tags={"tags": {}}, **service).result()
