//! Makes all certificates of a run before it begins, so that no time passes over them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use super::{Options, Times};
use crate::interrupt::Interrupt;
use crate::observation::{DeviceIndex, Generation};
use crate::pki::{Credential, Pki, PkiError};
use crate::scenario::{LeafKind, Scenario};

/// Every device's certificates, by generation and device.
type Issued = BTreeMap<Generation, Vec<Credential>>;

/// What authorities and devices show; less than all once `interrupt` is asked for.
pub(super) fn issue(
    scenario: &Scenario,
    options: &Options,
    times: &Times,
    interrupt: &Interrupt,
) -> Result<(Pki, Issued), PkiError> {
    let mut pki = Pki::new();
    for authority in &scenario.authorities {
        if let Some(given) = &authority.given {
            pki.add_given(&authority.name, given, authority.issuer.as_deref())?;
            continue;
        }
        let (from, until) = times.validity(&options.pace, authority.from, authority.until);
        let name = &authority.name;
        match (&authority.issuer, &authority.same_key_as) {
            (None, _) => pki.add_root(name, from, until)?,
            (Some(issuer), None) => pki.add_intermediate(name, issuer, from, until)?,
            (Some(issuer), Some(twin)) => {
                pki.add_cross_signed(name, twin, issuer, (from, until))?;
            }
        }
    }
    let mut issued = BTreeMap::new();
    for kind in &scenario.leaves {
        let validity = times.validity(&options.pace, kind.from, kind.until);
        issued.insert(
            kind.generation,
            leaves(&pki, scenario, kind, (options.devices, validity), interrupt)?,
        );
    }
    Ok((pki, issued))
}

/// One generation of leaves in the order of the devices, made on every core.
fn leaves(
    pki: &Pki,
    scenario: &Scenario,
    kind: &LeafKind,
    (devices, (from, until)): (u32, (i64, i64)),
    interrupt: &Interrupt,
) -> Result<Vec<Credential>, PkiError> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = devices.div_ceil(u32::try_from(workers).unwrap_or(1)).max(1);
    let shown = kind.chain.as_ref().map(|chain| {
        let certificate = |name| pki.certificate_der(name).cloned();
        chain
            .iter()
            .map(|name| certificate(name))
            .collect::<Result<Arc<[_]>, _>>()
    });
    let shown = &shown.transpose()?;
    let make = |first: u32| {
        let numbers = first..first.saturating_add(share).min(devices);
        let leaf = |index| {
            let name = kind.common_name_of(&scenario.registration_id(DeviceIndex(index)));
            let leaf = pki.leaf(&kind.issuer, &name, kind.generation, from, until)?;
            Ok(match shown {
                Some(issuers) => leaf.with_issuers(Arc::clone(issuers)),
                None => leaf,
            })
        };
        let numbers = numbers.take_while(|_| !interrupt.is_asked());
        numbers.map(leaf).collect::<Result<Vec<_>, PkiError>>()
    };
    let firsts = (0..devices).step_by(share as usize);
    thread::scope(|scope| {
        let parts: Vec<_> = firsts
            .map(|first| scope.spawn(move || make(first)))
            .collect();
        let mut all = Vec::new();
        for part in parts {
            match part.join() {
                Ok(made) => all.extend(made?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}
