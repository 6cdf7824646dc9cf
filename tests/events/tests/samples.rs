//! Every file in `events/<family>` through the real function of its family.

use std::collections::BTreeSet;

use lyceum_core::catalog::EventType;
use lyceum_core::outcome::{Finding, Outcome, Report};
use lyceum_core::ports::statements::semantics::{Field, FieldValue};
use lyceum_core::record::{Position, Record};
use lyceum_events_tests::samples::{ExpectedFinding, Sample, json_files, read_expected, root, samples};
use lyceum_events_tests::world::World;
use lyceum_functions::{Look, REGISTRY};
use serde_json::Value;

#[test]
fn every_valid_sample_is_applied() {
    judge_all("valid", |world, sample, report| {
        expect(&report.outcome, &Outcome::Applied)?;
        expect(&world.letters().len(), &0)?;
        let documents = world.statements.model.documents();
        let stored = documents.iter().map(|stored| &stored.document).find(|of| Some(of.id) == report.event_id);
        let stored = stored.ok_or("its statement is not stored")?;
        let value = sample.record.value.as_deref().unwrap_or_default();
        let is_as_sent = value.windows(stored.raw.len()).any(|window| window == &*stored.raw);
        expect(&is_as_sent, &true)?;
        for (name, value) in &sample.expected.stored {
            let field = Field::named(name).ok_or_else(|| format!("a document has no field {name}"))?;
            let mut found = Value::Null;
            field.for_each_value(stored, |value| {
                if let FieldValue::Text(text) = value {
                    found = Value::String(text.into_owned());
                }
            });
            expect(&(name, &found), &(name, value))?;
        }
        for shown in &sample.expected.shows {
            let view = world
                .show(sample.family, &shown.tenant, &shown.kind, &shown.id)
                .ok_or_else(|| format!("there is no {} {}", shown.kind, shown.id))?;
            for (name, value) in &shown.holds {
                expect(&(name, &view[name.as_str()]), &(name, value))?;
            }
        }
        Ok(())
    });
}

#[test]
fn every_invalid_sample_becomes_the_dead_letter_that_stands_beside_it() {
    judge_all("invalid", |world, sample, report| {
        let kind = sample.expected.kind.ok_or("the .expected.json beside it must name the kind")?;
        expect(&report.outcome, &Outcome::DeadLettered { kind })?;
        expect(&without_text(&report.findings), &sorted(sample.expected.findings.clone()))?;
        let messages: String = report.findings.iter().map(|finding| finding.message.as_str()).collect();
        for text in &sample.expected.says {
            expect(&(messages.contains(text), text, &messages), &(true, text, &messages))?;
        }
        let letters = world.letters();
        let [letter] = letters.as_slice() else { return Err(format!("{} letters", letters.len())) };
        expect(&letter.kind, &kind)?;
        expect(&letter.findings, &report.findings)?;
        expect(&letter.source, &sample.record.position)?;
        let Record { key, value, headers, .. } = &sample.record;
        let original = &letter.original;
        expect(&letter.value_omitted, &sample.expected.value_omitted)?;
        let value = value.as_ref().filter(|_| !letter.value_omitted);
        expect(&(&original.key, original.value.as_ref(), &original.headers), &(key, value, headers))
    });
}

