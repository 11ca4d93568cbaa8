"""The operator: published management and service clients, used as an Azure customer would."""

from __future__ import annotations

import time
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials import AccessToken
from azure.iot.deviceprovisioning import DeviceProvisioningClient
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from azure.mgmt.iothubprovisioningservices import IotDpsClient

from emulator import Emulator
from pki import Certificate, Pki

RESOURCE_GROUP = "any"


class AnyToken:
    """Stands in for an Entra ID credential."""

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken("x", int(time.time()) + 3600)


class Operator:
    """Acts on DPS and on its hub."""

    def __init__(self, emulator: Emulator) -> None:
        self.dps_name = emulator.dps_name
        ca = str(emulator.ca_file)
        self.management = IotDpsClient(
            AnyToken(),
            "00000000-0000-0000-0000-000000000000",
            base_url=f"https://{emulator.dps_host}:{emulator.https_port}",
            connection_verify=ca,
        )
        self.dps = DeviceProvisioningClient.from_connection_string(
            emulator.dps_connection_string, connection_verify=ca
        )
        self.hub = IoTHubRegistryManager.from_connection_string(emulator.hub_connection_string)

    def upload(self, name: str, authority: Certificate) -> Any:
        """Saves a CA certificate, unverified."""
        return self.management.dps_certificate.create_or_update(
            certificate_name=name,
            certificate_description={"properties": {"certificate": authority.certificate.read_bytes()}},
            **self._service(),
        )

    def prove(self, name: str, authority: Certificate, pki: Pki) -> Any:
        """Shows that the key of a saved CA certificate is ours."""
        challenge = self.management.dps_certificate.generate_verification_code(
            certificate_name=name, **self._unchanged(self.certificate(name))
        )
        answer = pki.leaf(challenge.properties.verification_code, authority)
        return self.management.dps_certificate.verify_certificate(
            certificate_name=name,
            request={"certificate": answer.pem},
            **self._unchanged(challenge),
        )

    def certificate(self, name: str) -> Any:
        return self.management.dps_certificate.get(certificate_name=name, **self._service())

    def save_group(self, name: str, primary: Certificate) -> Any:
        signing = {"primary": {"certificate": primary.pem}}
        return self.dps.enrollment_group.create_or_update(
            name,
            {
                "enrollmentGroupId": name,
                "attestation": {"type": "x509", "x509": {"signingCertificates": signing}},
            },
        )

    def save_individual(
        self,
        name: str,
        primary: Certificate,
        secondary: Certificate | None = None,
        if_match: str | None = None,
    ) -> Any:
        """Creates an entry; replaces the one that has the etag `if_match`."""
        slots = {"primary": {"certificate": primary.pem}}
        if secondary is not None:
            slots["secondary"] = {"certificate": secondary.pem}
        return self.dps.enrollment.create_or_update(
            name,
            {
                "registrationId": name,
                "attestation": {"type": "x509", "x509": {"clientCertificates": slots}},
            },
            if_match=if_match,
        )

    def registration(self, registration_id: str) -> Any:
        return self.dps.device_registration_state.get(registration_id)

    def registrations_in_group(self, name: str) -> list[Any]:
        return list(self.dps.device_registration_state.query(name))

    def thumbprint(self, device_id: str) -> str:
        """What the hub knows the device by."""
        authentication = self.hub.get_device(device_id).authentication
        assert authentication.type == "selfSigned"
        return authentication.x509_thumbprint.primary_thumbprint.upper()

    def desire(self, device_id: str, **properties: Any) -> Any:
        patch = Twin(properties=TwinProperties(desired=properties))
        return self.hub.update_twin(device_id, patch, "*")

    def reported(self, device_id: str) -> dict[str, Any]:
        return self.hub.get_twin(device_id).properties.reported

    def call(self, device_id: str, method: str, payload: Any) -> Any:
        request = CloudToDeviceMethod(
            method_name=method,
            payload=payload,
            response_timeout_in_seconds=20,
            connect_timeout_in_seconds=5,
        )
        return self.hub.invoke_device_method(device_id, request)

    def _service(self) -> dict[str, Any]:
        return {
            "resource_group_name": RESOURCE_GROUP,
            "provisioning_service_name": self.dps_name,
        }

    def _unchanged(self, resource: Any) -> dict[str, Any]:
        return {
            **self._service(),
            "etag": resource.etag,
            "match_condition": MatchConditions.IfNotModified,
        }
