//! Every rule of the validator: what it asks for and where that is written. The ids are a closed set, fit for labels.
//!
//! Requirements are the XAPI-00001 … XAPI-00335 of the conformance requirements of xAPI 1.0.3; a section stands where
//! none of them says it.

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its stable id, `actor.ifi.exactly-one`.
    pub id: &'static str,
    /// Where it comes from: `XAPI-00021`, or the section of a specification.
    pub requirement: &'static str,
    /// What it asks for, in one sentence.
    pub description: &'static str,
}

macro_rules! rules {
    ($($name:ident = $id:literal, $requirement:literal, $description:literal;)+) => {
        $(pub(super) static $name: Rule = Rule { id: $id, requirement: $requirement, description: $description };)+

        /// Every rule, in the order of the specification.
        pub static RULES: &[Rule] = &[
            $(Rule { id: $id, requirement: $requirement, description: $description },)+
        ];
    };
}

rules! {
    LIMIT_BYTES = "limit.bytes", "RFC 8259 section 9",
        "A statement is not longer than the limit.";
    LIMIT_DEPTH = "limit.depth", "RFC 8259 section 9",
        "Objects and arrays do not nest deeper than the limit.";
    LIMIT_STRING = "limit.string", "RFC 8259 section 9",
        "No string and no key is longer than the limit.";
    JSON_UTF8 = "json.utf8", "XAPI-00015",
        "The text is UTF-8.";
    JSON_SYNTAX = "json.syntax", "XAPI-00014",
        "The text is one JSON value and nothing else.";

    STATEMENT_OBJECT = "statement.object", "XAPI-00014",
        "A statement is a JSON object.";
    VALUE_NULL = "value.null", "XAPI-00001",
        "Null stands nowhere but in extension values.";
    VALUE_TYPE = "value.type", "XAPI-00006",
        "Every value has the JSON type that its place asks for.";
    KEY_CASE = "key.case", "XAPI-00008",
        "Keys are written in the letter case of the specification.";
    KEY_UNKNOWN = "key.unknown", "XAPI-00010",
        "No keys but those of the specification.";
    KEY_DUPLICATE = "key.duplicate", "XAPI-00021",
        "No object has the same key twice.";

    ACTOR_REQUIRED = "statement.actor.required", "XAPI-00003",
        "A statement has an actor.";
    VERB_REQUIRED = "statement.verb.required", "XAPI-00004",
        "A statement has a verb.";
    OBJECT_REQUIRED = "statement.object.required", "XAPI-00005",
        "A statement has an object.";
    STATEMENT_ID = "statement.id", "XAPI-00027",
        "The id of a statement is a UUID in its standard form.";
    STATEMENT_TIMESTAMP = "statement.timestamp", "XAPI-00022",
        "The timestamp is an ISO 8601 date and time, in 2.0 an RFC 3339 one.";
    STATEMENT_STORED = "statement.stored", "XAPI-00023",
        "The stored time is an ISO 8601 date and time, in 2.0 an RFC 3339 one.";
    STATEMENT_VERSION = "statement.version", "XAPI-00101",
        "The version is 1.0 or 1.0.x, and 2.0.x where 2.0 is spoken.";

    ACTOR_OBJECT_TYPE = "actor.object-type", "XAPI-00031",
        "The objectType of an actor is Agent or Group.";
    ACTOR_IFI = "actor.ifi.exactly-one", "XAPI-00034",
        "An Agent has exactly one of mbox, mbox_sha1sum, openid and account.";
    ACTOR_MEMBER = "actor.member", "XAPI-00035",
        "Only a Group has members.";
    GROUP_IFI = "group.ifi.at-most-one", "XAPI-00037",
        "A Group has at most one of mbox, mbox_sha1sum, openid and account.";
    GROUP_MEMBER_REQUIRED = "group.member.required", "XAPI-00037",
        "A Group without an identifier has at least one member.";
    GROUP_MEMBER_AGENT = "group.member.agent", "XAPI-00036",
        "The members of a Group are Agents.";
    IFI_MBOX = "ifi.mbox", "XAPI-00038",
        "An mbox is mailto: and an e-mail address.";
    IFI_SHA1 = "ifi.mbox-sha1sum", "XAPI-00039",
        "An mbox_sha1sum is 40 hex digits.";
    IFI_OPENID = "ifi.openid", "XAPI-00040",
        "An openid is an absolute URI.";
    ACCOUNT_HOME_PAGE = "account.home-page", "XAPI-00042",
        "An account has a homePage, which is an IRL.";
    ACCOUNT_NAME = "account.name", "XAPI-00043",
        "An account has a name.";

    VERB_ID = "verb.id", "XAPI-00044",
        "A verb has an id, which is an absolute IRI.";
    LANGUAGE_MAP_TAG = "language-map.tag", "XAPI-00121",
        "The keys of a language map are RFC 5646 tags.";

    OBJECT_TYPE = "object.object-type", "XAPI-00046",
        "The objectType of an object is Activity, Agent, Group, SubStatement or StatementRef.";
    OBJECT_TYPE_ACTOR = "object.object-type.actor", "XAPI-00065",
        "An Agent or a Group as object states its objectType.";
    OBJECT_TYPE_STATEMENT = "object.object-type.statement", "XAPI-00073",
        "A SubStatement as object states its objectType.";
    ACTIVITY_OBJECT_TYPE = "activity.object-type", "XAPI-00094",
        "The objectType of a context activity is Activity.";
    ACTIVITY_ID = "activity.id", "XAPI-00047",
        "An activity has an id, which is an absolute IRI.";
    ACTIVITY_TYPE = "activity.type", "XAPI-00060",
        "The type of an activity is an absolute IRI.";
    ACTIVITY_MORE_INFO = "activity.more-info", "XAPI-00061",
        "The moreInfo of an activity is an IRL.";
    INTERACTION_TYPE = "activity.interaction-type", "XAPI-00049",
        "The interactionType is one of the ten of the specification.";
    INTERACTION_TYPE_REQUIRED = "activity.interaction-type.required", "XAPI-00064",
        "What describes an interaction comes with an interactionType.";
    COMPONENT_ID = "component.id", "XAPI-00058",
        "An interaction component has an id, which is not empty and not another's in its list.";
    STATEMENT_REF_ID = "statement-ref.id", "XAPI-00072",
        "A StatementRef has an id, which is a UUID in its standard form.";
    SUB_STATEMENT_AUTHORITY = "sub-statement.authority", "XAPI-00067",
        "A SubStatement has no authority.";
    SUB_STATEMENT_VERSION = "sub-statement.version", "XAPI-00068",
        "A SubStatement has no version.";
    SUB_STATEMENT_STORED = "sub-statement.stored", "XAPI-00069",
        "A SubStatement has no stored time.";
    SUB_STATEMENT_ID = "sub-statement.id", "XAPI-00070",
        "A SubStatement has no id.";
    SUB_STATEMENT_NESTED = "sub-statement.nested", "XAPI-00071",
        "A SubStatement has no SubStatement.";
    VOIDING_OBJECT = "voiding.object", "XAPI-00017",
        "The object of a voiding statement is a StatementRef.";

    SCORE_RANGE = "score.range", "XAPI-00002",
        "A number in a score fits into a double.";
    SCORE_SCALED = "score.scaled", "XAPI-00083",
        "A scaled score lies between -1 and 1.";
    SCORE_BOUNDS = "score.bounds", "XAPI-00080",
        "The min of a score is not above its max.";
    SCORE_RAW = "score.raw", "XAPI-00082",
        "A raw score lies between min and max.";
    RESULT_DURATION = "result.duration", "XAPI-00077",
        "A duration is an ISO 8601 duration.";

    CONTEXT_REGISTRATION = "context.registration", "XAPI-00087",
        "A registration is a UUID in its standard form.";
    CONTEXT_TEAM = "context.team", "XAPI-00088",
        "A team is a Group.";
    CONTEXT_REVISION = "context.revision", "XAPI-00084",
        "A revision comes only with an Activity as object.";
    CONTEXT_PLATFORM = "context.platform", "XAPI-00085",
        "A platform comes only with an Activity as object.";
    CONTEXT_LANGUAGE = "context.language", "XAPI-00091",
        "The language of a context is an RFC 5646 tag.";
    CONTEXT_STATEMENT = "context.statement", "XAPI-00092",
        "The statement of a context is a StatementRef and says so in objectType.";
    CONTEXT_AGENT_TYPE = "context-agent.object-type", "IEEE 9274.1.1 Context Agents Table",
        "The objectType of a context agent is contextAgent.";
    CONTEXT_AGENT_AGENT = "context-agent.agent", "IEEE 9274.1.1 Context Agents Table",
        "A context agent has an agent, which is an Agent.";
    CONTEXT_GROUP_TYPE = "context-group.object-type", "IEEE 9274.1.1 Context Group Table",
        "The objectType of a context group is contextGroup.";
    CONTEXT_GROUP_GROUP = "context-group.group", "IEEE 9274.1.1 Context Group Table",
        "A context group has a group, which is a Group.";
    RELEVANT_TYPES = "relevant-types", "IEEE 9274.1.1 Context Agents Table",
        "Relevant types are absolute IRIs, at least one.";

    AUTHORITY_GROUP = "authority.group", "XAPI-00098",
        "A Group as authority has no identifier and exactly two members.";
    AUTHORITY_CONSUMER = "authority.consumer", "xAPI-Data 2.4.9",
        "One of the two members of an authority, the application, has an account.";

    ATTACHMENT_USAGE_TYPE = "attachment.usage-type", "XAPI-00107",
        "An attachment has a usageType, which is an absolute IRI.";
    ATTACHMENT_DISPLAY = "attachment.display", "XAPI-00106",
        "An attachment has a display.";
    ATTACHMENT_CONTENT_TYPE = "attachment.content-type", "XAPI-00105",
        "An attachment has a contentType, which is an Internet media type.";
    ATTACHMENT_LENGTH = "attachment.length", "XAPI-00102",
        "An attachment has a length, which is a whole number of octets.";
    ATTACHMENT_SHA2 = "attachment.sha2", "XAPI-00103",
        "An attachment has a sha2, which is the hex digits of a SHA-2 hash.";
    ATTACHMENT_FILE_URL = "attachment.file-url", "XAPI-00104",
        "The fileUrl of an attachment is an IRL.";
    ATTACHMENT_SIGNATURE = "attachment.signature", "XAPI-00115",
        "A signature has the contentType application/octet-stream.";

    EXTENSION_KEY = "extension.key", "XAPI-00118",
        "The keys of extensions are absolute IRIs.";
}
