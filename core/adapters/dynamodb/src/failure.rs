//! What a failed call says about what happened.

use std::error::Error;
use std::io;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;

pub use lyceum_core::ports::Effect;
use lyceum_core::ports::ledger::LedgerError;

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure<'a> {
    /// It never left: it could not be built, or no connection came about.
    NotSent,
    /// It may have arrived: a time-out, a connection that broke, an answer that no one understands.
    NoAnswer,
    /// DynamoDB answered.
    Answer {
        /// HTTP status.
        status: u16,
        /// The exception's name, without namespace.
        code: &'a str,
        /// `CancellationReasons[].Code` of a cancelled transaction, in the order of its actions.
        reasons: &'a [&'a str],
    },
}

/// What follows for the caller; the variants of [`LedgerError`] without their words, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// See [`LedgerError::Refused`].
    Refused,
    /// See [`LedgerError::Unusable`].
    Unusable,
    /// See [`LedgerError::Unavailable`].
    Unavailable,
    /// See [`LedgerError::Uncertain`].
    Uncertain,
    /// See [`LedgerError::Conflict`].
    Conflict,
}

/// What a failure means.
///
/// Of a cancelled transaction's reasons the mildest decides: where a condition failed, what was decided is stale, and
/// so is what else is wrong with it.
///
/// Sources: DynamoDB Developer Guide, "Error handling with DynamoDB"; API Reference, `TransactWriteItems`, "Errors".
pub fn classify(effect: Effect, failure: &Failure<'_>) -> Verdict {
    // A read that met a transaction is read again.
    let (lost, conflict) = match effect {
        Effect::Read => (Verdict::Unavailable, Verdict::Unavailable),
        Effect::Write => (Verdict::Uncertain, Verdict::Conflict),
    };
    match *failure {
        Failure::NotSent => Verdict::Unavailable,
        Failure::NoAnswer => lost,
        Failure::Answer { code: "TransactionCanceledException", reasons, .. } => reasons
            .iter()
            .filter(|reason| **reason != "None")
            .map(|reason| match *reason {
                "ConditionalCheckFailed" | "TransactionConflict" => conflict,
                "ThrottlingError" | "ProvisionedThroughputExceeded" | "RequestLimitExceeded" => Verdict::Unavailable,
                "AccessDenied" => Verdict::Unusable,
                // ValidationError, ItemCollectionSizeLimitExceeded, and what is not known yet.
                _ => Verdict::Refused,
            })
            .max()
            .unwrap_or(conflict),
        Failure::Answer { status, code, .. } => match code {
            "ConditionalCheckFailedException" | "TransactionConflictException" => conflict,
            // The same token's earlier attempt is still at it.
            "TransactionInProgressException" => lost,
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "ThrottlingError"
            | "RequestLimitExceeded"
            | "LimitExceededException"
            | "ResourceInUseException"
            | "ReplicatedWriteConflictException"
            // The credentials' own clock: fresh ones come by themselves.
            | "ExpiredTokenException"
            | "RequestExpired" => Verdict::Unavailable,
            // Who we are, what we may, the table and its key: whatever is asked for gets the same answer.
            "AccessDeniedException"
            | "IncompleteSignatureException"
            | "InvalidSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "ResourceNotFoundException"
            | "UnrecognizedClientException" => Verdict::Unusable,
            _ if code.starts_with("KMS") => Verdict::Unusable,
            // An answer that is none of DynamoDB's: something between us and it said something.
            _ if !(400..500).contains(&status) => lost,
            _ if status == 429 => Verdict::Unavailable,
            _ if matches!(status, 401 | 403) => Verdict::Unusable,
            _ => Verdict::Refused,
        },
    }
}

/// What the ledger needs to know of an operation's own errors.
pub(super) trait OperationError: ProvideErrorMetadata + Error + Send + Sync + 'static {
    /// `CancellationReasons[].Code`.
    fn reasons(&self) -> Vec<&str> {
        Vec::new()
    }
}

macro_rules! transaction_errors {
    ($($error:ident),* $(,)?) => {
        $(impl OperationError for $error {
            fn reasons(&self) -> Vec<&str> {
                match self {
                    Self::TransactionCanceledException(canceled) => {
                        canceled.cancellation_reasons().iter().filter_map(|reason| reason.code()).collect()
                    }
                    _ => Vec::new(),
                }
            }
        })*
    };
}

