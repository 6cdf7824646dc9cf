"""What the parser of AsyncAPI does not look at: `python check.py DOCUMENT SCHEMAS`. Each Avro schema is read by fastavro, which writes each
example by it and reads it back; each other example is held to its JSON Schema, and so are those of the schemas in the folder."""

import io
import json
import pathlib
import sys

import fastavro
from jsonschema import Draft7Validator, Draft202012Validator


def resolve(document, value):
    while isinstance(value, dict) and "$ref" in value:
        target = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        value = target
    return value


def written_and_read(schema, example):
    """The example as Avro has it, after a way through bytes."""
    event = dict(example, event_type=example["event_type"].replace(".", "_"))
    parsed = fastavro.parse_schema(schema)
    fastavro.validation.validate(event, parsed, strict=False)
    file = io.BytesIO()
    fastavro.schemaless_writer(file, parsed, event)
    file.seek(0)
    read = fastavro.schemaless_reader(file, parsed, None)
    missing = {name: value for name, value in event["payload"].items() if read["payload"].get(name) != value}
    if missing or read["event_type"] != event["event_type"] or read["user_id"] != event["user_id"]:
        raise ValueError(f"what was read is not what was written: {missing}")


def main(file, folder):
    document = json.loads(pathlib.Path(file).read_text())
    wrong, avro, plain = [], 0, 0
    for name, message in document["components"]["messages"].items():
        message = resolve(document, message)
        payload = resolve(document, message["payload"])
        examples = message.get("examples", [])
        if name != "dead_letter" and not examples:
            wrong.append(f"{name} has no example")
        for example in examples:
            try:
                if "avro" in payload.get("schemaFormat", ""):
                    written_and_read(payload["schema"], example["payload"])
                    avro += 1
                else:
                    Draft7Validator.check_schema(payload)
                    Draft7Validator(payload).validate(example["payload"])
                    plain += 1
            except Exception as error:
                wrong.append(f"{name}, example {example['name']}: {error}")
    schemas = sorted(pathlib.Path(folder).glob("*.json"))
    for schema in schemas:
        try:
            text = json.loads(schema.read_text())
            Draft202012Validator.check_schema(text)
            if not text["examples"]:
                raise ValueError("no example")
            for example in text["examples"]:
                Draft202012Validator(text).validate(example)
        except Exception as error:
            wrong.append(f"{schema.name}: {error}")
    for line in wrong:
        print(f"FAILED: {line}", file=sys.stderr)
    if wrong or not avro or not plain or not schemas:
        sys.exit(1)
    print(f"{avro} examples by fastavro, {plain} by their JSON Schema, and those of {len(schemas)} schema files")


main(sys.argv[1], sys.argv[2])
