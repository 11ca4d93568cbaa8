//! Queries: everything of one kind, in pages (R-F7).

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use bytes::Bytes;
use linarite_core::id::{EnrollmentGroupId, RegistrationId};

use super::{Shared, answer, show_individual};
use crate::http::answer::{Answered, json};
use crate::http::paging::Wanted;
use crate::policy::Right;
use crate::wire::version::ApiVersion;
use crate::wire::{dps, enrollment, shape};

const ENROLLMENTS: &str = "enrollments";
const GROUPS: &str = "enrollmentGroups";
const REGISTRATIONS: &str = "registrations";

pub(super) async fn individuals(
    State(services): Shared,
    Extension(version): Extension<ApiVersion>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    answer(&services, &headers, Right::EnrollmentRead, || {
        enrollment::query::check(&json(&body)?, &[ENROLLMENTS])?;
        let wanted = Wanted::read(&services, &headers, ENROLLMENTS.to_owned())?;
        let after = wanted.after(RegistrationId::parse)?;
        let page = services
            .book
            .individuals_after(after.as_ref(), wanted.count)
            .map(|entry| show_individual(&services, version, &entry));
        wanted.answer(&services, page, ENROLLMENTS)
    })
}

pub(super) async fn groups(
    State(services): Shared,
    Extension(version): Extension<ApiVersion>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    answer(&services, &headers, Right::EnrollmentRead, || {
        enrollment::query::check(&json(&body)?, &[GROUPS])?;
        let wanted = Wanted::read(&services, &headers, GROUPS.to_owned())?;
        let page = services
            .book
            .groups_after(wanted.after.as_deref(), wanted.count)
            .map(|group| shape::entry(version, enrollment::group(&group)));
        wanted.answer(&services, page, GROUPS)
    })
}

/// The records of one group. The call has no body, but clients that have one way to query send a
/// query here too, in which C# names the table it took the group from.
pub(super) async fn registrations(
    State(services): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    answer(&services, &headers, Right::RegistrationStatusRead, || {
        if !body.trim_ascii().is_empty() {
            let tables = [REGISTRATIONS, GROUPS, ENROLLMENTS];
            enrollment::query::check(&json(&body)?, &tables)?;
        }
        let group = EnrollmentGroupId::parse(&id)?;
        let list = format!("{REGISTRATIONS}/{}", group.key());
        let wanted = Wanted::read(&services, &headers, list)?;
        let after = wanted.after(RegistrationId::parse)?;
        let page = services
            .register
            .records_of(&group, after.as_ref(), wanted.count)
            .map(|record| shape::record(version, dps::registration_record(&record)));
        wanted.answer(&services, page, REGISTRATIONS)
    })
}
