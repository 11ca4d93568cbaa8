"""Uploading a CA made by openssl, and proving that its key is ours."""

from __future__ import annotations

import pytest
from azure.core.exceptions import HttpResponseError

from operator_side import Operator
from pki import Pki


def test_a_root_is_verified_by_proof_of_possession(operator: Operator, pki: Pki, name: str) -> None:
    root = pki.root(f"{name}-root")

    uploaded = operator.upload(name, root)
    assert uploaded.properties.is_verified is False
    assert uploaded.properties.subject == f"{name}-root"

    verified = operator.prove(name, root, pki)
    assert verified.properties.is_verified is True
    assert operator.certificate(name).properties.is_verified is True
    assert verified.properties.thumbprint == uploaded.properties.thumbprint


def test_another_key_proves_nothing(operator: Operator, pki: Pki, name: str) -> None:
    root, stranger = pki.root(f"{name}-root"), pki.root(f"{name}-root")
    operator.upload(name, root)

    with pytest.raises(HttpResponseError) as refusal:
        operator.prove(name, stranger, pki)

    assert refusal.value.status_code == 400
    assert operator.certificate(name).properties.is_verified is False
