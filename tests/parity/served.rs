//! Holds the table of operations to what is served: an operation is answered with 501 if and
//! only if the table says that it is not emulated.

use linarite::parity::{Api, Operation, State};

use super::table;
use crate::support::http::Request;
use crate::support::{DPS, HUB, Lab, SCOPE};

/// The call of an operation, with the laboratory's names in its path.
fn request(api: &Api, operation: &Operation) -> Request {
    let methods = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"];
    let method = methods
        .into_iter()
        .find(|method| *method == operation.method);
    let hub = HUB.split('.').next().unwrap();
    let mut path = String::new();
    for segment in operation.path.split('/').skip(1) {
        path += "/";
        path += match segment {
            "{idScope}" => SCOPE,
            "{provisioningServiceName}" => "linarite-dps",
            "{resourceName}" if operation.path.contains("/provisioningServices/") => "linarite-dps",
            "{resourceName}" | "{iotHubName}" => hub,
            parameter if parameter.starts_with('{') => "some",
            literal => literal,
        };
    }
    let host = match api.name.as_str() {
        name if name.contains("management") => "management.azure.com",
        name if name.starts_with("DPS") => DPS,
        _ => HUB,
    };
    let path = format!("{path}?api-version={}", api.version);
    Request::new(method.unwrap(), host, path)
}

#[tokio::test(start_paused = true)]
async fn operations_are_answered_as_the_table_says() {
    let lab = Lab::start();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for api in &table().apis {
        for operation in &api.operations {
            let answer = lab.ask(&request(api, operation), None).await;
            asked += 1;
            let refused = answer.status == 501;
            if refused != (operation.state == State::NotEmulated) {
                wrong.push(format!(
                    "{} {} ({}) is {} by the table, and answered with {}",
                    operation.method,
                    operation.path,
                    operation.id,
                    operation.state.name(),
                    answer.status
                ));
            }
        }
    }
    assert!(asked > 120, "only {asked} operations asked for");
    let wrong = wrong.join("\n");
    assert!(
        wrong.is_empty(),
        "simulator/src/parity/operations.toml:\n{wrong}"
    );
}
