//! A TPM 2.0 in software, as far as a device needs one at DPS: it unwraps keys.
//!
//! Written from part 1 of the TPM 2.0 Library alone, and strict: whatever a real TPM refuses to
//! activate, to import or to load, this one refuses too.

use std::sync::LazyLock;

use aws_lc_rs::agreement::{self, ECDH_P256, UnparsedPublicKey, agree};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use linarite_core::secret::SymmetricKey;
use serde_json::{Value, json};

/// What a key of the TPM is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rsa,
    P256,
}

/// The private part of a key.
enum Private {
    Rsa(OaepPrivateDecryptingKey),
    P256(agreement::PrivateKey),
}

/// A key that unwraps, and its `TPM2B_PUBLIC`.
struct Key {
    private: Private,
    public: Vec<u8>,
}

/// An endorsement key and a storage root key.
pub(crate) struct Tpm {
    endorsement: Key,
    storage: Key,
}

/// Why the TPM does not do what it is asked to.
pub(crate) type Refused = &'static str;

/// A TPM as the device SDKs set it up, to be shared: RSA keys take a while to make.
pub(crate) static TPM: LazyLock<Tpm> = LazyLock::new(|| Tpm::new(Kind::Rsa, Kind::Rsa));

/// Another one.
pub(crate) static STRANGER: LazyLock<Tpm> = LazyLock::new(|| Tpm::new(Kind::P256, Kind::P256));

/// The policy of the TCG's templates for endorsement keys: the hierarchy's password.
const ENDORSEMENT_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC, 0x8D, 0x46, 0xA5, 0xD7, 0x24,
    0xFD, 0x52, 0xD7, 0x6E, 0x06, 0x52, 0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA,
];

impl Tpm {
    pub(crate) fn new(endorsement: Kind, storage: Kind) -> Self {
        Self {
            endorsement: Key::new(endorsement, 0x0003_00B2, &ENDORSEMENT_POLICY),
            storage: Key::new(storage, 0x0003_0472, &[]),
        }
    }

    /// The endorsement key in base64.
    pub(crate) fn endorsement_key(&self) -> String {
        STANDARD.encode(&self.endorsement.public)
    }

    /// The storage root key in base64.
    pub(crate) fn storage_root_key(&self) -> String {
        STANDARD.encode(&self.storage.public)
    }

    /// What a device tells DPS of it.
    pub(crate) fn offer(&self) -> Value {
        json!({
            "endorsementKey": self.endorsement_key(),
            "storageRootKey": self.storage_root_key(),
        })
    }

    /// Activates the credential in the blob, imports the key with it, and loads the key.
    pub(crate) fn activate(&self, blob: &str) -> Result<SymmetricKey, Refused> {
        let blob = STANDARD.decode(blob).map_err(|_| "base64")?;
        let mut rest = &blob[..];
        let mut next = || sized(&mut rest);
        let (id_object, credential_seed) = (next()?, next()?);
        let (duplicate, duplicate_seed) = (next()?, next()?);
        let (public, _further) = (next()?, next()?);
        end(rest)?;

        let seed = self.endorsement.seed(credential_seed, "IDENTITY")?;
        let mut credential = &open(&seed, &name(&self.storage.public[2..]), id_object)?[..];
        let inner_key = sized(&mut credential)?;
        end(credential)?;

        let seed = self.storage.seed(duplicate_seed, "DUPLICATE")?;
        let wrapped = open(&seed, &name(public), duplicate)?;
        let object = decrypt(inner_key, &wrapped)?;
        let mut rest = &object[..];
        let integrity = sized(&mut rest)?;
        if integrity != sha256(&[rest, &name(public)].concat()) {
            return Err("the inner key did not fit");
        }
        let sensitive = sized(&mut rest)?;
        end(rest)?;
        load(public, sensitive)
    }
}

impl Key {
    fn new(kind: Kind, attributes: u32, policy: &[u8]) -> Self {
        let (private, number, detail) = match kind {
            Kind::Rsa => {
                let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
                let der = key.public_key().as_der().unwrap();
                // The modulus stands before the exponent, which takes five bytes.
                let end = der.as_ref().len() - 5;
                let modulus = der.as_ref()[end - 256..end].to_vec();
                let detail = [&[0x08, 0, 0, 0, 0, 0][..], &two(&modulus)].concat();
                let private = Private::Rsa(OaepPrivateDecryptingKey::new(key).unwrap());
                (private, [0, 0x01], detail)
            }
            Kind::P256 => {
                let key = agreement::PrivateKey::generate(&ECDH_P256).unwrap();
                let point = key.compute_public_key().unwrap();
                let (x, y) = point.as_ref()[1..].split_at(32);
                let detail = [&[0, 3, 0, 0x10][..], &two(x), &two(y)].concat();
                (Private::P256(key), [0, 0x23], detail)
            }
        };
        let area = [
            &number[..],
            &[0, 0x0B],
            &attributes.to_be_bytes(),
            &two(policy),
            &[0, 6, 0, 128, 0, 0x43, 0, 0x10],
            &detail,
        ];
        let public = two(&area.concat());
        Self { private, public }
    }

