//! A fingerprint of a run, equal for equal seeds in virtual time.
//!
//! Each device has one chain of hashes over what it observed and one over what the emulator
//! reported of it; the run's hash is taken over all chains in the order of the devices. So the
//! order within a device counts, and the order in which the runtime happened to run two
//! devices in the same millisecond does not. Entries hold names, never bytes drawn at random.

use std::fmt::Write as _;

use aws_lc_rs::digest;

type Chain = [u8; 32];

#[derive(Debug)]
pub(super) struct Trace {
    observed: Vec<Chain>,
    reported: Vec<Chain>,
    service: Chain,
    line: String,
}

impl Trace {
    pub(super) fn new(devices: usize) -> Self {
        Self {
            observed: vec![[0; 32]; devices],
            reported: vec![[0; 32]; devices],
            service: [0; 32],
            line: String::new(),
        }
    }

    pub(super) fn observed(&mut self, device: u32, at_ms: i64, what: &str) {
        if let Some(chain) = self.observed.get_mut(device as usize) {
            link(chain, &mut self.line, at_ms, what);
        }
    }

    pub(super) fn reported(&mut self, device: Option<u32>, at_ms: i64, what: &str) {
        let chain = match device {
            Some(device) => self.reported.get_mut(device as usize),
            None => Some(&mut self.service),
        };
        if let Some(chain) = chain {
            link(chain, &mut self.line, at_ms, what);
        }
    }

    /// The run's hash in hex digits.
    pub(super) fn hash(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for (observed, reported) in self.observed.iter().zip(&self.reported) {
            context.update(observed);
            context.update(reported);
        }
        context.update(&self.service);
        let mut hex = String::with_capacity(64);
        for byte in context.finish().as_ref() {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

fn link(chain: &mut Chain, line: &mut String, at_ms: i64, what: &str) {
    line.clear();
    let _ = write!(line, "{at_ms} {what}");
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(chain);
    context.update(line.as_bytes());
    chain.copy_from_slice(context.finish().as_ref());
}
