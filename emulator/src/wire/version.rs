//! The `api-version` of a request: which shape the caller expects (ENDPOINTS 0).

use std::fmt;

use percent_encoding::percent_decode_str;
use time::Date;
use time::macros::{date, format_description};

use crate::error::ServiceError;

/// A version by its date; a preview comes before the version of its day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    date: Date,
    stable: bool,
}

impl ApiVersion {
    /// The oldest of DPS and the management API that is served.
    const OLDEST: Self = Self::of(date!(2018 - 04 - 01));

    /// The oldest of hubs that is served.
    const OLDEST_OF_HUBS: Self = Self::of(date!(2016 - 02 - 03));

    /// The one with allocation and reprovisioning policies.
    pub(super) const POLICIES: Self = Self {
        date: date!(2018 - 09 - 01),
        stable: false,
    };

    /// The one in which an entry has room for information of the operator's.
    pub(super) const INFORMATION: Self = Self::of(date!(2019 - 03 - 31));

    /// The one that tells a return to the same hub from a first assignment (R-B5).
    pub(super) const SAME_HUB: Self = Self::of(date!(2021 - 10 - 01));

    /// The one from which the management API of DPS spells error numbers as numbers.
    pub(crate) const NUMBERED: Self = Self::of(date!(2022 - 12 - 12));

    const fn of(date: Date) -> Self {
        Self { date, stable: true }
    }

    /// Reads `YYYY-MM-DD` or `YYYY-MM-DD-preview`. Any date from the oldest version on will do:
    /// an answer has the shape of the newest known version at or below it.
    pub(crate) fn parse(text: &str) -> Result<Self, ServiceError> {
        Self::parse_since(Self::OLDEST, text)
    }

    fn parse_since(oldest: Self, text: &str) -> Result<Self, ServiceError> {
        let (day, stable) = match text.strip_suffix("-preview") {
            Some(day) => (day, false),
            None => (text, true),
        };
        let format = format_description!("[year]-[month]-[day]");
        let plain = day.len() == "2018-04-01".len() && day.is_ascii();
        let date = Date::parse(day, format).ok().filter(|_| plain);
        date.map(|date| Self { date, stable })
            .filter(|version| *version >= oldest)
            .ok_or_else(|| {
                ServiceError::invalid(format!(
                    "api-version: expected YYYY-MM-DD or YYYY-MM-DD-preview, from {oldest} on"
                ))
            })
    }

    /// The version that the query of a request names.
    pub(crate) fn of_query(query: Option<&str>) -> Result<Self, ServiceError> {
        Self::of_query_since(Self::OLDEST, query)
    }

    /// The same in a request to a hub, whose APIs are older.
    ///
    /// # Errors
    /// 400001 `InvalidProtocolVersion`, as seen of Azure's hubs where it is missing.
    pub(crate) fn of_hub_query(query: Option<&str>) -> Result<Self, ServiceError> {
        Self::of_query_since(Self::OLDEST_OF_HUBS, query).map_err(|error| {
            ServiceError::new(400_001, "InvalidProtocolVersion", "R-F10", error.message)
        })
    }

    fn of_query_since(oldest: Self, query: Option<&str>) -> Result<Self, ServiceError> {
        let pairs = query.unwrap_or_default().split('&');
        let mut named = pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(|(name, _)| name.eq_ignore_ascii_case("api-version"));
        let Some((_, text)) = named.next() else {
            let text = "api-version: required in the query, such as 2021-10-01";
            return Err(ServiceError::invalid(text));
        };
        Self::parse_since(oldest, &percent_decode_str(text).decode_utf8_lossy())
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, stable } = self;
        write!(f, "{date}{}", if *stable { "" } else { "-preview" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-F8.
    #[test]
    fn a_version_is_a_date_from_the_oldest_on() {
        for text in [
            "2018-04-01",
            "2018-09-01-preview",
            "2021-10-01",
            "2030-02-28",
        ] {
            assert_eq!(ApiVersion::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "1.0",
            "2018-03-31",
            "2018-04-01-preview",
            "2021-10-1",
            "2021-13-01",
            "2021-02-29",
            "2021-10-01-Preview",
            "2021-10-01-preview-preview",
            "+2021-10-01",
            " 2021-10-01",
        ] {
            let error = ApiVersion::parse(text).unwrap_err();
            assert!(error.message.starts_with("api-version: expected"), "{text}");
        }
        let sorted = ["2018-09-01-preview", "2018-09-01", "2019-03-31"].map(ApiVersion::parse);
        assert!(sorted.map(Result::unwrap).is_sorted());
    }

    /// R-F10.
    #[test]
    fn hubs_take_older_versions_and_say_so_by_another_number() {
        let version = ApiVersion::of_hub_query(Some("api-version=2016-11-14")).unwrap();
        assert_eq!(version.to_string(), "2016-11-14");
        for query in [
            None,
            Some("api-version=AAA"),
            Some("api-version=2015-08-15"),
        ] {
            let error = ApiVersion::of_hub_query(query).unwrap_err();
            assert_eq!(
                (error.code, error.name),
                (400_001, "InvalidProtocolVersion")
            );
            assert!(error.message.starts_with("api-version: "), "{query:?}");
        }
    }

    #[test]
    fn a_query_names_its_version_in_either_case_and_escaped() {
        let expected = ApiVersion::of(date!(2021 - 10 - 01));
        for query in [
            "api-version=2021-10-01",
            "x=y&Api-Version=2021%2D10%2D01&forceRegistration=true",
        ] {
            assert_eq!(ApiVersion::of_query(Some(query)).unwrap(), expected);
        }
        for query in [
            None,
            Some(""),
            Some("version=2021-10-01"),
            Some("api-version"),
        ] {
            let error = ApiVersion::of_query(query).unwrap_err();
            assert!(error.message.starts_with("api-version: "), "{query:?}");
        }
    }
}
