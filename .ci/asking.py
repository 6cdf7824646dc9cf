"""What the scripts have in common that ask a stack deployed on the stand-in: through its API Gateway, at AWS_ENDPOINT_URL."""

import os
import sys
import time
import urllib.error
import urllib.request

import boto3

# What takes longer hangs, however busy the machine is.
PATIENCE_SECONDS = 600
# A function that starts for the first time on a busy machine may be asked too early.
FIRST_START_SECONDS = 120


def outputs_of(stack):
    outputs = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def ask(api, method, path, token=None, body=None, headers=()):
    """Status, headers and body. What only reads is asked once more where the answer is to come again."""
    end = time.monotonic() + FIRST_START_SECONDS
    while True:
        request = urllib.request.Request(f"{os.environ['AWS_ENDPOINT_URL']}/_aws/execute-api/{api}/$default{path}", body, dict(headers), method=method)
        if token:
            request.add_header("authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=FIRST_START_SECONDS) as answer:
                found = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            found = error.code, error.headers, error.read()
        if method != "GET" or found[0] not in (502, 503, 504) or time.monotonic() > end:
            return found
        time.sleep(1)


def until(what, look):
    """What look finds at last, the first of what it returns; the second is told where it finds nothing. It looks once a second."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        found, last = look()
        if found is not None:
            return found
        if time.monotonic() > end:
            sys.exit(f"FAILED: {what} after {PATIENCE_SECONDS} s: {last}")
        time.sleep(1)


def expect(what, found, wanted, detail=b""):
    if found != wanted:
        sys.exit(f"FAILED: {what}: {found}, not {wanted}" + (f": {detail[:500]!r}" if detail else ""))
    print(f"{what}: {found}")
