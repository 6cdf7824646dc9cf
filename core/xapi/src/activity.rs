//! Activities and their definitions (xAPI-Data 2.4.4.1).

use std::borrow::Cow;

use super::json::Read;
use super::keys::{KeySet, keys};
use super::path::Path;
use super::rules::{self, Rule};
use super::statement::Activity;
use super::validator::Validator;

keys!(ActivityKey { ObjectType = "objectType", Id = "id", Definition = "definition" });

keys!(DefinitionKey {
    Name = "name",
    Description = "description",
    Type = "type",
    MoreInfo = "moreInfo",
    Extensions = "extensions",
    InteractionType = "interactionType",
    CorrectResponsesPattern = "correctResponsesPattern",
    Choices = "choices",
    Scale = "scale",
    Source = "source",
    Target = "target",
    Steps = "steps",
});

keys!(ComponentKey { Id = "id", Description = "description" });

/// XAPI-00049.
const INTERACTION_TYPES: [&str; 10] = [
    "true-false",
    "choice",
    "fill-in",
    "long-fill-in",
    "matching",
    "performance",
    "sequencing",
    "likert",
    "numeric",
    "other",
];

impl<'a> Validator<'a> {
    /// An activity, written into `activity`; another `objectType` is reported under `rule`. Extensions are kept if asked for.
    pub(super) fn activity(
        &mut self,
        rule: &'static Rule,
        keep: bool,
        activity: &mut Activity<'a>,
        path: &Path<'_>,
    ) -> Read<()> {
        let Some(mut members) = self.members::<ActivityKey>(path)? else { return Ok(()) };
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            match key {
                ActivityKey::ObjectType => {
                    if let Some(stated) = self.text(at)?
                        && stated != "Activity"
                    {
                        let message = format!("The objectType {stated:?} does not fit here: write \"Activity\".");
                        self.report(rule, at, message);
                    }
                }
                // XAPI-00047.
                ActivityKey::Id => activity.id = self.iri(&rules::ACTIVITY_ID, at)?.unwrap_or_default(),
                // XAPI-00048.
                ActivityKey::Definition => self.definition(activity, keep, at)?,
            }
        }
        if !members.has(ActivityKey::Id) {
            self.report(&rules::ACTIVITY_ID, path, "This activity has no id: give its IRI.");
        }
        Ok(())
    }

    fn definition(&mut self, activity: &mut Activity<'a>, keep: bool, path: &Path<'_>) -> Read<()> {
        use DefinitionKey as Key;
        let Some(mut members) = self.members::<Key>(path)? else { return Ok(()) };
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            match key {
                // XAPI-00056.
                Key::Name => activity.name = self.language_map(at)?,
                // XAPI-00059.
                Key::Description => {
                    self.language_map(at)?;
                }
                // XAPI-00060.
                Key::Type => activity.kind = self.iri(&rules::ACTIVITY_TYPE, at)?,
                // XAPI-00061.
                Key::MoreInfo => {
                    self.iri(&rules::ACTIVITY_MORE_INFO, at)?;
                }
                // XAPI-00057.
                Key::Extensions => activity.extensions = self.extensions(keep, at)?,
                Key::InteractionType => activity.interaction_type = self.interaction_type(at)?,
                // XAPI-00050; neither the syntax nor the length of a pattern is anyone's business here.
                Key::CorrectResponsesPattern => {
                    self.elements(at, |validator, at| validator.text(at).map(drop))?;
                }
                // XAPI-00051 to 55; a list that does not belong to the interaction type is let through.
                Key::Choices | Key::Scale | Key::Source | Key::Target | Key::Steps => self.components(at)?,
            }
        }
        // XAPI-00064, and xAPI-Data 2.4.4.1 for the lists of components.
        let describing = [Key::CorrectResponsesPattern, Key::Choices, Key::Scale, Key::Source, Key::Target, Key::Steps];
        if !members.has(Key::InteractionType)
            && let Some(key) = describing.into_iter().find(|&key| members.has(key))
        {
            let message = format!("This definition has {} but no interactionType: add it.", key.name());
            self.report(&rules::INTERACTION_TYPE_REQUIRED, path, message);
        }
        Ok(())
    }

    fn interaction_type(&mut self, path: &Path<'_>) -> Read<Option<Cow<'a, str>>> {
        let text = self.text(path)?;
        if let Some(text) = &text
            && !INTERACTION_TYPES.contains(&&**text)
        {
            let message = format!("{text:?} is no interactionType: write one of {}.", INTERACTION_TYPES.join(", "));
            self.report(&rules::INTERACTION_TYPE, path, message);
        }
        Ok(text)
    }

    /// A list of interaction components (xAPI-Data 2.4.4.1, Interaction Components).
    fn components(&mut self, path: &Path<'_>) -> Read<()> {
        let mut ids = KeySet::default();
        self.elements(path, |validator, path| {
            // XAPI-00063.
            let Some(mut members) = validator.members::<ComponentKey>(path)? else { return Ok(()) };
            while let Some(key) = validator.next(&mut members, path)? {
                let at = &path.key(key.name());
                match key {
                    // XAPI-00058.
                    ComponentKey::Id => match validator.text(at)? {
                        Some(id) if id.is_empty() => {
                            validator.report(&rules::COMPONENT_ID, at, "This id is empty: give the component a name.");
                        }
                        Some(id) if !ids.insert(&id) => {
                            let message =
                                format!("The id {id:?} is another component's in this list: give it its own.");
                            validator.report(&rules::COMPONENT_ID, at, message);
                        }
                        _ => {}
                    },
                    // XAPI-00062.
                    ComponentKey::Description => {
                        validator.language_map(at)?;
                    }
                }
            }
            if !members.has(ComponentKey::Id) {
                validator.report(&rules::COMPONENT_ID, path, "This component has no id: give it one.");
            }
            Ok(())
        })?;
        Ok(())
    }
}
