use std::time::Duration;

use linarite_env::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const EPOCH: UnixMillis = UnixMillis(1_000_000);

/// A function that knows ten devices, each by two names.
fn function() -> Arc<Function> {
    let env = Env::new(Clock::tokio(EPOCH), 1);
    let names = (0..10).flat_map(|n| [(n, format!("dev-{n}")), (n, format!("Dev-{n}-v2"))]);
    Function::new(env, names)
}

fn question(device: &str) -> Vec<u8> {
    let body = json!({ "deviceRuntimeContext": { "registrationId": device }, "linkedHubs": [] });
    body.to_string().into_bytes()
}

fn asked(function: &Function, device: &str) -> Reply {
    function.reply(&function.target(), &question(device))
}

fn status(reply: &Reply) -> u16 {
    match reply {
        Reply::Said(status, _) => status.as_u16(),
        Reply::Silence => 0,
    }
}

fn webhook(number: u32, share: (u32, u32), answer: WebhookAnswer) -> Fault {
    Fault {
        number,
        kind: FaultKind::WebhookErrors(answer),
        from: Duration::from_secs(10),
        until: Duration::from_secs(20),
        share: Share {
            hits: share.0,
            of: share.1,
        },
    }
}

/// R-B16.
#[tokio::test(start_paused = true)]
async fn the_latest_version_that_speaks_for_a_device_chooses() {
    let function = function();
    assert_eq!(status(&asked(&function, "dev-1")), 404, "nothing is there");
    function.deploy("h1.test", 1);
    function.deploy("h2.test", 4);
    let table = [
        ("dev-0", "h2.test"),
        ("dev-1", "h1.test"),
        ("DEV-8-v2", "h2.test"),
    ];
    for (device, host) in table {
        assert_eq!(asked(&function, device), chosen(host), "{device}");
    }
    function.deploy("h3.test", 1);
    assert_eq!(asked(&function, "dev-0"), chosen("h3.test"));
}

#[tokio::test(start_paused = true)]
async fn a_question_without_the_key_or_of_nobody_is_refused() {
    let function = function();
    function.deploy("h1.test", 1);
    let keyless = function.reply(PATH, &question("dev-1"));
    assert_eq!(status(&keyless), 401);
    assert_eq!(status(&asked(&function, "somebody")), 400);
    assert_eq!(status(&function.reply(&function.target(), b"{")), 400);
}

#[tokio::test(start_paused = true)]
async fn a_fault_meets_its_share_of_questions_while_it_lasts() {
    let function = function();
    function.deploy("h1.test", 1);
    let other = Fault {
        kind: FaultKind::LoseReplies,
        ..webhook(1, (1, 1), WebhookAnswer::Nothing)
    };
    function.fails(
        &[other, webhook(2, (1, 2), WebhookAnswer::Status(503))],
        EPOCH,
    );
    let mut met = 0;
    for second in 0..30 {
        for device in 0..10 {
            let reply = asked(&function, &format!("dev-{device}"));
            let failed = status(&reply) == 503;
            assert!(!failed || (10..20).contains(&second), "{second}");
            assert!(failed || reply == chosen("h1.test"));
            met += u32::from(failed);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(
        (30..70).contains(&met),
        "{met} of 100, where a half was asked for"
    );
}

#[tokio::test(start_paused = true)]
async fn each_failure_has_its_own_answer() {
    let table = [
        (WebhookAnswer::Status(418), 418, ""),
        (WebhookAnswer::Nothing, 0, ""),
        (WebhookAnswer::Nonsense, 200, "<html>"),
        (WebhookAnswer::UnlinkedHub, 200, NO_HUB),
    ];
    for (answer, code, words) in table {
        let function = function();
        function.deploy("h1.test", 1);
        function.fails(&[webhook(1, (1, 1), answer)], EPOCH);
        tokio::time::advance(Duration::from_secs(10)).await;
        let reply = asked(&function, "dev-1");
        assert_eq!(status(&reply), code, "{answer:?}");
        if let Reply::Said(_, body) = reply {
            assert!(body.contains(words) && !body.contains("h1.test"), "{body}");
        }
    }
}

/// Asks over a socket, and gives everything that comes back.
async fn exchange(hosted: &Hosted, request: &str) -> String {
    let url = hosted.url();
    let (host, _) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_function_is_served_at_a_port_for_as_long_as_it_is_kept() {
    let hosted = Hosted::on_loopback(function()).unwrap();
    hosted.function.deploy("h1.test", 1);
    let (target, body) = (hosted.function.target(), question("dev-1"));
    let body = String::from_utf8(body).unwrap();
    let post = |target: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: f\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let answer = exchange(&hosted, &post(&target)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.ends_with(r#"{"iotHubHostName":"h1.test"}"#),
        "{answer}"
    );
    let table = [
        (post("/api/allocate?code=guess"), "401"),
        (format!("GET {target} HTTP/1.1\r\nHost: f\r\n\r\n"), "405"),
    ];
    for (request, status) in table {
        let answer = exchange(&hosted, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    let url = hosted.url();
    let (host, _) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    drop(hosted);
    tokio::task::yield_now().await;
    assert!(TcpStream::connect(host).await.is_err());
}
