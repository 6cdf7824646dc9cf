"""Invokes the functions of a deployed stack with events/aws/* and looks at what they did: `invoke.py STACK`.

Each batch whose dependencies are up is delivered twice. The answer must be the one that stands beside it; what was
applied or rejected must have its key in the table; the second delivery must change nothing; and the index must hold one
statement for each event that was applied.
"""

import base64
import json
import os
import pathlib
import re
import sys
import time
import urllib.request
import uuid

import boto3
from confluent_kafka.admin import AdminClient, NewTopic

# Whose events are documents alone, or counted by their documents.
WITHOUT_KEYS = {"statement", "learning", "content", "engagement", "security", "audit"}
# Who reads topics of others, and stores no document of what it reads.
BESIDE_FAMILIES = {"generator", "staging-course", "intake-distribution", "watch-security", "audit"}

EVENTS = pathlib.Path(__file__).parent.parent / "events" / "aws"


def items(dynamodb, table):
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}


def keys_of(items, family, event_id):
    """The keys of an event: with the aggregate that is its home, or items of their own."""
    of_event = uuid.UUID(event_id).bytes
    for (pk, sk), item in items.items():
        if pk.startswith("A/"):
            at_home = (key["L"][0]["B"] for key in item.get("k", {"L": []})["L"])
            yield from (key for key in at_home if key.startswith(of_event))
        elif pk.endswith(f"/{family}/{event_id}") and sk.split("/")[0] == "k":
            yield item


def events(batch, positions):
    """Tenant and id of the events at these positions; of those whose value is no JSON the position."""
    for records in batch["records"].values():
        for record in records if isinstance(records, list) else []:
            if not isinstance(record, dict):
                continue
            position = f"{record.get('topic')}/{record.get('partition')}/{record.get('offset')}"
            if position in positions and isinstance(record.get("value"), str):
                try:
                    value = json.loads(base64.b64decode(record["value"]))
                except ValueError:
                    yield None, position
                    continue
                event = value.get("xapi_data", value)
                event_id = event.get("id") or event.get("event_id")
                if event_id:
                    yield tenant_of(record, value), event_id.lower()


def tenant_of(record, value):
    for header in record.get("headers") or []:
        if header.get("tenant-id"):
            return bytes(header["tenant-id"]).decode()
    named = value.get("metadata") or value.get("meta") or value
    return named.get("tenant_id") or "default"


def kebab(name):
    """CourseStaging: course-staging."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def count_documents(of=""):
    """Counts what the functions stored in that index of theirs: statements and documents, or "-audit", the entries of the audit log."""
    url, index = os.environ["ELASTICSEARCH_URL"].rstrip("/"), os.environ["DEPLOY_INDEX"] + of

    def call(method, path):
        with urllib.request.urlopen(urllib.request.Request(f"{url}/{path}", method=method)) as answer:
            return json.loads(answer.read())

    call("POST", f"{index}/_refresh")
    return call("GET", f"{index}/_count")["count"]


def create_topics():
    """Functions create none: a deployment's topics are there before it."""
    admin = AdminClient({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"]})
    there = admin.list_topics(timeout=30).topics
    wanted = [f"nlj.errors.{name}" for name in ("database", "processing", "validation")]
    wanted += ["analytics.dlq.v1", "modules.dlq.v1"]
    # Of what follows from events.
    wanted += ["nlj.content.generation", "course.events.v1", "distribution.events.v1", "security.alerts.v1"]
    missing = [NewTopic(name, 1, 1) for name in wanted if name not in there]
    for future in (admin.create_topics(missing) if missing else {}).values():
        future.result(timeout=30)


def main(stack):
    create_topics()
    outputs = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in outputs}
    lambda_, dynamodb = boto3.client("lambda"), boto3.client("dynamodb")
    table = outputs["LedgerTable"]
    functions = {kebab(key.removesuffix("Function")): name for key, name in outputs.items() if key.endswith("Function")}
    wrong, invoked, keys_found, stored, audited = [], 0, 0, set(), set()
    for file in sorted(EVENTS.glob("*.json")):
        if file.name.endswith(".expected.json"):
            continue
        expected = json.loads(file.with_suffix(".expected.json").read_text())
        if expected.get("down"):
            continue
        family = max((name for name in functions if file.name.startswith(f"{name}-")), key=len, default=None)
        if family is None:
            # Of a subscription that is not in this stack.
            continue
        payload = file.read_bytes()
        before, took = None, []
        for delivery in (1, 2):
            began = time.monotonic()
            # The alias, as the mappings do.
            answer = lambda_.invoke(FunctionName=functions[family], Payload=payload)
            body = json.loads(answer["Payload"].read())
            took.append(f"{(time.monotonic() - began) * 1e3:.0f}")
            invoked += 1
            if answer.get("FunctionError") or body.get("batchItemFailures") != expected["batchItemFailures"]:
                wrong.append(f"{file.name}, delivery {delivery}: {json.dumps(body)[:600]}")
            now = items(dynamodb, table)
            if before is not None and now != before:
                wrong.append(f"{file.name}: the second delivery changed the table")
            before = now
        print(f"{file.name}: {json.dumps(body)[:300]}, after {' and '.join(took)} ms")
        if family == "audit":
            audited |= {of["position"] for of in expected["outcomes"] if of["outcome"] == "applied"}
        settled = {of["position"] for of in expected["outcomes"] if of["outcome"] == "applied"}
        applied = set(events(json.loads(payload), settled))
        if family not in BESIDE_FAMILIES:
            stored |= applied
        if family in WITHOUT_KEYS:
            continue
        for _, event_id in applied:
            of_event = list(keys_of(before, family, event_id))
            keys_found += len(of_event)
            if not of_event:
                wrong.append(f"{file.name}: event {event_id} has no key in the table")
    print(f"{invoked} invocations, {keys_found} keys of applied events found, {len(items(dynamodb, table))} items")
    statements = count_documents()
    print(f"{statements} statements in the index, of {len(stored)} events")
    if statements != len(stored) or not stored:
        wrong.append(f"{statements} statements are stored, and {len(stored)} events were applied")
    if audited:
        entries = count_documents("-audit")
        print(f"{entries} entries of the audit log, of {len(audited)} records")
        if entries != len(audited):
            wrong.append(f"the audit log has {entries} entries, and {len(audited)} records were applied")
    if keys_found == 0:
        wrong.append("no event was applied")
    if wrong:
        sys.exit("FAILED: " + "\nFAILED: ".join(wrong))


main(*sys.argv[1:])
