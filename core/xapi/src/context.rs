//! Contexts (xAPI-Data 2.4.6; in 2.0 also contextAgents and contextGroups).

use super::actor::Role;
use super::json::{Kind, Read};
use super::keys::keys;
use super::language_tag;
use super::path::Path;
use super::rules::{self, Rule};
use super::statement::{Activity, Context};
use super::validator::Validator;
use super::version::Version;

keys!(ContextKey {
    Registration = "registration",
    Instructor = "instructor",
    Team = "team",
    ContextActivities = "contextActivities",
    Revision = "revision",
    Platform = "platform",
    Language = "language",
    Statement = "statement",
    Extensions = "extensions",
    ContextAgents = "contextAgents",
    ContextGroups = "contextGroups",
});

keys!(ContextActivitiesKey { Parent = "parent", Grouping = "grouping", Category = "category", Other = "other" });

keys!(ContextAgentKey { ObjectType = "objectType", Agent = "agent", RelevantTypes = "relevantTypes" });

keys!(ContextGroupKey { ObjectType = "objectType", Group = "group", RelevantTypes = "relevantTypes" });

/// What of a context is judged together with the object.
#[derive(Clone, Copy, Default)]
pub(super) struct JudgedContext {
    pub(super) has_revision: bool,
    pub(super) has_platform: bool,
}

impl<'a> Validator<'a> {
    /// A context, written into `context`; parents, groupings and extensions are kept if asked for.
    pub(super) fn context(&mut self, keep: bool, context: &mut Context<'a>, path: &Path<'_>) -> Read<JudgedContext> {
        use ContextKey as Key;
        let mut judged = JudgedContext::default();
        let Some(mut members) = self.members::<Key>(path)? else { return Ok(judged) };
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            match key {
                // XAPI-00087.
                Key::Registration => context.registration = self.uuid(&rules::CONTEXT_REGISTRATION, at)?,
                // xAPI-Data 2.4.6: an Agent or a Group.
                Key::Instructor => self.other_actor(Role::Any, at)?,
                // XAPI-00088.
                Key::Team => self.other_actor(Role::Team, at)?,
                Key::ContextActivities => self.context_activities(context, keep, at)?,
                // XAPI-00089.
                Key::Revision => judged.has_revision = self.text(at)?.is_some(),
                // XAPI-00090.
                Key::Platform => judged.has_platform = self.text(at)?.is_some(),
                // XAPI-00091.
                Key::Language => {
                    if let Some(tag) = self.text(at)?
                        && !language_tag::is_well_formed(&tag)
                    {
                        let message = format!("{tag:?} is no RFC 5646 tag: write one such as \"en\" or \"en-US\".");
                        self.report(&rules::CONTEXT_LANGUAGE, at, message);
                    }
                }
                // XAPI-00092.
                Key::Statement => drop(self.statement_ref(&rules::CONTEXT_STATEMENT, at)?),
                Key::Extensions => context.extensions = self.extensions(keep, at)?,
                // IEEE 9274.1.1 only.
                Key::ContextAgents | Key::ContextGroups if self.version == Version::V1_0_3 => {
                    self.version_mattered = true;
                    let message = "xAPI 1.0.3 does not have this key: state \"version\": \"2.0.0\", or remove it.";
                    self.report(&rules::KEY_UNKNOWN, at, message);
                    self.free_value(at)?;
                }
                Key::ContextAgents => drop(self.elements(at, |validator, at| validator.context_agent(at))?),
                Key::ContextGroups => drop(self.elements(at, |validator, at| validator.context_group(at))?),
            }
        }
        Ok(judged)
    }

    /// XAPI-00086, 93, 94: each key has one activity or an array of them.
    fn context_activities(&mut self, context: &mut Context<'a>, keep: bool, path: &Path<'_>) -> Read<()> {
        let Some(mut members) = self.members::<ContextActivitiesKey>(path)? else { return Ok(()) };
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            let mut kept = match key {
                ContextActivitiesKey::Parent if keep => Some(&mut context.parents),
                ContextActivitiesKey::Grouping if keep => Some(&mut context.groupings),
                _ => None,
            };
            let mut judge = |validator: &mut Self, at: &Path<'_>| {
                let mut activity = Activity::default();
                validator.activity(&rules::ACTIVITY_OBJECT_TYPE, false, &mut activity, at)?;
                if let Some(kept) = &mut kept {
                    kept.push((activity.id, activity.kind));
                }
                Ok(())
            };
            if self.reader.peek()? == Kind::Array {
                self.elements(at, judge)?;
            } else {
                judge(self, at)?;
            }
        }
        Ok(())
    }

    /// IEEE 9274.1.1, Context Agents Table.
    fn context_agent(&mut self, path: &Path<'_>) -> Read<()> {
        let Some(mut members) = self.members::<ContextAgentKey>(path)? else { return Ok(()) };
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            match key {
                ContextAgentKey::ObjectType => self.constant("contextAgent", &rules::CONTEXT_AGENT_TYPE, at)?,
                ContextAgentKey::Agent => self.other_actor(Role::ContextAgent, at)?,
                ContextAgentKey::RelevantTypes => self.relevant_types(at)?,
            }
        }
        if !members.has(ContextAgentKey::ObjectType) {
            self.report(&rules::CONTEXT_AGENT_TYPE, path, "Add \"objectType\": \"contextAgent\".");
        }
        if !members.has(ContextAgentKey::Agent) {
            self.report(&rules::CONTEXT_AGENT_AGENT, path, "This context agent has no agent: add it.");
        }
        Ok(())
    }

    /// IEEE 9274.1.1, Context Group Table.
    fn context_group(&mut self, path: &Path<'_>) -> Read<()> {
        let Some(mut members) = self.members::<ContextGroupKey>(path)? else { return Ok(()) };
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            match key {
                ContextGroupKey::ObjectType => self.constant("contextGroup", &rules::CONTEXT_GROUP_TYPE, at)?,
                ContextGroupKey::Group => self.other_actor(Role::ContextGroup, at)?,
                ContextGroupKey::RelevantTypes => self.relevant_types(at)?,
            }
        }
        if !members.has(ContextGroupKey::ObjectType) {
            self.report(&rules::CONTEXT_GROUP_TYPE, path, "Add \"objectType\": \"contextGroup\".");
        }
        if !members.has(ContextGroupKey::Group) {
            self.report(&rules::CONTEXT_GROUP_GROUP, path, "This context group has no group: add it.");
        }
        Ok(())
    }

    fn constant(&mut self, expected: &str, rule: &'static Rule, path: &Path<'_>) -> Read<()> {
        if let Some(text) = self.text(path)?
            && text != expected
        {
            self.report(rule, path, format!("The objectType {text:?} does not fit here: write {expected:?}."));
        }
        Ok(())
    }

    fn relevant_types(&mut self, path: &Path<'_>) -> Read<()> {
        let length = self.elements(path, |validator, at| validator.iri(&rules::RELEVANT_TYPES, at).map(drop))?;
        if length == Some(0) {
            self.report(&rules::RELEVANT_TYPES, path, "This list is empty: name a type, or leave the key out.");
        }
        Ok(())
    }
}
