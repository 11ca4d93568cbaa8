//! A local Azure Device Provisioning Service and IoT Hub, as a library.
