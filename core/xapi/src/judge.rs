//! A statement as a whole (xAPI-Data 2.4), and a SubStatement, which is one with fewer keys.

use super::actor::Role;
use super::context::JudgedContext;
use super::json::{Fault, Read};
use super::keys::keys;
use super::path::Path;
use super::rules::{self, Rule};
use super::statement::{Object, Statement};
use super::timestamp;
use super::validator::Validator;
use super::verb::VOIDED;
use super::version::Version;

keys!(StatementKey {
    Id = "id",
    Actor = "actor",
    Verb = "verb",
    Object = "object",
    Result = "result",
    Context = "context",
    Timestamp = "timestamp",
    Stored = "stored",
    Authority = "authority",
    Version = "version",
    Attachments = "attachments",
    ObjectType = "objectType",
});

impl<'a> Validator<'a> {
    /// A statement or, `nested`, a SubStatement. All that holds for the one holds for the other (XAPI-00066).
    /// What was read is written into `statement`, which is large.
    pub(super) fn statement(&mut self, nested: bool, statement: &mut Statement<'a>, path: &Path<'_>) -> Read<()> {
        use StatementKey as Key;
        let mut has_known_object = false;
        let mut context = JudgedContext::default();
        let Some(mut members) = self.members::<Key>(path)? else { return Ok(()) };
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            match key {
                Key::Id | Key::Stored | Key::Authority | Key::Version if nested => {
                    self.report(forbidden_in_sub_statements(key), at, "A SubStatement does not have this: remove it.");
                    self.free_value(at)?;
                }
                // XAPI-00027, 28, 29, 30.
                Key::Id => statement.id = self.uuid(&rules::STATEMENT_ID, at)?,
                Key::Actor => self.actor(Role::Any, &mut statement.actor, at)?,
                Key::Verb => statement.verb = self.verb(at)?,
                Key::Object => has_known_object = self.object(nested, &mut statement.object, at)?,
                Key::Result => self.result(!nested, &mut statement.result, at)?,
                Key::Context => context = self.context(!nested, &mut statement.context, at)?,
                // XAPI-00022.
                Key::Timestamp => statement.timestamp_ms = self.timestamp(&rules::STATEMENT_TIMESTAMP, at)?,
                // XAPI-00023.
                Key::Stored => drop(self.timestamp(&rules::STATEMENT_STORED, at)?),
                // XAPI-00024.
                Key::Authority => self.other_actor(Role::Authority, at)?,
                Key::Version => self.statement_version(at)?,
                Key::Attachments => self.attachments(at)?,
                // `shape` has seen that it is "SubStatement", be it under a key in another letter case.
                Key::ObjectType if nested => drop(self.text(at)?),
                Key::ObjectType => {
                    self.report(&rules::KEY_UNKNOWN, at, "A statement does not have this key: remove it.");
                    self.free_value(at)?;
                }
            }
        }
        for (key, rule) in [
            (Key::Actor, &rules::ACTOR_REQUIRED),
            (Key::Verb, &rules::VERB_REQUIRED),
            (Key::Object, &rules::OBJECT_REQUIRED),
        ] {
            if !members.has(key) {
                self.report(rule, path, format!("This statement has no {}: add it.", key.name()));
            }
        }
        if has_known_object {
            self.judge_with_object(statement, context, path);
        }
        Ok(())
    }

    /// What depends on what the object is, which may come last.
    fn judge_with_object(&mut self, statement: &Statement<'a>, judged: JudgedContext, path: &Path<'_>) {
        let object = &statement.object;
        // XAPI-00017, XAPI-00020.
        if statement.verb == VOIDED && !matches!(object, Object::StatementRef(_)) {
            let message = "A statement is voided by its id: write a StatementRef as object.";
            self.report(&rules::VOIDING_OBJECT, &path.key("object"), message);
        }
        if matches!(object, Object::Activity(_)) {
            return;
        }
        let context = path.key("context");
        // XAPI-00084.
        if judged.has_revision {
            let message = "A revision belongs to an Activity, and the object is none: remove it.";
            self.report(&rules::CONTEXT_REVISION, &context.key("revision"), message);
        }
        // XAPI-00085.
        if judged.has_platform {
            let message = "A platform belongs to an Activity, and the object is none: remove it.";
            self.report(&rules::CONTEXT_PLATFORM, &context.key("platform"), message);
        }
    }

    /// A timestamp (xAPI-Data 4.5, XAPI-00123) as milliseconds since 1970 UTC.
    fn timestamp(&mut self, rule: &'static Rule, path: &Path<'_>) -> Read<Option<i64>> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        let fault = match timestamp::parse(&text) {
            Ok(timestamp) => {
                self.version_mattered |= !timestamp.holds_everywhere();
                match timestamp.fault_in(self.version) {
                    None => return Ok(Some(timestamp.instant().as_millis())),
                    Some(fault) => fault,
                }
            }
            Err(fault) => fault,
        };
        self.report(rule, path, format!("The timestamp {text:?} {fault}."));
        Ok(None)
    }

    /// XAPI-00101, and IEEE 9274.1.1 for 2.0.
    fn statement_version(&mut self, path: &Path<'_>) -> Read<()> {
        let Some(text) = self.text(path)? else { return Ok(()) };
        match Version::of_statement(&text) {
            Some(Version::V2_0) if self.version_is_open => {
                if self.version_mattered {
                    return Err(Box::new(Fault::OtherVersion));
                }
                self.version = Version::V2_0;
            }
            Some(version) if version == Version::V1_0_3 || self.version == Version::V2_0 => {}
            _ => {
                let allowed = if self.version == Version::V2_0 { "1.0, 1.0.x or 2.0.x" } else { "1.0 or 1.0.x" };
                self.report(&rules::STATEMENT_VERSION, path, format!("The version {text:?} is not {allowed}."));
            }
        }
        Ok(())
    }
}

fn forbidden_in_sub_statements(key: StatementKey) -> &'static Rule {
    match key {
        StatementKey::Stored => &rules::SUB_STATEMENT_STORED,
        StatementKey::Authority => &rules::SUB_STATEMENT_AUTHORITY,
        StatementKey::Version => &rules::SUB_STATEMENT_VERSION,
        _ => &rules::SUB_STATEMENT_ID,
    }
}
