//! The public keys of TPMs in JSON (wire 3.4, ENDPOINTS 2): base64 of a `TPM2B_PUBLIC`.

use linarite_core::dps::attestation::tpm::{TpmKey, TpmKeys};
use serde_json::{Value, json};

use super::reader::Reader;
use crate::error::ServiceError;
use crate::tpm::PublicArea;

const ENDORSEMENT_KEY: &str = "endorsementKey";
const STORAGE_ROOT_KEY: &str = "storageRootKey";

/// The keys an operator enrolls; the storage root key may be left to the device.
pub(in crate::wire) fn read_enrolled(
    tpm: &Reader<'_>,
) -> Result<(TpmKey, Option<TpmKey>), ServiceError> {
    Ok((
        required(tpm, ENDORSEMENT_KEY)?,
        read(tpm, STORAGE_ROOT_KEY)?,
    ))
}

/// The keys a device offers.
pub(super) fn read_offered(tpm: &Reader<'_>) -> Result<TpmKeys, ServiceError> {
    Ok(TpmKeys {
        endorsement_key: required(tpm, ENDORSEMENT_KEY)?,
        storage_root_key: required(tpm, STORAGE_ROOT_KEY)?,
    })
}

/// The keys a device offered, as it spelt them.
pub(super) fn offered(keys: &TpmKeys) -> Value {
    json!({
        ENDORSEMENT_KEY: keys.endorsement_key.to_base64(),
        STORAGE_ROOT_KEY: keys.storage_root_key.to_base64(),
    })
}

fn required(tpm: &Reader<'_>, name: &str) -> Result<TpmKey, ServiceError> {
    read(tpm, name)?.ok_or_else(|| tpm.wrong(name, "required"))
}

/// A key that a secret can be sent to; nothing else is let in.
fn read(tpm: &Reader<'_>, name: &str) -> Result<Option<TpmKey>, ServiceError> {
    let Some(text) = tpm.text(name)? else {
        return Ok(None);
    };
    let key = TpmKey::from_base64(text).map_err(|error| tpm.wrong(name, error))?;
    PublicArea::parse(key.bytes()).map_err(|error| tpm.wrong(name, error))?;
    Ok(Some(key))
}
