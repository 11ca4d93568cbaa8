//! A thousand peers that hold a connection and say nothing, over real sockets: whoever means to
//! be served is served beside them, and the emulator ends each of them by its own time-outs.
//!
//! Time is virtual and moves only when a test says so. A paused clock jumps to the next timer
//! whenever nothing is ready, and bytes on their way through the kernel are not ready.

use std::net::SocketAddr;
use std::time::Duration;

use linarite::pki::Credential;
use linarite_emulator::limits::{CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT};
use linarite_env::Event;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::task::yield_now;

use crate::support::mqtt::{Connect, Mqtt, telemetry};
use crate::support::{DPS, Lab};

/// Peers that send nothing at all.
const MUTE: usize = 400;
/// Peers that send half a ClientHello.
const HALFWAY: usize = 400;
/// Peers that finish the handshake, then neither send nor read.
const IDLE: usize = 200;
/// Devices that do everything right.
const HONEST: usize = 40;

/// The beginning of a record that announces 512 bytes of handshake.
const HALF_A_HELLO: [u8; 11] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];

/// Turns of the runtime, each of which asks the kernel for news, between two steps of time.
const TURNS: u32 = 2000;
const STEP: Duration = Duration::from_millis(100);

/// Does `work` while virtual time goes by in small steps, no more than `bound` in all.
async fn within<T>(bound: Duration, work: impl Future<Output = T>) -> T {
    let time = async {
        let mut gone = Duration::ZERO;
        while gone < bound {
            for _ in 0..TURNS {
                yield_now().await;
            }
            tokio::time::advance(STEP).await;
            gone += STEP;
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        () = time => panic!("not done in {bound:?} of virtual time"),
    }
}

/// A client of MQTT after its handshake, over a socket.
async fn client(lab: &Lab, address: SocketAddr, credential: Option<&Credential>) -> Mqtt {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let (near, mut far) = tokio::io::duplex(16 * 1024);
    tokio::spawn(async move { copy_bidirectional(&mut far, &mut socket).await });
    let name = ServerName::try_from(DPS).unwrap();
    let connector = lab.connector(credential);
    let stream = connector.connect(name, near).await.unwrap();
    Mqtt { stream }
}

/// Registers a device, connects it and sends; gives its session.
async fn serve(lab: &Lab, address: SocketAddr, credential: &Credential) -> Mqtt {
    let id = credential.common_name();
    let registering = client(lab, address, Some(credential)).await;
    assert_eq!(registering.register(id).await.outcome(), "assigned");
    let mut session = client(lab, address, Some(credential)).await;
    assert_eq!(session.connect(&Connect::hub(id)).await.1, 0);
    session.publish(&telemetry(id), "well behaved").await;
    session
}

/// Reads to the end, orderly or not; gives how many bytes came.
async fn to_the_end(stream: &mut (impl AsyncRead + Unpin)) -> usize {
    let (mut bytes, mut chunk) = (0, [0; 256]);
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        bytes += count;
    }
    bytes
}

/// Handshakes that were cut off, and connections without a CONNECT that were, after `mark`.
fn cut_off(lab: &Lab, mark: usize) -> (usize, usize) {
    let events = lab.events.after(mark);
    let count = |matches: fn(&Event) -> bool| events.iter().filter(|it| matches(it)).count();
    let handshakes = count(
        |it| matches!(it, Event::HandshakeFailed { reason, .. } if reason.contains("not finished")),
    );
    let connects =
        count(|it| matches!(it, Event::ProtocolViolated { reason, .. } if reason.rule == "R-G12"));
    (handshakes, connects)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_silent_peers_cost_no_honest_device_its_service_and_are_ended() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let lab = Lab::with(|config| config.listen.mqtt = 0);
    lab.open_fleet().await;
    let address = lab.emulator.listen().await.unwrap().mqtt;
    let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());

    let arriving = async {
        let mut silent = Vec::new();
        for number in 0..MUTE + HALFWAY {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if number >= MUTE {
                stream.write_all(&HALF_A_HELLO).await.unwrap();
            }
            silent.push(stream);
        }
        let mut idle = Vec::new();
        for _ in 0..IDLE {
            idle.push(client(&lab, address, None).await);
        }
        (silent, idle)
    };
    let (mut silent, mut idle) = within(Duration::from_secs(5), arriving).await;

    let names: Vec<_> = (0..HONEST).map(|number| format!("good-{number}")).collect();
    let credentials: Vec<_> = names.iter().map(|name| lab.leaf(name, 1, 30)).collect();
    let devices = credentials.iter().map(|it| serve(&lab, address, it));
    let served = futures_util::future::join_all(devices);
    let mut sessions = within(Duration::from_secs(10), served).await;
    // Nobody was served in the place of somebody else: the silent ones are all still there.
    assert!(lab.since(began) < HANDSHAKE_TIMEOUT);
    assert_eq!((sessions.len(), cut_off(&lab, mark)), (HONEST, (0, 0)));

    let ending = async {
        for stream in &mut silent {
            assert_eq!(to_the_end(stream).await, 0, "an answer to silence");
        }
        assert!(lab.since(began) >= HANDSHAKE_TIMEOUT);
        for client in &mut idle {
            assert_eq!(to_the_end(&mut client.stream).await, 0);
        }
    };
    within(CONNECT_TIMEOUT, ending).await;
    assert_eq!(cut_off(&lab, mark), (MUTE + HALFWAY, IDLE));
    assert!(lab.since(began) >= CONNECT_TIMEOUT);

    // The sessions outlived them all.
    let sending = async {
        for (session, name) in sessions.iter_mut().zip(&names) {
            session.publish(&telemetry(name), "still here").await;
        }
    };
    within(Duration::from_secs(5), sending).await;
}
