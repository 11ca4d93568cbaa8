//! Does a registration cost more where many are registered?
//!
//! Unit as in `scale`: CPU time of a registration over an open session, by a device of a group.
//! Yardstick: the same in an instance with 100 devices registered and known to the hub, in place
//! of 10,000, 100,000 and 1,000,000, which is as many as there may be.
//!
//! The others register over desks, with certificates by value, so that a million of them take half
//! a minute and, with their records and identities, some gigabytes. One crowd is gone before the
//! next arrives.
//!
//! Estimate: records and identities are looked up by a hash; among ten thousand times as many that
//! is a few more cache misses, below 1 µs of 160.

use anyhow::{Context as _, ensure};
use bytes::BytesMut;
use linarite::pki::{Credential, Pki};
use linarite::wire::{PACKET_MAX, dps};
use linarite_core::certificate::vouched::Mould;
use linarite_core::certificate::{Certificate, Chain};
use linarite_emulator::Emulator;

use super::Instance;
use crate::common::ratio::{self, Effort, Subject, interleave};
use crate::common::stage::{self, HUB, ISSUER};
use crate::reprovision::runtime;

/// The device that is measured.
const DEVICE: &str = "of-a-group";

/// Devices of the yardstick.
const FEW: u32 = 100;

/// Devices of the figures.
const MANY: [(u32, &str); 3] = [
    (10_000, "registration among 10,000 devices"),
    (100_000, "registration among 100,000 devices"),
    (1_000_000, "registration among 1,000,000 devices"),
];

/// The same where the bench only has to show that it works.
const SOME: [(u32, &str); 1] = [(300, "registration among 300 devices")];

/// A registration among many over one among few.
pub(super) fn ratios(thorough: bool) -> anyhow::Result<Vec<ratio::Line>> {
    let runtime = runtime()?;
    let pki = stage::authorities()?;
    let credential = stage::credential(&pki, ISSUER, DEVICE, 1)?;
    let instance = |devices| -> anyhow::Result<Instance> {
        let instance = runtime.block_on(Instance::new(&pki, &credential, 0))?;
        runtime.block_on(async { crowd(&instance, &pki, devices) })?;
        Ok(instance)
    };
    let few = instance(FEW)?;
    let sizes: &[(u32, &'static str)] = if thorough { &MANY } else { &SOME };
    let mut lines = Vec::new();
    for &(devices, figure) in sizes {
        let many = instance(devices)?;
        let mut subjects: [Subject<'_>; 2] = [
            many.registering(&runtime, DEVICE, &credential)?,
            few.registering(&runtime, DEVICE, &credential)?,
        ];
        let samples = interleave(Effort::new(thorough, 60, 50), &mut subjects)?;
        lines.push(samples.line(figure, 0, ("the same among 100", 1), Some(1.2)));
    }
    Ok(lines)
}

/// Registers others until, with the device that is measured, `devices` are registered.
fn crowd(instance: &Instance, pki: &Pki, devices: u32) -> anyhow::Result<()> {
    let template = stage::credential(pki, ISSUER, &name(0), 1)?;
    let (mould, above) = mould(&template)?;
    for number in 1..devices {
        let leaf = mould.cast(&name(number), u64::from(number))?;
        let chain = Chain::new(leaf, above.iter().cloned());
        register(
            &instance.emulator,
            &instance.services.id_scope,
            &name(number),
            chain,
        )?;
    }
    Ok(())
}

fn name(number: u32) -> String {
    format!("crowd-{number:07}")
}

/// What makes leaves like that of `template`, and what is shown above them.
fn mould(template: &Credential) -> anyhow::Result<(Mould, Vec<Certificate>)> {
    let chain = template.chain();
    let mut read = chain.iter().map(|der| Certificate::from_der(der));
    let leaf = read.next().context("a credential without a leaf")??;
    let above = read.collect::<Result<Vec<_>, _>>()?;
    let issuer = above.first().context("a credential without an issuer")?;
    Ok((Mould::new(leaf, issuer)?, above))
}

/// Has a device registered over a desk.
fn register(emulator: &Emulator, id_scope: &str, id: &str, chain: Chain) -> anyhow::Result<()> {
    let mut desk = emulator.desk(Some(chain))?;
    let mut bytes = BytesMut::new();
    let packets = [
        dps::connect_packet(id_scope, id),
        dps::subscribe_packet(1),
        dps::register_packet(id, 2),
    ];
    for packet in packets {
        packet.write(&mut bytes, PACKET_MAX)?;
    }
    let said = desk.take(&bytes);
    // Its registration is carried out before it is answered, as there is no latency.
    let taken_up = b"$dps/registrations/res/202/";
    let is_taken_up = said.bytes.windows(taken_up.len()).any(|it| it == taken_up);
    ensure!(
        is_taken_up && !said.ended,
        "{id} is not registered at {HUB}"
    );
    Ok(())
}
