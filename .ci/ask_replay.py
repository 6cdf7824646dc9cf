"""What was given up, imported and sent again on the stand-in by the state machine of infra/replay.yaml: `ask_replay.py STACK HTTP_STACK TOKEN`.

Two on-failure records lie in the bucket that the functions write to, one of them broken, and one that another prefix has. Each run is an execution of
the machine; what it did is asked of the topic of dead letters and of the API.
"""

import base64
import json
import os
import sys
import time
import urllib.request
import uuid

import boto3
from confluent_kafka import Producer

TOPIC = "nlj.training.programs"


def outputs_of(stack):
    outputs = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def run(machine, given):
    states = boto3.client("stepfunctions")
    execution = states.start_execution(stateMachineArn=machine, input=json.dumps(given))["executionArn"]
    end = time.monotonic() + 300
    while time.monotonic() < end:
        found = states.describe_execution(executionArn=execution)
        if found["status"] != "RUNNING":
            if found["status"] != "SUCCEEDED":
                sys.exit(f"FAILED: {given}: {found['status']}: {found.get('error')}: {found.get('cause')}")
            runs = states.list_map_runs(executionArn=execution)["mapRuns"]
            counts = [states.describe_map_run(mapRunArn=of["mapRunArn"])["itemCounts"] for of in runs]
            return counts[0] if counts else json.loads(found["output"])
        time.sleep(1)
    sys.exit(f"FAILED: {given} has not ended after five minutes")


def letters(api, token, **query):
    path = "&".join(f"{name}={value}" for name, value in query.items())
    request = urllib.request.Request(f"{os.environ['AWS_ENDPOINT_URL']}/_aws/execute-api/{api}/$default/api/dead-letters?limit=1000&{path}", headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())["dead_letters"]


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"FAILED: {what}: {found}, not {wanted}")
    print(f"{what}: {found}")


def main(stack, http_stack, token):
    outputs, api = outputs_of(stack), outputs_of(http_stack)["ApiId"]
    bucket = boto3.client("ssm").get_parameter(Name="/lyceum/lyceum/failed-bucket")["Parameter"]["Value"]
    # Given up by its position: the record itself is on its topic.
    sent = []
    producer = Producer({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"]})
    # Never a program: the function is asked to send it again, and nothing else.
    event = {"id": str(uuid.uuid4()), "actor": {"mbox": "mailto:given@up.invalid"}, "verb": {"id": "http://nlj.platform/verbs/created"},
             "object": {"id": f"http://nlj.platform/activities/program/given-up-{uuid.uuid4().hex[:8]}"}, "timestamp": "2026-03-02T08:15:00Z"}
    producer.produce(TOPIC, json.dumps(event).encode(), headers={"tenant-id": b"smoke"}, on_delivery=lambda error, message: sent.append((error, message.partition(), message.offset())))
    producer.flush(60)
    error, partition, offset = sent[0]
    assert error is None, error
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


main(*sys.argv[1:])
