use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn fault(number: u32, kind: FaultKind, share: (u32, u32)) -> Fault {
    Fault {
        number,
        kind,
        from: HOUR,
        until: 2 * HOUR,
        share: Share {
            hits: share.0,
            of: share.1,
        },
    }
}

fn met(faults: &[Fault], devices: u32) -> Vec<Option<Arc<DeviceFaults>>> {
    let entropy = Entropy::new(1);
    let draw = |index| DeviceFaults::draw(faults, &entropy, &format!("dev-{index}"));
    (0..devices).map(draw).collect()
}

#[test]
fn a_share_of_the_devices_is_met_at_moments_within_the_time() {
    let lasts = Duration::from_secs(600);
    let faults = [
        fault(1, FaultKind::DropConnections { every: lasts }, (1, 4)),
        fault(2, FaultKind::PowerLoss { lasts }, (1, 10)),
    ];
    let (mut cut, mut dark, mut cuts) = (0, 0, 0);
    for drawn in met(&faults, 1000).into_iter().flatten() {
        let times = |wanted| drawn.mishaps.iter().filter(move |one| one.1 == wanted);
        assert!(drawn.mishaps.is_sorted_by_key(|(at, _)| *at));
        assert!(times(Mishap::Cut).all(|(at, _)| (HOUR..2 * HOUR).contains(at)));
        cut += u32::from(times(Mishap::Cut).count() > 0);
        cuts += times(Mishap::Cut).count();
        if let (Some(off), Some(on)) = (
            times(Mishap::PowerOff).next(),
            times(Mishap::PowerOn).next(),
        ) {
            assert_eq!(on.0, off.0 + lasts);
            assert!(HOUR <= off.0 && on.0 <= 2 * HOUR);
            dark += 1;
        }
    }
    assert!((200..300).contains(&cut), "{cut} of 1000");
    assert!((60..140).contains(&dark), "{dark} of 1000");
    let each = cuts / cut as usize;
    assert!(
        (4..8).contains(&each),
        "{each} cuts in six times ten minutes"
    );
}

#[test]
fn a_fault_left_out_leaves_the_others_as_they_were() {
    let every = Duration::from_secs(600);
    let cuts = fault(2, FaultKind::DropConnections { every }, (1, 2));
    let both = [fault(1, FaultKind::LoseReplies, (1, 2)), cuts.clone()];
    let alone = met(&[cuts], 50);
    for (with, without) in met(&both, 50).iter().zip(&alone) {
        let mishaps = |drawn: &Option<Arc<DeviceFaults>>| {
            drawn
                .as_ref()
                .map_or(Vec::new(), |drawn| drawn.mishaps.clone())
        };
        assert_eq!(mishaps(with), mishaps(without));
    }
    assert!(alone.iter().any(Option::is_none));
}

#[test]
fn bytes_are_late_or_lost_while_the_fault_lasts() {
    let by = Duration::from_secs(5);
    let late = fault(1, FaultKind::DelayReplies { by }, (1, 1));
    let mut lost = fault(2, FaultKind::LoseReplies, (1, 1));
    lost.until = HOUR + HOUR / 2;
    let drawn = met(&[late, lost], 1).remove(0).unwrap();
    let table = [
        (HOUR - Duration::from_millis(1), None),
        (HOUR, Some(OnTheWay::Lost)),
        (HOUR + HOUR / 2, Some(OnTheWay::Late(by))),
        (2 * HOUR, None),
    ];
    for (at, expected) in table {
        assert_eq!(drawn.on_the_way(at), expected, "{at:?}");
    }
}
