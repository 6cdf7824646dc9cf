//! How the router is run: in a process that stays, or by invocations, and then in which of its parts.

use std::time::Duration;

use axum::routing::{MethodFilter, MethodRouter, on};

use super::{App, Route};
use crate::access::Role;
use crate::problem::Problem;

/// How long an answer may take where each ends an invocation: API Gateway's HTTP APIs wait for 30 seconds, and would say less of it.
const INVOKED_LIMIT: Duration = Duration::from_secs(28);

/// How long work goes on there whose answer says what is left: the last part of it, and the answer, take their time too.
const INVOKED_WORK: Duration = Duration::from_secs(15);

/// Routes, by method and path, that only a process serves which stays, and where one finds the same without it.
pub const STAYING: &[(&str, &str, &str)] = &[
    ("GET", "/live", "load the page again for what came since"),
    ("GET", "/health/ready", "nothing is read here, so ask GET /health whether each part answers"),
    ("GET", "/metrics", "the functions' metrics are in CloudWatch, in the namespace Lyceum/ and the stack's name"),
    ("GET", "/api/history", "how events ended, minute by minute, is on the stack's dashboard in CloudWatch"),
    ("GET", "/history.csv", "how events ended, minute by minute, is on the stack's dashboard in CloudWatch"),
    ("POST", "/api/ingest", "publish with POST /events/{topic}, or let `lyceum ingest --kafka` send to the same Kafka"),
    ("POST", "/api/rebuild", "`lyceum rebuild` builds it where it is called, with the deployment's settings"),
    (
        "GET",
        "/api/rebuild/compare",
        "`lyceum rebuild --compare` compares where it is called, with the deployment's settings",
    ),
    (
        "POST",
        "/2015-03-31/functions/{function}/invocations",
        "call the function by Lambda's own API: `aws lambda invoke`, with rights of its own",
    ),
];

/// What one process of several serves, by the role that a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// What looks, and what is open to everybody.
    Read,
    /// What sends events.
    Publish,
    /// What acts on dead letters, replays and seals.
    Operate,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Whole, Self::Read, Self::Publish, Self::Operate];

    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Operate => "operate",
        }
    }

    /// Whether a route is of this part.
    pub fn has(self, route: &Route) -> bool {
        match (self, route.needs) {
            (Self::Whole, _) | (Self::Read, None | Some(Role::Read)) => true,
            (Self::Publish, Some(Role::Publish)) | (Self::Operate, Some(Role::Operate)) => true,
            (Self::Read | Self::Publish | Self::Operate, _) => false,
        }
    }
}

/// How the router is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// In a process that stays: all of it.
    Staying,
    /// By invocations: a part.
    Invoked(Part),
}

impl Running {
    /// Whether the deployment, this process and others of it, has the route: it then stands in the OpenAPI document.
    pub(super) fn offers(self, route: &Route) -> bool {
        self == Self::Staying || elsewhere(route).is_none()
    }

    /// Why a route is not served here; `None` where it is.
    pub(super) fn refuses(self, route: &Route) -> Option<String> {
        let Self::Invoked(part) = self else { return None };
        match elsewhere(route) {
            Some(where_it_is) => {
                Some(format!("this takes a process that stays, and here there is none: {where_it_is}"))
            }
            None if part.has(route) => None,
            None => Some(format!(
                "the function of the part {} does not serve it: ask at the address of the whole API",
                part.name()
            )),
        }
    }

    /// How long a request may take that may take so long in a process that stays.
    pub(super) fn time_limit(self, staying: Duration) -> Duration {
        match self {
            Self::Staying => staying,
            Self::Invoked(_) => staying.min(INVOKED_LIMIT),
        }
    }

    /// How long a request works that works so long in a process that stays, before it says what is left.
    pub(super) fn time_to_work(self, staying: Duration) -> Duration {
        match self {
            Self::Staying => staying,
            Self::Invoked(_) => staying.min(INVOKED_WORK),
        }
    }
}

fn elsewhere(route: &Route) -> Option<&'static str> {
    let is_it = |of: &&(&str, &str, &str)| (of.0, of.1) == (route.method, route.path);
    STAYING.iter().find(is_it).map(|(.., where_it_is)| *where_it_is)
}

/// A route that tells where it is served.
pub(super) fn refusing(route: &Route, why: String) -> MethodRouter<App> {
    let method = if route.method == "POST" { MethodFilter::POST } else { MethodFilter::GET };
    on(method, move || std::future::ready(Problem::not_found(why)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ROUTES;

    #[test]
    fn what_stays_is_of_the_table_and_every_other_route_is_of_one_part() {
        for (method, path, _) in STAYING {
            assert!(ROUTES.iter().any(|route| (route.method, route.path) == (*method, *path)), "{method} {path}");
        }
        for route in ROUTES {
            let parts = [Part::Read, Part::Publish, Part::Operate].into_iter().filter(|part| part.has(route)).count();
            assert_eq!(parts, 1, "{} {}", route.method, route.path);
        }
    }
}
