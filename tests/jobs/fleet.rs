//! Many devices moved by one job, and what is told of it (R-G34, R-G35).

use linarite_core::secret::SymmetricKey;

use super::*;

/// How many devices the fleets below have.
const FLEET: usize = 200;

/// A fleet whose devices answer `reprovision` and then roll to their next certificates.
async fn roll(lab: &Arc<Lab>) -> JoinSet<()> {
    lab.open_fleet().await;
    let mut fleet = JoinSet::new();
    let (ready, mut waiting) = tokio::sync::mpsc::channel(FLEET);
    for number in 0..FLEET {
        let (lab, ready) = (Arc::clone(lab), ready.clone());
        let name = format!("dev-{number:03}");
        fleet.spawn(async move {
            let leaf = |generation| -> Credential { lab.leaf(&name, generation, 30) };
            let mut session = lab.admit(&leaf(1)).await;
            session.subscribe(METHODS).await;
            ready.send(()).await.unwrap();
            // R-G26: first the answer, then the roll.
            let (called, _) = answer(&mut session, 202, r#"{"accepted":true}"#).await;
            assert_eq!(called, "reprovision");
            let next = leaf(2);
            assert_eq!(lab.register(&next).await.outcome(), "assigned");
            let session = lab.session(&next).await;
            assert!(session.is_ok(), "{name} is stranded");
        });
    }
    for _ in 0..FLEET {
        waiting.recv().await.unwrap();
    }
    fleet
}

async fn reprovision_all(lab: Lab) -> Duration {
    let lab = Arc::new(lab);
    let mut fleet = roll(&lab).await;
    let created = lab.put_job("roll", method_job("reprovision", "*")).await;
    assert_eq!(created.status, 200, "{created:?}");
    let job = lab.ended("roll").await;
    assert_eq!(job["status"], "completed");
    assert_eq!(job["deviceJobStatistics"]["succeededCount"], FLEET);
    while let Some(rolled) = fleet.join_next().await {
        rolled.unwrap();
    }
    let (outcomes, _) = lab
        .find(
            "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'roll'",
            64,
        )
        .await;
    assert_eq!(outcomes.len(), FLEET);
    for (number, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome["deviceId"], format!("dev-{number:03}"));
        let response = json!({ "status": 202, "payload": { "accepted": true } });
        assert_eq!(outcome["outcome"]["deviceMethodResponse"], response);
    }
    lab.duration("roll")
}

/// R-G35, R-G26, J13: at ten devices in a second, N devices take N/10 seconds.
#[tokio::test(start_paused = true)]
async fn a_roll_by_job_keeps_the_pace_of_its_tier() {
    let took = reprovision_all(Lab::with(tier(Edition::S1))).await;
    let last = Duration::from_millis((FLEET as u64 - 1) * 100);
    assert!(
        took >= last && took < last + Duration::from_secs(1),
        "{took:?}"
    );
}

/// R-G35, R-G26, J13: without a tier nothing holds it up.
#[tokio::test(start_paused = true)]
async fn a_roll_by_job_without_a_tier_takes_no_time() {
    let took = reprovision_all(Lab::start()).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// How many devices the largest fleet has.
const LARGE: usize = 5_000;

/// A fleet of devices with keys, each of which answers one `reprovision` and stays.
async fn connected(lab: &Arc<Lab>) -> JoinSet<Mqtt> {
    let key = SymmetricKey::from_bytes(&[7; 64]).unwrap().to_base64();
    let authentication = json!({ "type": "sas", "symmetricKey": { "primaryKey": key,
        "secondaryKey": key } });
    let name = |number: usize| format!("dev-{number:04}");
    let mut connection = lab.connection(None).await;
    for first in (0..LARGE).step_by(100) {
        let items = (first..first + 100).map(|number| {
            json!({ "id": name(number), "importMode": "create", "authentication": authentication })
        });
        let request = lab
            .hub_request("POST", "/devices")
            .json(Value::from_iter(items));
        let answer = connection.ask(&request).await;
        assert_eq!(answer.body["isSuccessful"], true, "{answer:?}");
    }
    let identity = json!({ "authentication": authentication });
    let mut fleet = JoinSet::new();
    for number in 0..LARGE {
        let mut session = lab.sas_session(&name(number), &identity).await;
        session.subscribe(METHODS).await;
        fleet.spawn(async move {
            let said = format!(r#"{{"number":{number}}}"#);
            let (called, payload) = answer(&mut session, 202, &said).await;
            assert_eq!((&*called, &payload["force"]), ("reprovision", &json!(true)));
            session
        });
    }
    fleet
}

/// R-G24, R-G33, R-G35, J13: five thousand devices at once, each with a result of its own, at the
/// pace of a tier and without one.
#[tokio::test(start_paused = true)]
async fn a_job_calls_five_thousand_devices() {
    let paced = Duration::from_millis((LARGE as u64 - 1) * 100);
    for (edition, least) in [(Some(Edition::S1), paced), (None, Duration::ZERO)] {
        let lab = Arc::new(Lab::with(|config| {
            if let Some(edition) = edition {
                tier(edition)(config);
            }
        }));
        let mut fleet = connected(&lab).await;
        let mut body = method_job("reprovision", "*");
        body["cloudToDeviceMethod"]["payload"] = json!({ "force": true });
        assert_eq!(lab.put_job("roll", body).await.status, 200);
        let job = lab.ended("roll").await;
        assert_eq!(job["deviceJobStatistics"]["succeededCount"], LARGE, "{job}");
        let took = lab.duration("roll");
        let longest = least + Duration::from_secs(1);
        assert!((least..longest).contains(&took), "{edition:?}: {took:?}");
        let mut sessions = Vec::new();
        while let Some(session) = fleet.join_next().await {
            sessions.push(session.unwrap());
        }
        let results = "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'roll'";
        let (outcomes, _) = lab.find(results, 1000).await;
        assert_eq!(outcomes.len(), LARGE);
        for (number, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome["deviceId"], format!("dev-{number:04}"));
            let response = json!({ "status": 202, "payload": { "number": number } });
            assert_eq!(outcome["outcome"]["deviceMethodResponse"], response);
        }
    }
}

/// Its progress is told once in a second, in numbers that only grow.
#[tokio::test(start_paused = true)]
async fn a_job_tells_of_its_progress() {
    let lab = Lab::with(tier(Edition::S1));
    for number in 0..25 {
        lab.add(&format!("d{number:02}")).await;
    }
    lab.put_job("job-1", twin_job("*")).await;
    lab.ended("job-1").await;
    let steps: Vec<_> = lab
        .events
        .after(0)
        .into_iter()
        .filter_map(|event| match event {
            Event::JobChanged {
                status,
                targets,
                succeeded,
                failed,
                ..
            } => Some((status, targets, succeeded, failed)),
            _ => None,
        })
        .collect();
    let expected = [
        ("queued", 0, 0, 0),
        ("running", 25, 0, 0),
        ("running", 25, 11, 0),
        ("running", 25, 21, 0),
        ("completed", 25, 25, 0),
    ];
    assert_eq!(steps, expected);
    assert_eq!(
        lab.since(EPOCH).as_millis() / 100,
        30,
        "looked at once in a second"
    );
}
