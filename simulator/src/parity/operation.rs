//! The operations of the HTTP APIs.

use serde::{Deserialize, Serialize};

use super::{Area, ParityError, State};

const TABLE: &str = include_str!("operations.toml");

/// An HTTP API as Azure publishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its name.
    pub name: String,
    /// The api-version of the definition that was counted.
    pub version: String,
    /// What it is about.
    pub area: Area,
    /// The file of its published definition, if there is one.
    pub definition: Option<String>,
    /// Its operations, in the definition's order.
    pub operations: Vec<Operation>,
}

/// An operation and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// Its name in the definition.
    pub id: String,
    /// Its HTTP method.
    pub method: String,
    /// Its path, with parameters in braces.
    pub path: String,
    /// How it stands.
    pub state: State,
    /// What is missing of one that is partly emulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Why it is not emulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    api: Vec<RawApi>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApi {
    name: String,
    version: String,
    area: Area,
    definition: Option<String>,
    operation: Vec<RawOperation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOperation {
    id: String,
    call: String,
    state: State,
    missing: Option<String>,
    reason: Option<String>,
}

/// All APIs, in the order of the table.
pub(super) fn read() -> Result<Vec<Api>, ParityError> {
    let table: RawTable =
        toml::from_str(TABLE).map_err(|error| ParityError::new("operations", error))?;
    table.api.into_iter().map(Api::try_from).collect()
}

impl TryFrom<RawApi> for Api {
    type Error = ParityError;

    fn try_from(raw: RawApi) -> Result<Self, ParityError> {
        let operations = raw.operation.into_iter().map(Operation::try_from);
        Ok(Self {
            name: raw.name,
            version: raw.version,
            area: raw.area,
            definition: raw.definition,
            operations: operations.collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<RawOperation> for Operation {
    type Error = ParityError;

    fn try_from(raw: RawOperation) -> Result<Self, ParityError> {
        let wrong = |problem| ParityError::new("operations", format!("{}: {problem}", raw.id));
        raw.state
            .check_gap(raw.missing.as_ref(), raw.reason.as_ref())
            .map_err(wrong)?;
        if matches!(raw.state, State::Setting | State::Assumed) {
            return Err(wrong("state: expected emulated, partly or not-emulated"));
        }
        let (method, path) = raw
            .call
            .split_once(' ')
            .ok_or_else(|| wrong("call: expected a method and a path"))?;
        Ok(Self {
            method: method.to_owned(),
            path: path.to_owned(),
            id: raw.id.clone(),
            state: raw.state,
            missing: raw.missing,
            reason: raw.reason,
        })
    }
}