    /// The seed that was sent to this key.
    fn seed(&self, sent: &[u8], label: &str) -> Result<Vec<u8>, Refused> {
        let label = [label.as_bytes(), &[0]].concat();
        match &self.private {
            Private::Rsa(key) => {
                let mut plain = vec![0; key.min_output_size()];
                let (oaep, label) = (&OAEP_SHA256_MGF1SHA256, Some(&label[..]));
                let seed = key.decrypt(oaep, sent, &mut plain, label);
                seed.map(|seed| seed.to_vec())
                    .map_err(|_| "the seed was not sent to this RSA key")
            }
            Private::P256(key) => {
                let mut rest = sent;
                let (x, y) = (sized(&mut rest)?, sized(&mut rest)?);
                end(rest)?;
                let point = [&[4], x, y].concat();
                let own = key.compute_public_key().unwrap();
                let refused = "the seed was not sent to a point";
                let peer = UnparsedPublicKey::new(&ECDH_P256, point);
                agree(key, peer, refused, |shared| {
                    let round = [&[0, 0, 0, 1], shared, &label, x, &own.as_ref()[1..33]];
                    Ok(sha256(&round.concat()))
                })
            }
        }
    }
}

/// Opens what is protected for who has the seed, and belongs to the object `name`.
fn open(seed: &[u8], name: &[u8], protected: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut rest = protected;
    let seal = sized(&mut rest)?;
    let seal_key = kdf(seed, "INTEGRITY", &[], 32);
    if seal != mac(&seal_key, &[rest, name].concat()) {
        return Err("the seal is broken");
    }
    decrypt(&kdf(seed, "STORAGE", name, 16), rest)
}

/// What `TPM2_Import` and `TPM2_Load` look at before an object may be used.
fn load(public: &[u8], sensitive: &[u8]) -> Result<SymmetricKey, Refused> {
    let mut rest = public;
    let kind = taken(&mut rest, 4)?;
    let attributes = u32::from_be_bytes(taken(&mut rest, 4)?.try_into().unwrap());
    let policy = sized(&mut rest)?;
    let scheme = taken(&mut rest, 4)?;
    let unique = sized(&mut rest)?;
    end(rest)?;
    if (kind, policy, scheme) != (&[0, 8, 0, 0x0B], &[], &[0, 5, 0, 0x0B]) {
        return Err("not an HMAC key with SHA-256");
    }
    let (fixed, from_here) = (1 << 1 | 1 << 4, 1 << 5);
    let (password, restricted, decrypts, signs) = (1 << 6, 1 << 16, 1 << 17, 1 << 18);
    if attributes & (fixed | from_here | restricted | decrypts) != 0 {
        return Err("not an object that could be imported and sign");
    }
    if attributes & (password | signs) != password | signs {
        return Err("not an object that could be used with a password to sign");
    }
    let mut rest = sensitive;
    let kind = taken(&mut rest, 2)?;
    let (auth, obfuscation, key) = (sized(&mut rest)?, sized(&mut rest)?, sized(&mut rest)?);
    end(rest)?;
    if (kind, auth) != (&[0, 8], &[]) || obfuscation.len() != 32 || key.len() > 64 {
        return Err("not the sensitive area of an HMAC key without a password");
    }
    if unique != sha256(&[obfuscation, key].concat()) {
        return Err("public and sensitive area do not belong together");
    }
    SymmetricKey::from_bytes(key).map_err(|_| "a key of no use to a hub")
}

// === bytes ===

/// The next `count` bytes.
fn taken<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], Refused> {
    let (taken, after) = rest.split_at_checked(count).ok_or("too short")?;
    *rest = after;
    Ok(taken)
}

/// The next bytes, behind their length.
fn sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Refused> {
    let length = taken(rest, 2)?;
    taken(
        rest,
        usize::from(u16::from_be_bytes([length[0], length[1]])),
    )
}

fn end(rest: &[u8]) -> Result<(), Refused> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err("too long")
    }
}

/// `content` behind its length.
fn two(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&length.to_be_bytes()[..], content].concat()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

fn name(area: &[u8]) -> Vec<u8> {
    [&[0, 0x0B][..], &sha256(area)].concat()
}

fn mac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, bytes).as_ref().to_vec()
}

/// `KDFa`, one round.
fn kdf(key: &[u8], label: &str, context: &[u8], bytes: usize) -> Vec<u8> {
    let bits = u32::try_from(bytes * 8).unwrap().to_be_bytes();
    let round = [&[0, 0, 0, 1], label.as_bytes(), &[0], context, &bits].concat();
    mac(key, &round)[..bytes].to_vec()
}

/// AES-128-CFB from an IV of zeros, block by block.
fn decrypt(key: &[u8], bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    let key = UnboundCipherKey::new(&AES_128, key).map_err(|_| "no key of AES-128")?;
    let cipher = EncryptingKey::ecb(key).unwrap();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut register = [0; 16];
    for block in bytes.chunks(16) {
        cipher.encrypt(&mut register).unwrap();
        plain.extend(block.iter().zip(register).map(|(byte, mask)| byte ^ mask));
        register[..block.len()].copy_from_slice(block);
    }
    Ok(plain)
}
