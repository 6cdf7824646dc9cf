"""The functions behind HTTP of a deployed stack, asked through the stand-in's API Gateway: `ask_http.py tokens STACK TOKEN PATH…`, with paths that answer there, or `ask_http.py claims STACK PORT`.

What infra/smoke does not ask: that paths, queries and bodies arrive, who is refused, by tokens and by the claims of JSON Web Tokens, and that an
invocation by hand, of payload format 2.0, is answered as a request is.
"""

import base64
import http.server
import json
import sys
import threading
import time

import boto3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from asking import ask, expect, outputs_of


def by_tokens(stack, token, *more):
    outputs = outputs_of(stack)
    api = outputs["ApiId"]
    for path, status in [("/health", 200), ("/health/live", 200), ("/openapi.json", 200), ("/api/tenants", 401), ("/no/such/path", 404)]:
        found, _, body = ask(api, "GET", path)
        expect(f"GET {path}", found, status, body)
    for path in ["/", "/docs", "/asyncapi.json", "/events/status", "/dead-letters", "/api/validation", "/replays", *more]:
        found, _, body = ask(api, "GET", path, token)
        expect(f"GET {path} with a token", found, 200, body)
    # An id with slashes and spaces, which the API hands on decoded: the answer names it as it was sent.
    found, _, body = ask(api, "GET", "/api/analytics/learners/account:https%3A%2F%2Facademy.example%2Fa%20b%7Cada", token)
    expect("an id with slashes", (found, b"https://academy.example/a b|ada" in body), (404, True), body)
    found, _, body = ask(api, "GET", "/api/dead-letters?topic=nlj.xapi.statements&since=2026-03-01T00%3A00%3A00%2B01%3A00", token)
    expect("a query", found, 200, body)
    found, headers, body = ask(api, "GET", "/live", token)
    expect("what takes a process that stays", (found, headers["content-type"]), (404, "application/problem+json"), body)
    found, _, body = ask(api, "POST", "/events/nlj.xapi.statements", token, b'["no event"]', [("content-type", "application/json"), ("origin", "https://evil.example")])
    expect("a page of another site", found, 403, body)
    # The function of another part, by hand.
    event = {
        "version": "2.0", "routeKey": "$default", "rawPath": "/events/nlj.xapi.statements", "rawQueryString": "", "headers": {"host": "api"},
        "requestContext": {"accountId": "1", "apiId": "a", "domainName": "api", "http": {"method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "t"},
                           "requestId": "1", "routeKey": "$default", "stage": "$default", "time": "now", "timeEpoch": 0},
        "body": base64.b64encode(b"{}").decode(), "isBase64Encoded": True}
    answer = boto3.client("lambda").invoke(FunctionName=outputs["ReadFunction"], Payload=json.dumps(event))
    answer = json.loads(answer["Payload"].read())
    expect("the function of another part", (answer["statusCode"], "does not serve it" in answer["body"]), (404, True), answer["body"].encode())


class Issuer:
    """An issuer of OpenID Connect on this machine, with one key."""

    def __init__(self, port):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.url = f"http://127.0.0.1:{port}"
        issuer = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                numbers = issuer.key.public_key().public_numbers()
                part = lambda number: encoded(number.to_bytes((number.bit_length() + 7) // 8, "big"))
                key = {"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "n": part(numbers.n), "e": part(numbers.e)}
                known = {"/.well-known/openid-configuration": {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}, "/keys": {"keys": [key]}}
                body = json.dumps(known.get(self.path, {})).encode()
                self.send_response(200 if self.path in known else 404)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, **claims):
        claims = {"iss": self.url, "aud": "lyceum", "sub": "somebody", "exp": int(time.time()) + 600, "iat": int(time.time())} | claims
        signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "one", "typ": "JWT"}, claims))
        return f"{signed}.{encoded(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_claims(stack, port):
    api, issuer = outputs_of(stack)["ApiId"], Issuer(port)
    reads = issuer.token(tenant="smoke", roles=["lyceum-read", "staff"])
    for what, token, path, status in [
            ("no token", None, "/api/tenants", 401),
            ("a token of claims", reads, "/api/tenants", 200),
            ("another tenant's letters", reads, "/api/dead-letters?tenant=other", 403),
            ("another audience", issuer.token(tenant="smoke", roles=["read"], aud="other"), "/api/tenants", 401),
            ("a token that is over", issuer.token(tenant="smoke", roles=["read"], exp=1), "/api/tenants", 401),
            ("a token of nobody's key", reads[:-6] + "AAAAAA", "/api/tenants", 401),
            ("no tenant", issuer.token(roles=["read"]), "/api/tenants", 401),
            ("no role", issuer.token(tenant="smoke"), "/api/tenants", 403),
            ("what is open", None, "/health", 200)]:
        found, _, body = ask(api, "GET", path, token)
        expect(what, found, status, body)
    found, _, body = ask(api, "POST", "/events/nlj.xapi.statements", reads, b"{}")
    expect("publishing without the role", found, 403, body)
    found, _, body = ask(api, "POST", "/api/dead-letters/discard", reads, b'{"all": true}', [("content-type", "application/json")])
    expect("discarding without the role", found, 403, body)
    issuer.server.shutdown()


if sys.argv[1] == "tokens":
    by_tokens(*sys.argv[2:])
else:
    by_claims(sys.argv[2], int(sys.argv[3]))