transaction_errors!(TransactGetItemsError, TransactWriteItemsError);

macro_rules! operation_errors {
    ($($module:ident::$error:ident),* $(,)?) => {
        $(impl OperationError for aws_sdk_dynamodb::operation::$module::$error {})*
    };
}

operation_errors!(
    batch_get_item::BatchGetItemError,
    create_table::CreateTableError,
    describe_table::DescribeTableError,
    describe_time_to_live::DescribeTimeToLiveError,
    get_item::GetItemError,
    put_item::PutItemError,
    query::QueryError,
    update_item::UpdateItemError,
    update_time_to_live::UpdateTimeToLiveError,
);

/// The error that the port knows, with a sentence about what to do.
pub(super) fn explain<E: OperationError>(
    effect: Effect,
    table: &str,
    operation: &str,
    error: &SdkError<E, HttpResponse>,
) -> LedgerError {
    let service = error.as_service_error();
    let code = service.and_then(ProvideErrorMetadata::code).unwrap_or_default();
    let reasons = service.map(OperationError::reasons).unwrap_or_default();
    let failure = match error {
        SdkError::ConstructionFailure(_) => Failure::NotSent,
        SdkError::DispatchFailure(dispatch)
            if dispatch.as_connector_error().is_some_and(|error| never_connected(error)) =>
        {
            Failure::NotSent
        }
        SdkError::ServiceError(answer) => {
            Failure::Answer { status: answer.raw().status().as_u16(), code, reasons: &reasons }
        }
        _ => Failure::NoAnswer,
    };
    let said = || match service {
        Some(error) => {
            let message = error.message().unwrap_or("no message");
            match (code, &failure) {
                ("", Failure::Answer { status, .. }) => format!(
                    "{operation} on table {table}: status {status} without a code: is it DynamoDB that answers there? Its URL \
                     is AWS_ENDPOINT_URL_DYNAMODB"
                ),
                _ => format!("{operation} on table {table}: {code}: {message}{}", advise(code)),
            }
        }
        None => format!("{operation} on table {table}: {}", tell(error)),
    };
    match classify(effect, &failure) {
        Verdict::Conflict => LedgerError::Conflict,
        Verdict::Uncertain => LedgerError::Uncertain(said()),
        Verdict::Unavailable => LedgerError::Unavailable(said()),
        Verdict::Refused => LedgerError::Refused(said()),
        Verdict::Unusable => LedgerError::Unusable(said()),
    }
}

/// A failure without an answer: its causes one behind the other, and what to do where that is known.
fn tell(error: &(dyn Error + 'static)) -> String {
    let causes: Vec<String> =
        std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    let advice = if causes.iter().any(|cause| cause.contains("credential")) {
        "; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or another source of credentials"
    } else if never_connected(error) {
        "; is the server up, and AWS_ENDPOINT_URL_DYNAMODB or AWS_REGION right?"
    } else {
        ""
    };
    format!("{}{advice}", causes.join(": "))
}

fn advise(code: &str) -> &'static str {
    match code {
        "ResourceNotFoundException" => {
            "; create the table (the template does, and `ensure_table`), or correct the table's name or the region"
        }
        "AccessDeniedException" => {
            "; allow dynamodb:GetItem, BatchGetItem, Query, PutItem, UpdateItem and ConditionCheckItem on the table"
        }
        "UnrecognizedClientException" | "InvalidSignatureException" | "MissingAuthenticationToken" => {
            "; check the credentials and the machine's clock"
        }
        _ => "",
    }
}

