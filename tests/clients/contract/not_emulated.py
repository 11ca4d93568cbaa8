"""The one list of what answers 501, each with its reason.

An operation that is in an OpenAPI file and neither here nor emulated fails a test; so does one that
is here and answers anything else.
"""

_NETWORK = "private endpoints; a test double has no virtual network"
_CONFIGURATIONS = "there are no configurations and no IoT Edge deployments"
_STORAGE = "registries are not moved through storage accounts"
_DIGITAL_TWIN = "there is no digital twin API; use the device twin"

# Operations as a whole.
NOT_EMULATED: dict[str, str] = {
    "IotDpsResource_Delete": "the instance lives as long as the process",
    "IotDpsResource_CreateOrUpdatePrivateEndpointConnection": _NETWORK,
    "IotDpsResource_DeletePrivateEndpointConnection": _NETWORK,
    "IotDpsResource_GetPrivateEndpointConnection": _NETWORK,
    "IotDpsResource_GetPrivateLinkResources": _NETWORK,
    "IotDpsResource_ListPrivateEndpointConnections": _NETWORK,
    "IotDpsResource_ListPrivateLinkResources": _NETWORK,
    "Configuration_ApplyOnEdgeDevice": _CONFIGURATIONS,
    "Configuration_CreateOrUpdate": _CONFIGURATIONS,
    "Configuration_Delete": _CONFIGURATIONS,
    "Configuration_Get": _CONFIGURATIONS,
    "Configuration_GetConfigurations": _CONFIGURATIONS,
    "Configuration_TestQueries": _CONFIGURATIONS,
    "Jobs_CancelImportExportJob": _STORAGE,
    "Jobs_CreateImportExportJob": _STORAGE,
    "Jobs_GetImportExportJob": _STORAGE,
    "Jobs_GetImportExportJobs": _STORAGE,
    "DigitalTwin_GetDigitalTwin": _DIGITAL_TWIN,
    "DigitalTwin_InvokeComponentCommand": _DIGITAL_TWIN,
    "DigitalTwin_InvokeRootLevelCommand": _DIGITAL_TWIN,
    "DigitalTwin_UpdateDigitalTwin": _DIGITAL_TWIN,
}

# What emulated operations refuse: words of the refusal, and the reason.
NOT_EMULATED_WITHIN: dict[str, dict[str, str]] = {
    "IotDpsResource_CreateOrUpdate": {
        "changing ": "the instance is what the configuration file says, but for policies and links",
        "creating another": "there is one instance, named in the configuration file",
        "without the owner's policy": "its key is what connection strings were made of",
    },
    "IotDpsResource_Update": {
        "by PATCH": "the file knows tags alone there",
    },
}
