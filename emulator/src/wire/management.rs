//! CA certificates as the management API spells them (ENDPOINTS 5, behaviour D).

pub(crate) mod catalogue;
pub(crate) mod hub;
pub(crate) mod instance;
mod links;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use linarite_core::certificate::{Certificate, Thumbprint};
use linarite_env::UnixMillis;
use serde_json::{Value, json};

use super::reader::Reader;
use crate::error::ServiceError;
use crate::names::rfc1123;
use crate::store::certificates::StoredCa;

/// Reads the body of `PUT …/certificates/{name}`; gives the certificate and whether it counts as
/// verified without proof (R-D2). Before 2021 the members stood outside `properties`.
pub(crate) fn read_certificate(body: &Value) -> Result<(Certificate, bool), ServiceError> {
    let body = Reader::root(body)?;
    let nested = body.object("properties")?;
    let members = if nested.is_present() { &nested } else { &body };
    let text = members
        .text("certificate")?
        .ok_or_else(|| members.wrong("certificate", "required"))?;
    let certificate = Certificate::from_pem_or_base64(text)
        .map_err(|error| members.wrong("certificate", error))?;
    Ok((certificate, members.flag("isVerified")?.unwrap_or(false)))
}

/// Reads the body of `POST …/verify`.
pub(crate) fn read_proof(body: &Value) -> Result<Certificate, ServiceError> {
    let body = Reader::root(body)?;
    let text = body
        .text("certificate")?
        .ok_or_else(|| body.wrong("certificate", "required"))?;
    Certificate::from_pem_or_base64(text).map_err(|error| body.wrong("certificate", error))
}

/// A certificate as the API shows it, below the address of whose it is; `with_code` adds the
/// verification code.
pub(crate) fn certificate(
    stored: &StoredCa,
    resource: &str,
    resource_type: &str,
    with_code: bool,
) -> Value {
    let mut properties = json!({
        "subject": stored.certificate.common_name().unwrap_or(stored.certificate.subject()),
        "expiry": rfc1123(UnixMillis(
            stored.certificate.validity().not_after.0.saturating_mul(1000),
        )),
        "thumbprint": Thumbprint::Sha1(stored.certificate.sha1()).to_string(),
        "isVerified": stored.verified,
        "certificate": STANDARD.encode(stored.certificate.der()),
        "created": rfc1123(stored.created),
        "updated": rfc1123(stored.updated),
    });
    if with_code {
        properties["verificationCode"] = stored.verification_code.as_deref().into();
    }
    json!({
        "id": format!("{resource}/certificates/{}", stored.name),
        "name": stored.name.as_str(),
        "type": resource_type,
        "etag": stored.etag.as_str(),
        "properties": properties,
    })
}

/// How an error's number is spelled: text by hubs, and by DPS before 2022-12-12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeAs {
    Number,
    Text,
}

/// The error body (`ErrorDetails`).
pub(crate) fn error(error: &ServiceError, code: CodeAs) -> Value {
    json!({
        "code": match code {
            CodeAs::Number => Value::from(error.code),
            CodeAs::Text => error.code.to_string().into(),
        },
        "httpStatusCode": error.status().to_string(),
        "message": error.message,
        "details": format!("{} ({})", error.name, error.rule),
    })
}
