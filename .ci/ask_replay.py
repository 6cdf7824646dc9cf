"""What the state machine of infra/replay.yaml does on the stand-in: `ask_replay.py given-up|replays|compare STACK HTTP_STACK TOKEN OPERATOR`, where
TOKEN is of the tenant smoke, and OPERATOR of every tenant.

given-up: two on-failure records lie in the bucket that the functions write to, one of them broken, and one that another prefix has. Each run is an
execution of the machine; what it did is asked of the topic of dead letters and of the API. replays: begun, stopped and resumed by the API, as the page
does, and gone on with by the machine; to a subscriber, and into files. compare: behind infra/smoke, whose mapping has committed: a document is taken
away, and the machine finds that, repairs it, and finds nothing more.
"""

import base64
import json
import os
import pathlib
import sys
import time
import urllib.error
import urllib.request
import uuid

import boto3
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

import asking
from asking import expect, outputs_of, until

TOPIC = "nlj.training.programs"
EVENTS = pathlib.Path(__file__).parent.parent / "events" / "aws"
# What FilesBucket of the stack is.
FILES = "lyceum-files"


def execute(machine, given):
    """An execution that has ended, however it has."""
    states = boto3.client("stepfunctions")
    execution = states.start_execution(stateMachineArn=machine, input=json.dumps(given))["executionArn"]

    def look():
        found = states.describe_execution(executionArn=execution)
        return (None if found["status"] == "RUNNING" else found), found["status"]

    return until(f"the end of {given}", look)


def run(machine, given):
    states, found = boto3.client("stepfunctions"), execute(machine, given)
    if found["status"] != "SUCCEEDED":
        sys.exit(f"FAILED: {given}: {found['status']}: {found.get('error')}: {found.get('cause')}")
    runs = states.list_map_runs(executionArn=found["executionArn"])["mapRuns"]
    counts = [states.describe_map_run(mapRunArn=of["mapRunArn"])["itemCounts"] for of in runs]
    return counts[0] if counts else json.loads(found["output"])


def ask(api, token, method, path, body=None):
    """The status and the answer."""
    data = None if body is None else json.dumps(body).encode()
    status, _, answer = asking.ask(api, method, path, token, data, {"content-type": "application/json"})
    try:
        return status, json.loads(answer)
    except ValueError:
        return status, answer.decode("utf-8", "replace")


def letters(api, token, **query):
    path = "&".join(f"{name}={value}" for name, value in query.items())
    status, answer = ask(api, token, "GET", f"/api/dead-letters?limit=1000&{path}")
    if status != 200:
        sys.exit(f"FAILED: the letters: {status}: {answer}")
    return answer["dead_letters"]


def created(name):
    return {"id": str(uuid.uuid4()), "actor": {"objectType": "Agent", "name": "Smoke", "mbox": f"mailto:{name}@smoke.invalid"},
            "verb": {"id": "http://nlj.platform/verbs/created", "display": {"en": "created"}},
            "object": {"objectType": "Activity", "id": f"http://nlj.platform/activities/program/{name}", "definition": {"name": {"en": name}}},
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def made_up():
    """The batches of events/aws name offsets of the topic below this one, on which no record of theirs stands."""
    batches = (json.loads(file.read_text()) for file in EVENTS.glob("*.json") if not file.name.endswith(".expected.json"))
    records = (record for batch in batches for of in batch.get("records", {}).values() if isinstance(of, list) for record in of if isinstance(record, dict))
    return 1 + max(record["offset"] for record in records if record.get("topic") == TOPIC and isinstance(record.get("offset"), int))


def publish(events):
    """Their positions, behind those that are made up: a letter is known by the position that it is of."""
    servers = {"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"]}
    admin, headers = AdminClient(servers), {"tenant-id": b"smoke"}
    if TOPIC not in admin.list_topics(timeout=60).topics:
        admin.create_topics([NewTopic(TOPIC, 3, 1)])[TOPIC].result(60)
    partitions = admin.list_topics(TOPIC, timeout=60).topics[TOPIC].partitions

    def end_of(partition):
        """A partition that was just made has no leader yet."""
        place = TopicPartition(TOPIC, partition)

        def look():
            try:
                return admin.list_offsets({place: OffsetSpec.latest()})[place].result(60).offset, None
            except KafkaException as error:
                return None, error

        return until(f"the end of {TOPIC}/{partition}", look)

    sent, producer, first = [], Producer(servers), made_up()
    for partition in partitions:
        for _ in range(end_of(partition), first):
            producer.produce(TOPIC, json.dumps(created(f"before-{uuid.uuid4().hex[:8]}")).encode(), partition=partition, headers=headers)
    producer.flush(60)
    for event in events:
        producer.produce(TOPIC, json.dumps(event).encode(), headers=headers, on_delivery=lambda error, message: sent.append((error, message.partition(), message.offset())))
    producer.flush(60)
    assert len(sent) == len(events) and all(error is None for error, *_ in sent), sent
    return [(partition, offset) for _, partition, offset in sent]


