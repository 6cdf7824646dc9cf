//! librdkafka's codes as the port's errors: transient ones apart from permanent ones.

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use lyceum_core::ports::event_log::EventLogError;

/// What librdkafka says of the connection beside any call: calls themselves only see a time limit pass.
#[derive(Default)]
pub(super) struct Trouble {
    noted: Mutex<Noted>,
    /// Whether credentials are those of AWS IAM.
    is_iam: bool,
}

#[derive(Default)]
struct Noted {
    /// Grows with each note.
    count: u64,
    last: Option<(Code, String)>,
}

impl Trouble {
    pub(super) fn new(is_iam: bool) -> Self {
        Self { is_iam, ..Self::default() }
    }

    pub(super) fn note(&self, code: Code, reason: &str) {
        let mut noted = self.noted.lock();
        let code = match code {
            Code::BrokerTransportFailure if is_refused_by_tls(reason) => Code::SSL,
            Code::Authentication if is_cut_off(reason) => Code::BrokerTransportFailure,
            code => code,
        };
        // That no broker is left follows from each one's own trouble, which says more.
        if matches!(code, Code::AllBrokersDown) && noted.last.is_some() {
            return;
        }
        noted.count += 1;
        noted.last = Some((code, reason.to_owned()));
    }

    /// The connection works.
    pub(super) fn clear(&self) {
        self.noted.lock().last = None;
    }

    pub(super) fn count(&self) -> u64 {
        self.noted.lock().count
    }

    /// What was noted since the count was `since`, where it will not mend by waiting.
    pub(super) fn hopeless_since(&self, since: u64) -> Option<EventLogError> {
        let noted = self.noted.lock();
        let (code, reason) = noted.last.as_ref().filter(|_| noted.count > since)?;
        let error = self.connection_error(*code, reason);
        (!error.is_transient()).then_some(error)
    }

    fn last(&self) -> Option<EventLogError> {
        let noted = self.noted.lock();
        noted.last.as_ref().map(|(code, reason)| self.connection_error(*code, reason))
    }

    fn connection_error(&self, code: Code, reason: &str) -> EventLogError {
        match code {
            Code::Authentication | Code::SaslAuthenticationFailed if self.is_iam => {
                EventLogError::Unauthorized(format!(
                    "no access to Kafka by AWS IAM ({reason}); check the credentials of AWS (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role), AWS_REGION, and that their policy allows kafka-cluster:Connect"
                ))
            }
            Code::Authentication | Code::SaslAuthenticationFailed => EventLogError::Unauthorized(format!(
                "Kafka does not accept the credentials ({reason}); check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD or the secret, KAFKA_SASL_MECHANISM and KAFKA_SECURITY_PROTOCOL"
            )),
            Code::UnsupportedSASLMechanism | Code::IllegalSASLState => EventLogError::Unauthorized(format!(
                "Kafka does not offer this way to authenticate ({reason}); check KAFKA_SASL_MECHANISM"
            )),
            Code::SSL => EventLogError::Unauthorized(format!(
                "no encrypted connection to Kafka ({reason}); check that KAFKA_SSL_CA_LOCATION (of a function: the secret of KAFKA_CA_SECRET_ARN) has the authority of the brokers' certificates, that their names are in them, and KAFKA_SSL_CERTIFICATE_LOCATION (KAFKA_CERTIFICATE_SECRET_ARN) where brokers ask for a certificate"
            )),
            Code::Resolve => EventLogError::Unavailable(format!(
                "the name of a broker is unknown ({reason}); check KAFKA_BOOTSTRAP_SERVERS, the brokers' advertised.listeners and the DNS"
            )),
            _ => EventLogError::Unavailable(format!(
                "no connection to Kafka ({reason}); check that it runs, and that KAFKA_BOOTSTRAP_SERVERS or --kafka names it"
            )),
        }
    }
}

/// In TLS 1.3 a broker refuses a client's certificate, or its absence, after the client's part of the handshake is over:
/// librdkafka tells the alert (RFC 8446, 6.2) as a connection that broke.
fn is_refused_by_tls(reason: &str) -> bool {
    let alerts =
        ["bad certificate", "certificate required", "unsupported certificate", "certificate unknown", "unknown ca"];
    alerts.iter().any(|alert| reason.contains(&format!("alert {alert}")))
}

/// Whether a broker went away before it could judge the credentials: librdkafka reports every end of the handshake that
/// chooses the mechanism as a failed authentication, and only in its words whether it or the broker ended it.
fn is_cut_off(reason: &str) -> bool {
    reason.contains("mechanism handshake failed: Local: ")
}

