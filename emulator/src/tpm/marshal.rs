//! How a TPM spells numbers and byte strings: big-endian, with two bytes of length in front.

use super::public::PublicAreaError;

/// A `TPM2B`: the content behind its length.
///
/// # Panics
/// If the content is longer than 65,535 bytes, which nothing made here is.
pub(super) fn sized(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("what is made here is short");
    [&length.to_be_bytes()[..], content].concat()
}

/// What is left to read of a structure.
#[derive(Clone, Debug)]
pub(super) struct Unread<'a>(pub(super) &'a [u8]);

impl<'a> Unread<'a> {
    /// The next `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], PublicAreaError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(PublicAreaError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next two bytes as a number.
    pub(super) fn u16(&mut self) -> Result<u16, PublicAreaError> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// The next four bytes as a number.
    pub(super) fn u32(&mut self) -> Result<u32, PublicAreaError> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The content of the next `TPM2B`.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], PublicAreaError> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    /// Whether nothing is left.
    pub(super) fn end(&self) -> Result<(), PublicAreaError> {
        match self.0.len() {
            0 => Ok(()),
            bytes => Err(PublicAreaError::Trailing { bytes }),
        }
    }
}