def given_up(outputs, api, token, _):
    bucket = boto3.client("ssm").get_parameter(Name="/lyceum/lyceum/failed-bucket")["Parameter"]["Value"]
    # Given up by its position: the record itself is on its topic.
    event = created(f"given-up-{uuid.uuid4().hex[:8]}")
    [(partition, offset)] = publish([event])
    record = {"topic": TOPIC, "partition": partition, "offset": offset, "timestamp": int(time.time() * 1000), "timestampType": "CREATE_TIME",
              "value": base64.b64encode(json.dumps(event).encode()).decode(), "headers": [{"tenant-id": list(b"smoke")}]}
    batch = {"eventSource": "SelfManagedKafka", "bootstrapServers": "b:9092", "records": {f"{TOPIC}-{partition}": [record]}}
    given_up = {"requestContext": {"requestId": str(uuid.uuid4()), "functionArn": "arn:aws:lambda:eu-central-1:123456789012:function:lyceum-training", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 3},
                "responseContext": {"statusCode": 200, "executedVersion": "1"}, "version": "1.0", "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "payload": json.dumps(batch)}
    s3 = boto3.client("s3")
    s3.put_object(Bucket=bucket, Key=f"aws/lambda/one/{TOPIC}-{partition}/2026/03/02/a b+c.json", Body=json.dumps(given_up))
    s3.put_object(Bucket=bucket, Key="aws/lambda/one/broken", Body=b"no on-failure record")
    s3.put_object(Bucket=bucket, Key="elsewhere/other", Body=b"of somebody else")
    of_run = run(outputs["Machine"], {})
    expect("objects that were gone over, imported, and none", (of_run["total"], of_run["succeeded"], of_run["failed"]), (2, 1, 1))
    waiting = [of for of in letters(api, token, rule="lambda.given-up") if of["source"] == f"{TOPIC}/{partition}/{offset}"]
    expect("the letter, as the API shows it", [of["state"] for of in waiting], ["waiting"])
    run(outputs["Machine"], {})
    again = [of for of in letters(api, token, rule="lambda.given-up") if of["source"] == f"{TOPIC}/{partition}/{offset}"]
    expect("letters after a second run", len(again), 1)
    sent = run(outputs["Machine"], {"redrive": {"rule": "lambda.given-up", "topic": TOPIC}})
    expect("letters that were sent again", (sent["is_done"], sent["counts"]["sent"]), (True, 1))
    left = run(outputs["Machine"], {"redrive": {"rule": "lambda.given-up", "topic": TOPIC}})
    expect("letters that are left", (left["is_done"], left["counts"]["sent"]), (True, 0))
    answer = boto3.client("lambda").invoke(FunctionName=outputs["Function"], Payload=json.dumps({"redrive": {"all": True, "dry_run": True}}))
    expect("a direct invocation, dry", json.loads(answer["Payload"].read())["is_done"], True)


def ended(api, token, replay):
    """A replay that the machine has gone on with to its end."""
    def look():
        status, run = ask(api, token, "GET", f"/api/replays/{replay}")
        is_over = status == 200 and run["state"] != "running"
        return (run if is_over else None), (status, run)

    return until(f"the end of the replay {replay}", look)


def replays(outputs, api, token, operator):
    names = [f"replayed-{uuid.uuid4().hex[:8]}" for _ in range(8)]
    positions = publish([created(name) for name in names])
    offsets = [{"topic": TOPIC, "partition": partition, "from": offset, "until": offset + 1} for partition, offset in positions]
    request = {"topics": [TOPIC], "range": {"offsets": offsets}, "target": {"subscriber": {"name": "training"}}}
    status, dry = ask(api, token, "POST", "/events/replay?dry_run=true", request)
    expect("a dry run", (status, dry.get("matched")), (200, 8))
    # Slow enough to be stopped on its way.
    status, begun = ask(api, token, "POST", "/events/replay", request | {"rate": 1})
    expect("a replay that is begun by the API", (status, begun.get("state")), (200, "running"))
    replay = begun["id"]
    status, again = ask(api, token, "POST", "/events/replay", request)
    expect("the same once more", (status, "runs already" in json.dumps(again)), (409, True))

    def look():
        status, run = ask(api, token, "GET", f"/api/replays/{replay}")
        return (run if status == 200 and run["counts"]["matched"] > 0 else None), (status, run)

    until("the machine to go on with it", look)
    status, stopped = ask(api, token, "POST", f"/api/replays/{replay}/cancel")
    expect("cancelled", (status, stopped.get("state")), (200, "cancelled"))
    status, _ = ask(api, token, "POST", f"/api/replays/{replay}/cancel")
    expect("cancelled twice", status, 409)
    status, page = ask(api, token, "GET", f"/replays/{replay}")
    expect("its page", (status, "resume" in page), (200, True))
    status, resumed = ask(api, token, "POST", f"/api/replays/{replay}/resume")
    expect("resumed", (status, resumed.get("state")), (200, "running"))
    run = ended(api, token, replay)
    if (run["state"], run["counts"]["sent"]) != ("done", 8):
        sys.exit(f"FAILED: its end: {run}")
    print("its end: done, 8 of 8")
    for name in names:
        status, _ = ask(api, token, "GET", f"/api/state/program/{name}")
        if status != 200:
            sys.exit(f"FAILED: the program {name} of a replay: {status}")
    # By the machine itself, as a schedule does: the same request once more is its second run, and has no second effect.
    mine = request | {"filter": {"tenant": "smoke"}}
    done = json.loads(execute(outputs["Machine"], {"replay": mine})["output"])
    expect("the same by the machine", (done["is_done"], done["counts"]["matched"]), (True, 8))
    expect("the how-manieth run that was", ask(api, operator, "GET", f"/api/replays/{replay}")[1]["run"], 2)

    files = request | {"target": {"file": {"place": f"s3://{FILES}/{uuid.uuid4().hex[:8]}"}}}
    status, told = ask(api, token, "POST", "/events/replay", files)
    expect("files by a token of one tenant", status, 403)
    status, told = ask(api, operator, "POST", "/events/replay", files | {"target": {"file": {"place": "/tmp/out"}}})
    expect("files into a folder", (status, "no folder of a function stays" in json.dumps(told)), (400, True))
    status, begun = ask(api, operator, "POST", "/events/replay", files)
    expect("files", (status, begun.get("state")), (200, "running"))
    run = ended(api, operator, begun["id"])
    expect("their end", (run["state"], run["counts"]["sent"]), ("done", 8))
    prefix = files["target"]["file"]["place"].split("/", 3)[3]
    keys = [of["Key"] for of in boto3.client("s3").list_objects_v2(Bucket=FILES, Prefix=prefix).get("Contents", [])]
    expect("a manifest among them", any(key.endswith("manifest.json") for key in keys), True)

    failed = execute(outputs["Machine"], {"replay": {"topics": [TOPIC], "target": {"subscriber": {"name": "nobody"}}}})
    expect("what can never be", (failed["status"], failed.get("error"), "nobody" in failed.get("cause", "")), ("FAILED", "SomebodyIsToLook", True))
    foreign = request | {"filter": {"tenant": "other"}}
    expect("another tenant's", ask(api, token, "POST", "/events/replay", foreign)[0], 403)


def compare(outputs, api, token, operator):
    # What .ci/invoke.py made up stands on no topic, and is of other tenants.
    asked = {"topics": [TOPIC], "tenant": "smoke"}

    def settled():
        status, report = ask(api, operator, "POST", "/api/reconcile", asked)
        return ((status, report) if status == 200 and report["not_yet"] == 0 else None), (status, report)

    expect("a comparison by a token of one tenant", ask(api, token, "POST", "/api/reconcile", asked)[0], 403)
    status, report = until("everything to be settled", settled)
    expect("a comparison by the API", (status, report.get("differences"), report.get("is_complete")), (200, {}, True))
    if report["kept"] == 0:
        sys.exit(f"FAILED: nothing is settled that could be compared: {report}")
    task = {"reconcile": {"last_hours": 24, "request": asked}}
    done = json.loads(execute(outputs["Machine"], task)["output"])
    expect("a comparison by the machine", (done["is_done"], done["report"]["differences"], done["report"]["kept"] > 0), (True, {}, True))
    # The document of what infra/smoke published goes.
    index = f"{os.environ['ELASTICSEARCH_URL'].rstrip('/')}/{os.environ['DEPLOY_INDEX']}"

    def store(path, body):
        request = urllib.request.Request(f"{index}/{path}", json.dumps(body).encode(), {"content-type": "application/json"}, method="POST")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
            return json.loads(answer.read())

    hits = store("_search?size=1000", {"query": {"match_all": {}}})["hits"]["hits"]
    of_smoke = [hit["_id"] for hit in hits if "activities/program/smoke-" in json.dumps(hit["_source"])]
    gone = store("_delete_by_query?refresh=true", {"query": {"ids": {"values": of_smoke[:1]}}})["deleted"]
    expect("documents that are taken away", gone, 1)
    found = execute(outputs["Machine"], task)
    told = found.get("cause", "")
    if not told:
        print(f"without {of_smoke[:1]} of {len(of_smoke)}: {found.get('output')}")
    expect("a comparison that misses one", (found["status"], found.get("error"), "log and stores differ: 1 of" in told), ("FAILED", "SomebodyIsToLook", True))
    found = execute(outputs["Machine"], {"reconcile": {"last_hours": 24, "request": asked | {"repair": True}}})
    expect("one that repairs it", (found["status"], "1 effects were missing, and are there now" in found.get("cause", "")), ("FAILED", True))
    done = json.loads(execute(outputs["Machine"], task)["output"])
    expect("one behind it", (done["is_done"], done["report"]["differences"]), (True, {}))


PARTS = {"given-up": given_up, "replays": replays, "compare": compare}
PARTS[sys.argv[1]](outputs_of(sys.argv[2]), outputs_of(sys.argv[3])["ApiId"], *sys.argv[4:])
