//! Direct methods: what a request may hold.

use serde_json::Value;

use crate::limits::{
    METHOD_CONNECT_TIMEOUT_SECONDS_MAX, METHOD_NAME_BYTES_MAX, METHOD_PAYLOAD_BYTES_MAX,
    METHOD_RESPONSE_TIMEOUT_SECONDS_DEFAULT, METHOD_RESPONSE_TIMEOUT_SECONDS_MAX,
    METHOD_RESPONSE_TIMEOUT_SECONDS_MIN,
};

/// A request within all bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodRequest {
    name: String,
    response_timeout_seconds: u32,
    connect_timeout_seconds: u32,
    payload: Option<Value>,
}

/// Which bound a request breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// The wait for a connection is out of bounds.
    #[error("a connect timeout of {seconds} s is over {max} s")]
    ConnectTimeout {
        /// Asked for.
        seconds: u32,
        /// Most allowed.
        max: u32,
    },
    /// The name is empty, too long, or no single topic level.
    #[error(
        "{name:?} is no method name: 1 to {bytes_max} bytes without / # + or control characters"
    )]
    Name {
        /// What was given.
        name: String,
        /// Most bytes allowed.
        bytes_max: usize,
    },
    /// The payload is too large.
    #[error("a payload of {bytes} bytes is over {bytes_max}")]
    Payload {
        /// Size as compact JSON.
        bytes: usize,
        /// Most allowed.
        bytes_max: usize,
    },
    /// The wait for an answer is out of bounds.
    #[error("a response timeout of {seconds} s is outside {min} to {max} s")]
    ResponseTimeout {
        /// Asked for.
        seconds: u32,
        /// Fewest allowed.
        min: u32,
        /// Most allowed.
        max: u32,
    },
}

impl MethodRequest {
    /// Checks name, timeouts and payload.
    ///
    /// # Errors
    /// [`MethodError`] for the first bound broken, in the order of the arguments.
    ///
    /// Source: behaviour.md R-G24, I-10.
    pub fn new(
        name: &str,
        response_timeout_seconds: Option<u32>,
        connect_timeout_seconds: Option<u32>,
        payload: Option<Value>,
    ) -> Result<Self, MethodError> {
        check_name(name)?;
        let seconds = response_timeout_seconds.unwrap_or(METHOD_RESPONSE_TIMEOUT_SECONDS_DEFAULT);
        let (min, max) = (
            METHOD_RESPONSE_TIMEOUT_SECONDS_MIN,
            METHOD_RESPONSE_TIMEOUT_SECONDS_MAX,
        );
        if !(min..=max).contains(&seconds) {
            return Err(MethodError::ResponseTimeout { seconds, min, max });
        }
        let connect = connect_timeout_seconds.unwrap_or(0);
        if connect > METHOD_CONNECT_TIMEOUT_SECONDS_MAX {
            let max = METHOD_CONNECT_TIMEOUT_SECONDS_MAX;
            return Err(MethodError::ConnectTimeout {
                seconds: connect,
                max,
            });
        }
        check_payload(payload.as_ref())?;
        Ok(Self {
            name: name.to_owned(),
            response_timeout_seconds: seconds,
            connect_timeout_seconds: connect,
            payload,
        })
    }

    /// The method's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long to wait for the answer, in seconds.
    #[must_use]
    pub fn response_timeout_seconds(&self) -> u32 {
        self.response_timeout_seconds
    }

    /// How long to wait for the device to connect, in seconds.
    #[must_use]
    pub fn connect_timeout_seconds(&self) -> u32 {
        self.connect_timeout_seconds
    }

    /// What the method gets.
    #[must_use]
    pub fn payload(&self) -> Option<&Value> {
        self.payload.as_ref()
    }
}

/// Whether a payload, of a request or an answer, is within its bound.
///
/// # Errors
/// [`MethodError::Payload`].
///
/// Source: behaviour.md R-G24.
pub fn check_payload(payload: Option<&Value>) -> Result<(), MethodError> {
    let bytes = payload.map_or(0, |payload| payload.to_string().len());
    let bytes_max = METHOD_PAYLOAD_BYTES_MAX;
    if bytes > bytes_max {
        Err(MethodError::Payload { bytes, bytes_max })
    } else {
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), MethodError> {
    let bytes_max = METHOD_NAME_BYTES_MAX;
    let forbidden = |character: char| "/#+".contains(character) || character.is_control();
    if name.is_empty() || name.len() > bytes_max || name.contains(forbidden) {
        return Err(MethodError::Name {
            name: name.to_owned(),
            bytes_max,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-G24, I-10.
    #[test]
    fn timeouts_have_bounds_and_defaults() {
        let max = METHOD_RESPONSE_TIMEOUT_SECONDS_MAX;
        // response, connect, what is kept
        let table = [
            (None, None, Some((30, 0))),
            (Some(5), Some(0), Some((5, 0))),
            (Some(max), Some(300), Some((max, 300))),
            (Some(4), None, None),
            (Some(max + 1), None, None),
            (None, Some(301), None),
        ];
        for (response, connect, kept) in table {
            let request = MethodRequest::new("reboot", response, connect, None).ok();
            let found = request.map(|request| {
                (
                    request.response_timeout_seconds(),
                    request.connect_timeout_seconds(),
                )
            });
            assert_eq!(found, kept, "{response:?} {connect:?}");
        }
    }

    /// R-G24.
    #[test]
    fn a_payload_has_at_most_128_kib() {
        // Two bytes are the quotes of the JSON string.
        for (length, fits) in [(128 * 1024 - 2, true), (128 * 1024 - 1, false)] {
            let payload = Some(Value::String("x".repeat(length)));
            assert_eq!(check_payload(payload.as_ref()).is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn a_name_is_one_topic_level() {
        for (name, fits) in [
            ("reboot", true),
            ("a.b-c_d", true),
            ("", false),
            ("a/b", false),
            ("a#", false),
        ] {
            assert_eq!(
                MethodRequest::new(name, None, None, None).is_ok(),
                fits,
                "{name}"
            );
        }
    }
}