/// Whether the code is only what a broken connection looks like from a call.
fn is_of_the_connection(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::Resolve
            | Code::SSL
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::WaitingForCoordinator
    )
}

/// The code of an error, where it has one.
pub(super) fn code_of(error: &KafkaError) -> Option<Code> {
    match error {
        // rdkafka (0.39) does not count it among those that have a code.
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

/// An error of a call that was about `topic`.
pub(super) fn translate(error: &KafkaError, topic: &str, trouble: &Trouble) -> EventLogError {
    match code_of(error) {
        Some(code) => of_code(code, topic, trouble),
        None if matches!(error, KafkaError::Canceled | KafkaError::Seek(_)) => {
            EventLogError::Unavailable(format!("the call was given up ({error}); try again"))
        }
        // What a client cannot be made with: a wrong file, a wrong combination.
        None if error.to_string().contains("ssl.key.location") => EventLogError::Refused(format!(
            "the key of this client's certificate cannot be read ({error}); check KAFKA_SSL_KEY_LOCATION, and KAFKA_SSL_KEY_PASSWORD where the key has a password"
        )),
        None => EventLogError::Refused(format!("Kafka's client refuses: {error}; check the KAFKA_… variables")),
    }
}

/// The same, by its code alone.
pub(super) fn of_code(code: Code, topic: &str, trouble: &Trouble) -> EventLogError {
    if is_of_the_connection(code)
        && let Some(reason) = trouble.last()
    {
        return reason;
    }
    // Whether the token that was refused had ended is known with the connection's own word, which may come after the call's.
    if trouble.is_iam && matches!(code, Code::Authentication | Code::SaslAuthenticationFailed) {
        return EventLogError::Unavailable(format!("the token of AWS IAM was refused ({code}); it is tried again"));
    }
    let acl = |what: &str| {
        EventLogError::Unauthorized(format!(
            "Kafka does not allow this client {what} ({code}); an administrator grants it with kafka-acls, see the table of operations in docs/operations.md"
        ))
    };
    let refused = |then: &str| EventLogError::Refused(format!("Kafka refuses that of {topic} ({code}); {then}"));
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownTopicId => {
            EventLogError::UnknownTopic(topic.to_owned())
        }
        Code::TopicAuthorizationFailed => acl(&format!("to use topic {topic}")),
        Code::GroupAuthorizationFailed => acl("to use the consumer group"),
        Code::ClusterAuthorizationFailed => acl("to do this on the cluster"),
        Code::TransactionalIdAuthorizationFailed => acl("to use the transactional id"),
        Code::InvalidReplicationFactor => refused(
            "set KAFKA_REPLICATION_FACTOR to no more than the cluster has brokers, and no less than it asks for",
        ),
        Code::PolicyViolation | Code::InvalidConfig | Code::InvalidPartitions | Code::InvalidReplicaAssignment => {
            refused(
                "the cluster has rules of its own for topics: make it by hand, with the partitions that docs/events.md names (\"Topics by hand\" in docs/operations.md)",
            )
        }
        Code::InvalidTimestamp => refused(
            "its record's time is further from the broker's than the topic allows: message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic say how far, and the clock of whoever made the record may be wrong",
        ),
        Code::SecurityDisabled
        | Code::InvalidTopic
        | Code::InvalidRequest
        | Code::InvalidArgument
        | Code::InvalidRecord
        | Code::InvalidRequiredAcks
        | Code::InvalidGroupId
        | Code::InvalidSessionTimeout
        | Code::InvalidCommitOffsetSize
        | Code::InconsistentGroupProtocol
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedCompressionType
        | Code::NotImplemented => refused("the brokers' own log says more"),
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL
        | Code::Resolve => trouble.connection_error(code, &code.to_string()),
        _ => EventLogError::Unavailable(format!("{code} ({topic}); the same call may succeed later")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_broker_is_transient_and_what_asks_for_a_person_is_not() {
        let trouble = Trouble::default();
        for code in [
            Code::BrokerTransportFailure,
            Code::MessageTimedOut,
            Code::NotLeaderForPartition,
            Code::LeaderNotAvailable,
            Code::NotEnoughReplicas,
            Code::CoordinatorLoadInProgress,
            Code::ThrottlingQuotaExceeded,
            Code::KafkaStorageError,
            Code::Resolve,
            Code::Fatal,
        ] {
            assert!(of_code(code, "t", &trouble).is_transient(), "{code}");
        }
        for code in [
            Code::SaslAuthenticationFailed,
            Code::TopicAuthorizationFailed,
            Code::ClusterAuthorizationFailed,
            Code::UnknownTopicOrPartition,
            Code::InvalidTopic,
            Code::InvalidTimestamp,
            Code::PolicyViolation,
        ] {
            assert!(!of_code(code, "t", &trouble).is_transient(), "{code}");
        }
    }

    #[test]
    fn a_certificate_that_a_broker_asks_for_in_vain_is_no_broken_connection() {
        let trouble = Trouble::default();
        let alert = "Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42";
        trouble.note(Code::BrokerTransportFailure, alert);
        assert!(trouble.hopeless_since(0).is_some());
        trouble.note(Code::BrokerTransportFailure, "Disconnected");
        assert!(trouble.hopeless_since(0).is_none());
    }

    #[test]
    fn a_broker_that_ends_in_the_middle_of_a_handshake_is_a_broken_connection_and_one_that_refuses_is_none() {
        let trouble = Trouble::default();
        let handshake = |why: &str| {
            format!("SASL SCRAM-SHA-512 mechanism handshake failed: {why}: broker's supported mechanisms: (n/a)")
        };
        for why in ["Local: Broker transport failure", "Local: Timed out"] {
            trouble.note(Code::Authentication, &handshake(why));
            assert!(trouble.hopeless_since(0).is_none(), "{why}");
            let error = of_code(Code::OperationTimedOut, "t", &trouble);
            assert!(matches!(&error, EventLogError::Unavailable(said) if said.contains(why)), "{error:?}");
        }
        trouble.note(Code::Authentication, &handshake("Broker: Unsupported SASL mechanism"));
        let error = trouble.hopeless_since(0).unwrap();
        assert!(error.to_string().contains("KAFKA_SASL_MECHANISM"), "{error}");
    }

    #[test]
    fn a_refused_token_is_judged_by_the_word_of_the_connection_and_a_refused_password_at_once() {
        for code in [Code::Authentication, Code::SaslAuthenticationFailed] {
            let trouble = Trouble::new(true);
            assert!(
                of_code(code, "t", &trouble).is_transient(),
                "{code}: the call heard of it before the connection did"
            );
            trouble.note(code, "SASL authentication error: access denied");
            assert!(matches!(of_code(code, "t", &trouble), EventLogError::Unauthorized(_)), "{code}");
            assert!(!of_code(code, "t", &Trouble::new(false)).is_transient(), "{code}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_change() {
        for (code, what) in [
            (Code::InvalidReplicationFactor, "KAFKA_REPLICATION_FACTOR"),
            (Code::PolicyViolation, "make it by hand"),
            (Code::InvalidConfig, "make it by hand"),
            (Code::InvalidTimestamp, "message.timestamp.before.max.ms"),
            (Code::InvalidRecord, "the brokers' own log"),
        ] {
            let error = of_code(code, "nlj.training", &Trouble::default());
            let EventLogError::Refused(why) = &error else { panic!("{error:?}") };
            assert!(why.contains(what) && why.contains("nlj.training"), "{why}");
        }
    }

    #[test]
    fn what_fails_while_topics_are_made_is_told_apart_as_anywhere_else() {
        let told = |code| translate(&KafkaError::AdminOp(code), "t", &Trouble::default());
        assert!(told(Code::RequestTimedOut).is_transient());
        assert!(translate(&KafkaError::Canceled, "t", &Trouble::default()).is_transient());
        assert!(matches!(told(Code::TopicAuthorizationFailed), EventLogError::Unauthorized(_)));
        assert!(matches!(told(Code::UnknownTopicOrPartition), EventLogError::UnknownTopic(_)));
    }

    #[test]
    fn a_call_that_ran_out_of_time_says_what_the_connection_suffers_from() {
        let trouble = Trouble::default();
        let before = trouble.count();
        trouble.note(Code::Authentication, "SASL authentication error: Authentication failed");
        trouble.note(Code::AllBrokersDown, "1/1 brokers are down");
        let error = of_code(Code::OperationTimedOut, "t", &trouble);
        assert!(matches!(&error, EventLogError::Unauthorized(why) if why.contains("KAFKA_SASL_PASSWORD")), "{error}");
        assert!(trouble.hopeless_since(before).is_some());
        trouble.clear();
        assert!(of_code(Code::OperationTimedOut, "t", &trouble).is_transient());
    }
}
