"""An individual enrollment with two leaves: the roll before the first expires (J1)."""

from __future__ import annotations

import pytest
from azure.iot.device.exceptions import ClientError, CredentialError

from device_side import DeviceSide, eventually
from operator_side import Operator
from pki import Pki


def test_a_roll_through_the_secondary_slot(
    operator: Operator, devices: DeviceSide, pki: Pki, name: str
) -> None:
    primary, secondary = pki.self_signed_leaf(name), pki.self_signed_leaf(name)
    saved = operator.save_individual(name, primary)

    # The second leaf is unknown as long as its slot is empty.
    with pytest.raises(ClientError):
        devices.register(name, secondary)
    first = devices.register(name, primary).registration_state
    assert first.device_id == name

    with devices.client(name, primary) as old:
        old.connect()
        old.patch_twin_reported_properties({"serial": "kept over the roll"})
        thumbprint = operator.thumbprint(name)

        operator.save_individual(name, primary, secondary, if_match=saved["etag"])
        second = devices.register(name, secondary).registration_state
        assert (second.device_id, second.assigned_hub) == (first.device_id, first.assigned_hub)
        assert operator.thumbprint(name) != thumbprint
        assert old.connected
        old.send_message("the session stays")

        with devices.client(name, secondary) as new:
            new.connect()
            new.send_message("taken over")
            assert new.get_twin()["reported"]["serial"] == "kept over the roll"
            # One session per device; the old client may not come back.
            eventually("the first session ends", lambda: not old.connected)
            with devices.client(name, primary) as stale:
                with pytest.raises(CredentialError):
                    stale.connect()
            assert new.connected

    # Both leaves still register: DPS prefers neither (R-A11). The hub follows the last one.
    assert devices.register(name, primary).registration_state.device_id == name
    assert operator.thumbprint(name) == thumbprint
    with devices.client(name, primary) as back:
        back.connect()
        back.send_message("back again")


def test_leaves_signed_by_a_ca_need_it_verified(
    operator: Operator, devices: DeviceSide, pki: Pki, name: str
) -> None:
    """R-A12, with both slots filled from the start."""
    root = pki.root(f"{name}-root")
    intermediate = pki.intermediate(f"{name}-ca", root)
    leaves = [pki.leaf(name, intermediate), pki.leaf(name, intermediate)]
    sent = [pki.presented(leaf, intermediate, root) for leaf in leaves]
    operator.save_individual(name, *leaves)

    with pytest.raises(ClientError):
        devices.register(name, sent[0])

    operator.upload(name, root)
    operator.prove(name, root, pki)
    for presented in sent:
        assert devices.register(name, presented).registration_state.device_id == name
        with devices.client(name, presented) as client:
            client.connect()
            client.send_message("hello")