#[test]
fn every_event_type_has_a_valid_sample_in_both_wire_forms() {
    let mut missing = Vec::new();
    for spec in REGISTRY.iter().map(|entry| entry.spec) {
        let seen: BTreeSet<(&str, bool)> = samples(spec.name, "valid").iter().map(form_of).collect();
        let plain = if spec.event_types.is_empty() { Some("statement") } else { None };
        for name in spec.event_types.iter().map(|event_type| event_type.name).chain(plain) {
            // What no statement means has one form, that of its family.
            let is_said = |of: &EventType| of.name == name && of.statement.is_none();
            let of_another_form = spec.event_types.iter().any(is_said);
            let forms: &[_] =
                if of_another_form { &[(false, "sample of")] } else { &[(false, "bare"), (true, "wrapped")] };
            for &(is_wrapped, form) in forms {
                if !seen.contains(&(name, is_wrapped)) {
                    missing.push(format!("{}/valid has no {form} {name}", spec.name));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_folder_of_the_tree_belongs_to_a_family_and_every_expectation_to_a_sample() {
    let mut odd = Vec::new();
    let families: BTreeSet<&str> = REGISTRY.iter().map(|entry| entry.spec.name).collect();
    for entry in std::fs::read_dir(root()).expect("events/ can be listed") {
        let folder = entry.expect("an entry").path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if folder.is_dir()
            && !["aws", "on-failure", "schemas", "xapi"].contains(&name.as_str())
            && !families.contains(name.as_str())
        {
            odd.push(format!("events/{name} is no family of the registry"));
        }
        for folder in [folder.clone(), folder.join("valid"), folder.join("invalid")] {
            let Ok(files) = std::fs::read_dir(&folder) else { continue };
            for file in files.map(|file| file.expect("an entry").path()).filter(|file| file.is_file()) {
                if let Some(sample) = file.to_string_lossy().strip_suffix(".expected.json")
                    && !std::path::Path::new(&format!("{sample}.json")).exists()
                {
                    odd.push(format!("{} has no sample beside it", file.display()));
                }
            }
        }
    }
    assert!(odd.is_empty(), "{}", odd.join("\n"));
    assert!(json_files(&root().join("aws")).iter().all(|file| read_expected::<Value>(file).is_some()));
}

/// Delivers each sample of a folder to a world of its own, and gathers what is wrong with all of them.
fn judge_all(folder: &str, judge: impl Fn(&World, &Sample, &Report) -> Result<(), String>) {
    let mut wrong = Vec::new();
    for family in REGISTRY.iter().map(|entry| entry.spec.name) {
        let valid = samples(family, "valid");
        let found = samples(family, folder);
        assert!(!found.is_empty(), "events/{family}/{folder} has no sample");
        for mut sample in found {
            let world = World::new();
            let mut ended = prepare(&world, &sample, &valid);
            if ended.is_ok() {
                // What comes before may stand on the same topic: the sample comes behind it.
                sample.record.position.offset += sample.expected.after.len() as i64;
                let report = world.deliver_one(&sample.record);
                ended = judge(&world, &sample, &report).and_then(|()| judge_report(&sample, &report));
                ended = ended.map_err(|problem| format!("{problem}\n  reported: {report:?}"));
            }
            wrong.extend(ended.err().map(|problem| format!("{}: {problem}", sample.path)));
        }
    }
    assert!(wrong.is_empty(), "{} samples:\n{}", wrong.len(), wrong.join("\n"));
}

fn prepare(world: &World, sample: &Sample, valid: &[Sample]) -> Result<(), String> {
    for (offset, name) in (0..).zip(&sample.expected.after) {
        let before = valid.iter().find(|before| before.name == *name).ok_or(format!("no valid sample {name}"))?;
        let mut record = before.record.clone();
        record.position = Position { offset, ..record.position };
        let report = world.deliver_one(&record);
        expect(&report.outcome, &Outcome::Applied).map_err(|problem| format!("{name} comes before: {problem}"))?;
    }
    Ok(())
}

fn judge_report(sample: &Sample, report: &Report) -> Result<(), String> {
    let anomalies: Vec<&str> = report.anomalies.iter().map(|anomaly| &*anomaly.name).collect();
    expect(&anomalies, &sample.expected.anomalies.iter().map(String::as_str).collect())?;
    if let Some(id) = sample.expected.event_id {
        expect(&report.event_id, &Some(id))?;
    }
    if let Some(correlation_id) = &sample.expected.correlation_id {
        expect(&report.correlation_id.as_deref(), &Some(correlation_id.as_str()))?;
    }
    Ok(())
}

fn form_of(sample: &Sample) -> (&'static str, bool) {
    let look = Look::new(lyceum_core::envelope::EnvelopeConfig::default());
    match look.at(&sample.record).event() {
        Some(seen) => (seen.known.name, !seen.pointer.is_empty()),
        // What its family's function reads it as.
        None => (World::new().deliver_one(&sample.record).event_type, false),
    }
}

fn without_text(findings: &[Finding]) -> Vec<ExpectedFinding> {
    let plain = |of: &Finding| ExpectedFinding { rule: of.rule.to_string(), pointer: of.pointer.clone() };
    sorted(findings.iter().map(plain).collect())
}

fn sorted(mut findings: Vec<ExpectedFinding>) -> Vec<ExpectedFinding> {
    findings.sort();
    findings
}

fn expect<T: PartialEq + std::fmt::Debug>(found: &T, wanted: &T) -> Result<(), String> {
    let brief = |value: &T| format!("{value:?}").chars().take(2_000).collect::<String>();
    if found == wanted { Ok(()) } else { Err(format!("found {}\n  wanted {}", brief(found), brief(wanted))) }
}
