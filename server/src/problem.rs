//! What an error looks like on the wire: `application/problem+json` (RFC 9457) whose `detail` says what to do next.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lyceum_core::ports::event_log::EventLogError;
use lyceum_core::ports::ledger::LedgerError;
use lyceum_core::ports::statements::StatementsError;
use lyceum_core::process::audit::AuditError;
use serde::Serialize;

use crate::questions::AskError;

/// One kind of error: its status, the last part of its `type` and its `title`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The HTTP status.
    pub status: StatusCode,
    /// The last part of `type`, stable for programs to branch on.
    pub slug: &'static str,
    /// For people.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:ident $slug:literal $title:literal;)*) => {
        impl Kind {
            $($(#[$doc])* pub const $name: Self = Self { status: StatusCode::$status, slug: $slug, title: $title };)*
            /// Every kind, for the OpenAPI document.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

kinds! {
    /// A parameter or a body that cannot be read.
    BAD_REQUEST = BAD_REQUEST "bad-request" "The request cannot be read";
    /// No credential, or one that is not known.
    UNAUTHENTICATED = UNAUTHORIZED "unauthenticated" "A token is needed";
    /// The token lacks the role.
    FORBIDDEN_ROLE = FORBIDDEN "forbidden-role" "The token may not do this";
    /// The token is for another tenant.
    FORBIDDEN_TENANT = FORBIDDEN "forbidden-tenant" "The token is for another tenant";
    /// The request comes from a page of another origin.
    FORBIDDEN_ORIGIN = FORBIDDEN "forbidden-origin" "The request comes from another origin";
    /// The `Host` header is no loopback name, though the process serves this machine only.
    FORBIDDEN_HOST = FORBIDDEN "forbidden-host" "This host name is not served";
    /// Nothing under that name.
    NOT_FOUND = NOT_FOUND "not-found" "There is nothing here";
    /// No topic of that name.
    UNKNOWN_TOPIC = NOT_FOUND "unknown-topic" "The topic does not exist";
    /// The path exists, the method does not.
    WRONG_METHOD = METHOD_NOT_ALLOWED "wrong-method" "The method does not fit the path";
    /// It does not fit what is under way.
    CONFLICT = CONFLICT "conflict" "It does not fit what is under way";
    /// Over a limit of size.
    TOO_LARGE = PAYLOAD_TOO_LARGE "too-large" "The request is too large";
    /// A defect of this program.
    INTERNAL = INTERNAL_SERVER_ERROR "internal" "The server failed";
    /// A store or the log is unavailable.
    UNAVAILABLE = SERVICE_UNAVAILABLE "unavailable" "A part of the system is unavailable";
    /// One tenant asks for more at once than one may have.
    TOO_MANY = TOO_MANY_REQUESTS "too-many" "The tenant asks for too much at once";
    /// More is asked for at once than is done at once.
    BUSY = SERVICE_UNAVAILABLE "busy" "Too much is asked for at once";
    /// It took too long.
    TIMED_OUT = GATEWAY_TIMEOUT "timed-out" "The answer took too long";
}

/// An error as an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub kind: Kind,
    /// What happened and what to do.
    pub detail: String,
}

impl Problem {
    /// An error of that kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// A parameter or a body that cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Kind::BAD_REQUEST, detail)
    }

    /// Nothing under that name.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Kind::NOT_FOUND, detail)
    }
}

/// RFC 9457, section 3.1.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Kind { status, slug, title } = self.kind;
        let r#type = format!("urn:problem-type:lyceum:{slug}");
        let body = Body { r#type, title, status: status.as_u16(), detail: &self.detail };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.kind {
            // RFC 9110, 11.6.1: two challenges. A browser knows Basic only, and asks its user for it.
            Kind::UNAUTHENTICATED => {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="Lyceum""#));
                let basic = HeaderValue::from_static(r#"Basic realm="Lyceum: any user name, the token as password""#);
                headers.append(WWW_AUTHENTICATE, basic);
            }
            Kind::UNAVAILABLE | Kind::BUSY | Kind::TOO_MANY => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        // A browser is shown a page instead, where it asked for one.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Invalid(detail) => Self::bad_request(detail),
            AskError::NotFound(detail) => Self::not_found(detail),
            AskError::Conflict(detail) => Self::new(Kind::CONFLICT, detail),
            AskError::Forbidden(detail) => Self::new(Kind::FORBIDDEN_TENANT, detail),
            AskError::Unavailable(detail) => Self::new(Kind::UNAVAILABLE, detail),
            AskError::Busy(detail) => Self::new(Kind::BUSY, detail),
            AskError::TooMany(detail) => Self::new(Kind::TOO_MANY, detail),
            AskError::Failed(detail) => Self::new(Kind::INTERNAL, detail),
        }
    }
}

impl From<EventLogError> for Problem {
    fn from(error: EventLogError) -> Self {
        let kind = match &error {
            EventLogError::UnknownTopic(_) => Kind::UNKNOWN_TOPIC,
            EventLogError::UnknownPartition { .. } | EventLogError::OffsetOutOfRange { .. } => Kind::NOT_FOUND,
            EventLogError::TooLarge { .. } => Kind::TOO_LARGE,
            EventLogError::Refused(_) => Kind::BAD_REQUEST,
            EventLogError::NotAssigned { .. } | EventLogError::Unauthorized(_) => Kind::INTERNAL,
            EventLogError::Unavailable(_) => Kind::UNAVAILABLE,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let kind = if error.is_transient() { Kind::UNAVAILABLE } else { Kind::INTERNAL };
        Self::new(kind, error.to_string())
    }
}

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Entries(error) => error.into(),
            AuditError::Ledger(error) => error.into(),
        }
    }
}

impl From<StatementsError> for Problem {
    fn from(error: StatementsError) -> Self {
        let kind = if error.is_transient() { Kind::UNAVAILABLE } else { Kind::INTERNAL };
        Self::new(kind, error.to_string())
    }
}
