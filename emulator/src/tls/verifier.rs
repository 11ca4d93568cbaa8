//! A client certificate verifier that believes anybody who holds the key to what they show.
//!
//! Who may vouch for a device is written in enrollments and identities, not in a trust store,
//! so the chain is left to the rules. Only its length is bounded here, before anything parses it.

use linarite_core::certificate::Certificate;
use linarite_core::limits::CHAIN_LENGTH_MAX;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::RawPublicKeyEntity;

/// See the module's page. Dangerous anywhere but in front of the rules.
#[derive(Debug)]
pub(super) struct DangerBelievesAnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl DangerBelievesAnyCertificate {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// Checks the handshake's signature against the bare key of `certificate`.
    ///
    /// rustls's own helper reads the whole certificate and refuses those of version 1, which
    /// `openssl x509 -req` still makes and Azure takes.
    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = Certificate::from_der(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let spki = SubjectPublicKeyInfoDer::from(certificate.public_key_info());
        let key = RawPublicKeyEntity::try_from(&spki)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let candidates = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .map_or(&[][..], |(_, algorithms)| algorithms);
        let verified = candidates.iter().any(|algorithm| {
            key.verify_signature(*algorithm, message, signed.signature())
                .is_ok()
        });
        if verified {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::BadSignature))
        }
    }
}

impl ClientCertVerifier for DangerBelievesAnyCertificate {
    /// Empty: certificates are asked for without naming a CA (W22).
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() + 1 > CHAIN_LENGTH_MAX {
            return Err(Error::General(format!(
                "a chain of {} certificates; at most {CHAIN_LENGTH_MAX} are accepted",
                intermediates.len() + 1
            )));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // TLS 1.3 forbids PKCS #1 v1.5 in its own signatures (RFC 8446, 4.2.3).
        if matches!(
            signed.scheme,
            SignatureScheme::RSA_PKCS1_SHA256
                | SignatureScheme::RSA_PKCS1_SHA384
                | SignatureScheme::RSA_PKCS1_SHA512
        ) {
            return Err(Error::InvalidCertificate(CertificateError::BadSignature));
        }
        self.verify_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
