//! The object of a statement (xAPI-Data 2.4.4): an Activity, an Agent, a Group, a SubStatement or a StatementRef.

use std::borrow::Cow;

use uuid::Uuid;

use super::actor::Role;
use super::json::{Kind, Read};
use super::keys::keys;
use super::path::Path;
use super::rules::{self, Rule};
use super::statement::{Activity, Actor, Object, Statement};
use super::validator::{FreeMembers, Validator};

keys!(StatementRefKey { ObjectType = "objectType", Id = "id" });

/// What one glance at an object tells.
#[derive(Default)]
struct Shape<'a> {
    /// `None` without an `objectType`; `Some(None)` where it is no string.
    object_type: Option<Option<Cow<'a, str>>>,
    has_id_or_definition: bool,
    has_identifier: bool,
    has_member: bool,
    has_statement_key: bool,
}

impl<'a> Validator<'a> {
    /// The object of a statement or, `nested`, of a SubStatement, written into `object`; false where its kind is unknown.
    ///
    /// Nearly every object is an activity, and `objectType` may be its last key. So it is judged as an activity, and
    /// only if that finds fault, looked at and judged anew as what it is.
    pub(super) fn object(&mut self, nested: bool, object: &mut Object<'a>, path: &Path<'_>) -> Read<bool> {
        if !self.expect(Kind::Object, path)? {
            return Ok(false);
        }
        let start = self.mark();
        if let Object::Activity(activity) = object {
            self.activity(&rules::OBJECT_TYPE, !nested, activity, path)?;
            if self.is_clean_since(&start) {
                return Ok(true);
            }
        }
        self.rewind(&start);
        let found = self.object_by_shape(nested, path)?;
        let is_known = found.is_some();
        *object = found.unwrap_or_default();
        Ok(is_known)
    }

    /// An object that is looked at before it is judged; `None` where its kind is unknown.
    #[cold]
    fn object_by_shape(&mut self, nested: bool, path: &Path<'_>) -> Read<Option<Object<'a>>> {
        let start = self.mark();
        let shape = self.shape(path)?;
        self.rewind(&start);
        match shape.object_type.as_ref().map(|stated| stated.as_deref()) {
            Some(Some("Activity")) => self.activity_again(nested, path),
            Some(Some("Agent")) => self.object_actor(false, path),
            Some(Some("Group")) => self.object_actor(true, path),
            Some(Some("StatementRef")) => Ok(self.statement_ref(&rules::OBJECT_TYPE, path)?.map(Object::StatementRef)),
            // XAPI-00071.
            Some(Some("SubStatement")) if nested => {
                let message = "A SubStatement cannot be the object of a SubStatement: refer to it by a StatementRef.";
                self.report(&rules::SUB_STATEMENT_NESTED, path, message);
                self.free_value(path)?;
                Ok(None)
            }
            Some(Some("SubStatement")) => self.sub_statement(path),
            // XAPI-00046, XAPI-00009.
            Some(Some(other)) => {
                let message = format!(
                    "The objectType {other:?} is none: write Activity, Agent, Group, SubStatement or StatementRef."
                );
                self.report(&rules::OBJECT_TYPE, &path.key("objectType"), message);
                self.free_value(path)?;
                Ok(None)
            }
            Some(None) => {
                // No string: the wrong type is reported, and what the object is stays open.
                self.activity_again(nested, path).map(|_| None)
            }
            // XAPI-00073.
            None if shape.has_statement_key => {
                let message = "This looks like a SubStatement: state \"objectType\": \"SubStatement\".";
                self.report(&rules::OBJECT_TYPE_STATEMENT, path, message);
                if nested {
                    self.free_value(path)?;
                    return Ok(None);
                }
                self.sub_statement(path)
            }
            // XAPI-00065.
            None if (shape.has_identifier || shape.has_member) && !shape.has_id_or_definition => {
                let kind = if shape.has_member { "Group" } else { "Agent" };
                let message = format!("An actor as object states what it is: add \"objectType\": \"{kind}\".");
                self.report(&rules::OBJECT_TYPE_ACTOR, path, message);
                self.object_actor(shape.has_member, path)
            }
            None => self.activity_again(nested, path),
        }
    }

    fn activity_again(&mut self, nested: bool, path: &Path<'_>) -> Read<Option<Object<'a>>> {
        let mut activity = Activity::default();
        self.activity(&rules::OBJECT_TYPE, !nested, &mut activity, path)?;
        Ok(Some(Object::Activity(activity)))
    }

    fn object_actor(&mut self, is_group: bool, path: &Path<'_>) -> Read<Option<Object<'a>>> {
        let mut actor = Actor::default();
        self.actor(Role::Object { is_group }, &mut actor, path)?;
        Ok(Some(Object::Actor(actor)))
    }

    fn sub_statement(&mut self, path: &Path<'_>) -> Read<Option<Object<'a>>> {
        self.statement(true, &mut Statement::default(), path)?;
        Ok(Some(Object::SubStatement))
    }

    /// Reads through an object once for its keys.
    fn shape(&mut self, path: &Path<'_>) -> Read<Shape<'a>> {
        let mut shape = Shape::default();
        if !self.enters_free(path)? {
            return Ok(shape);
        }
        let mut members = FreeMembers::default();
        while let Some(key) = self.next_free(&mut members, path)? {
            match &*key {
                "id" | "definition" => shape.has_id_or_definition = true,
                "mbox" | "mbox_sha1sum" | "openid" | "account" => shape.has_identifier = true,
                "member" => shape.has_member = true,
                "actor" | "verb" | "object" => shape.has_statement_key = true,
                // In the wrong letter case, too: the case is what is then reported, not a missing type.
                name if name.eq_ignore_ascii_case("objectType") && shape.object_type.is_none() => {
                    let is_text = self.reader.peek()? == Kind::String;
                    shape.object_type = Some(if is_text { Some(self.reader.string()?) } else { None });
                    if is_text {
                        continue;
                    }
                }
                _ => {}
            }
            self.free_value(&path.key(&key))?;
        }
        Ok(shape)
    }

    /// A StatementRef; a missing or other `objectType` is reported under `rule`.
    pub(super) fn statement_ref(&mut self, rule: &'static Rule, path: &Path<'_>) -> Read<Option<Uuid>> {
        let Some(mut members) = self.members::<StatementRefKey>(path)? else { return Ok(None) };
        let mut id = None;
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            match key {
                StatementRefKey::ObjectType => {
                    if let Some(stated) = self.text(at)?
                        && stated != "StatementRef"
                    {
                        let message = format!("The objectType {stated:?} does not fit here: write \"StatementRef\".");
                        self.report(rule, at, message);
                    }
                }
                // XAPI-00072.
                StatementRefKey::Id => id = self.uuid(&rules::STATEMENT_REF_ID, at)?,
            }
        }
        if !members.has(StatementRefKey::ObjectType) {
            self.report(rule, path, "This has no objectType: add \"objectType\": \"StatementRef\".");
        }
        if !members.has(StatementRefKey::Id) {
            self.report(&rules::STATEMENT_REF_ID, path, "This StatementRef has no id: give the statement's.");
        }
        Ok(id)
    }
}