/// Whether the error says that no connection came about. The SDK does not tell, so the causes are read: a system error
/// that only connecting gives, or the HTTP client's own error for that phase. In doubt: no.
fn never_connected(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(
            kind,
            Some(
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::AddrNotAvailable
            )
        ) || {
            let text = cause.to_string();
            text.contains("client error (Connect)") || text.contains("HTTP connect timeout")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_means_what_the_table_says() {
        use Effect::{Read, Write};
        use Verdict::{Conflict, Refused, Unavailable, Uncertain, Unusable};
        let answer = |status, code| Failure::Answer { status, code, reasons: &[] };
        for (failure, read, write) in [
            (Failure::NotSent, Unavailable, Unavailable),
            (Failure::NoAnswer, Unavailable, Uncertain),
            (answer(400, "ConditionalCheckFailedException"), Unavailable, Conflict),
            (answer(400, "TransactionConflictException"), Unavailable, Conflict),
            (answer(400, "TransactionInProgressException"), Unavailable, Uncertain),
            (answer(400, "ProvisionedThroughputExceededException"), Unavailable, Unavailable),
            (answer(400, "ThrottlingException"), Unavailable, Unavailable),
            (answer(400, "RequestLimitExceeded"), Unavailable, Unavailable),
            (answer(400, "ExpiredTokenException"), Unavailable, Unavailable),
            (answer(429, ""), Unavailable, Unavailable),
            (answer(400, "ValidationException"), Refused, Refused),
            (answer(400, "AccessDeniedException"), Unusable, Unusable),
            (answer(400, "ResourceNotFoundException"), Unusable, Unusable),
            (answer(400, "UnrecognizedClientException"), Unusable, Unusable),
            (answer(400, "KMSDisabledException"), Unusable, Unusable),
            (answer(403, ""), Unusable, Unusable),
            (answer(400, "IdempotentParameterMismatchException"), Refused, Refused),
            (answer(400, "AnythingNew"), Refused, Refused),
            (answer(500, "InternalServerError"), Unavailable, Uncertain),
            (answer(503, ""), Unavailable, Uncertain),
            (answer(200, ""), Unavailable, Uncertain),
        ] {
            assert_eq!(classify(Read, &failure), read, "reading, {failure:?}");
            assert_eq!(classify(Write, &failure), write, "writing, {failure:?}");
        }
    }

    #[test]
    fn what_got_no_answer_is_told_by_its_causes_and_says_what_to_do() {
        let chain = |causes: &'static [&'static str]| tell(&Chain(causes));
        assert_eq!(
            chain(&["dispatch failure", "client error (Connect)", "Connection refused"]),
            "dispatch failure: client error (Connect): Connection refused; is the server up, and AWS_ENDPOINT_URL_DYNAMODB or \
             AWS_REGION right?"
        );
        assert!(
            chain(&["dispatch failure", "no credentials found in chain"]).ends_with("another source of credentials")
        );
        assert_eq!(chain(&["request has timed out"]), "request has timed out");
    }

    /// Texts, each the cause of the one before.
    #[derive(Debug)]
    struct Chain(&'static [&'static str]);

    impl std::fmt::Display for Chain {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str(self.0[0])
        }
    }

    impl Error for Chain {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            // A test's chain may live as long as the test.
            (self.0.len() > 1).then(|| Box::leak(Box::new(Chain(&self.0[1..]))) as &(dyn Error + 'static))
        }
    }

    #[test]
    fn of_a_cancelled_transactions_reasons_the_mildest_decides() {
        use Verdict::{Conflict, Refused, Unavailable, Unusable};
        for (reasons, verdict) in [
            (&["None", "ConditionalCheckFailed"][..], Conflict),
            (&["TransactionConflict", "None"], Conflict),
            (&["ThrottlingError"], Unavailable),
            (&["None", "ProvisionedThroughputExceeded"], Unavailable),
            (&["RequestLimitExceeded"], Unavailable),
            (&["ValidationError", "None"], Refused),
            (&["ItemCollectionSizeLimitExceeded"], Refused),
            (&["ValidationError", "AccessDenied"], Unusable),
            (&["AccessDenied", "ConditionalCheckFailed"], Conflict),
            (&["ThrottlingError", "ConditionalCheckFailed"], Conflict),
            (&["ValidationError", "ConditionalCheckFailed"], Conflict),
            (&["ValidationError", "ThrottlingError"], Unavailable),
            (&[], Conflict),
        ] {
            let failure = Failure::Answer { status: 400, code: "TransactionCanceledException", reasons };
            assert_eq!(classify(Effect::Write, &failure), verdict, "{reasons:?}");
        }
    }
}
