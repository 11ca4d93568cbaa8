"""The one list of what answers 501, each with its reason.

An operation that is in an OpenAPI file and neither here nor emulated fails a test; so does one that
is here and answers anything else.
"""

_ARM = "the subscription's catalogue, nothing of the instance"
_NETWORK = "private endpoints; a test double has no virtual network"

# Operations as a whole.
NOT_EMULATED: dict[str, str] = {
    "Operations_List": _ARM,
    "IotDpsResource_CheckProvisioningServiceNameAvailability": _ARM,
    "IotDpsResource_Delete": "the instance lives as long as the process",
    "IotDpsResource_GetOperationResult": "no operation goes on in the background",
    "IotDpsResource_Update": "tags",
    "IotDpsResource_listValidSkus": _ARM,
    "IotDpsResource_CreateOrUpdatePrivateEndpointConnection": _NETWORK,
    "IotDpsResource_DeletePrivateEndpointConnection": _NETWORK,
    "IotDpsResource_GetPrivateEndpointConnection": _NETWORK,
    "IotDpsResource_GetPrivateLinkResources": _NETWORK,
    "IotDpsResource_ListPrivateEndpointConnections": _NETWORK,
    "IotDpsResource_ListPrivateLinkResources": _NETWORK,
}

# What emulated operations refuse: words of the refusal, and the reason.
NOT_EMULATED_WITHIN: dict[str, dict[str, str]] = {
    "IotDpsResource_CreateOrUpdate": {
        "changing ": "the instance is what the configuration file says, but for its policies",
        "without the owner's policy": "its key is what connection strings were made of",
    },
}
