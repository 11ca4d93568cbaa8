//! Proof that whoever uploaded a CA certificate holds its key.

use crate::certificate::Certificate;

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PossessionError {
    /// Nobody asked for a code, so nothing can carry it.
    #[error("No verification code was generated; call generateVerificationCode first.")]
    NoCode,
    /// The proof is for another code.
    #[error("The common name of the certificate is not the verification code.")]
    OtherCode,
    /// Somebody else signed it.
    #[error("The certificate is not signed by the CA's key.")]
    NotSigned,
}

/// Judges whether `proof` carries `code` and is signed by `authority`.
///
/// Errors:  in the order of [`PossessionError`].
/// Cost:    one signature check.
/// Source:  behaviour.md R-D3.
pub fn prove(
    authority: &Certificate,
    code: Option<&str>,
    proof: &Certificate,
) -> Result<(), PossessionError> {
    let code = code.ok_or(PossessionError::NoCode)?;
    let named = proof
        .common_name()
        .is_some_and(|name| name.eq_ignore_ascii_case(code));
    if !named {
        return Err(PossessionError::OtherCode);
    }
    if proof.verify_signed_by(authority) {
        Ok(())
    } else {
        Err(PossessionError::NotSigned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_pki::Authority;

    /// R-D3.
    #[test]
    fn a_proof_carries_the_code_and_the_authoritys_signature() {
        let (root, stranger) = (Authority::root("root"), Authority::root("stranger"));
        let table = [
            (None, root.issue("1A2B"), Err(PossessionError::NoCode)),
            (Some("1A2B"), root.issue("1A2B"), Ok(())),
            (Some("1a2b"), root.issue("1A2B"), Ok(())),
            (
                Some("FFFF"),
                root.issue("1A2B"),
                Err(PossessionError::OtherCode),
            ),
            (
                Some("1A2B"),
                stranger.issue("1A2B"),
                Err(PossessionError::NotSigned),
            ),
        ];
        for (code, proof, outcome) in table {
            assert_eq!(prove(&root.certificate, code, &proof), outcome, "{code:?}");
        }
    }
}
