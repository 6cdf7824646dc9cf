#!/usr/bin/env python3
"""Checks a receipt of `lyceum prove` with nothing but this file and Python 3: python3 verify_proof.py RECEIPT [SEAL_HASH ...]

It recomputes every hash (RFC 9162, 2.1): that the event's entry, its dead letters and its follow-ups lead to the roots of their logs, that
sealed roots stand in their seals, and that what is stored stands in the record's value. With hashes of seals that you kept, it says
whether the receipt's seals are among them: without one it shows only that the receipt is consistent in itself.
"""
import base64
import hashlib
import json
import sys


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def root_by(path, leaf, index, size):
    """The root to which the way leads from a leaf."""
    if index >= size:
        raise ValueError(f"entry {index} is none of {size}")
    at, last, root = index, size - 1, leaf
    for beside in map(bytes.fromhex, path):
        if last == 0:
            raise ValueError("the way is too long")
        if at % 2 == 1 or at == last:
            root = sha256(b"\x01", beside, root)
            while at % 2 == 0 and at != 0:
                at, last = at // 2, last // 2
        else:
            root = sha256(b"\x01", root, beside)
        at, last = at // 2, last // 2
    if last != 0:
        raise ValueError("the way is too short")
    return root


def check(condition, message):
    if not condition:
        raise ValueError(message)


def check_inclusion(of, seals):
    """One entry; its JSON."""
    entry = json.loads(of["entry"])
    leaf = sha256(b"\x00", of["entry"].encode())
    name = f"{entry['log']['day']}/{entry['log']['topic']}/{entry['log']['partition']}"
    check(leaf.hex() == of["leaf"], "the leaf is not that of the entry")
    check(entry["number"] == of["number"] and entry["log"] == of["log"], "the entry stands elsewhere than the receipt says")
    for way in filter(None, [of["now"], of["sealed"]]):
        check(root_by(way["path"], leaf, of["number"], way["size"]).hex() == way["root"], "the way leads to another root")
    sealed = of["sealed"]
    if sealed:
        check(sha256(sealed["seal"].encode()).hex() == sealed["seal_hash"], "the seal has another hash")
        seal = json.loads(sealed["seal"])
        check(seal["tenant"] == entry["log"]["tenant"], "the seal is another tenant's")
        logs = {log["log"]: (log["size"], log["root"]) for log in seal["logs"]}
        check(logs.get(name) == (sealed["size"], sealed["root"]), "the seal has another root for the log")
        seals.add(sealed["seal_hash"])
    return entry


def value_of(entry):
    value = entry["value"]
    if isinstance(value, dict):
        return base64.b64decode(value["base64"]) if "base64" in value else None
    return None if value is None else value.encode()


def check_receipt(receipt):
    """What was checked, as sentences, and the hashes of the seals that were seen."""
    check(receipt.get("lyceum_proof") == 1, "this is no receipt of `lyceum prove`, or one of a later release")
    seals, said = set(), []
    entry = check_inclusion(receipt["audit"], seals)
    event = receipt["event"]
    check(entry["position"] == event["position"] and entry.get("event_id") == event["id"], "the entry is of another event")
    said.append(f"event {event['id']} ({entry['event_type']}) is entry {entry['number']} of its log, from {entry['position']}")
    for letter in receipt["dead_letters"]:
        about = check_inclusion(letter, seals)["letter"]
        check(about["source"] == entry["position"], "a dead letter is about another record")
        said.append(f"it became a dead letter: {about['error']}")
    document, value = receipt["document"], value_of(entry)
    if document and document["source"] == entry["position"] and value is not None:
        size = document["bytes"]
        parts = (value[at : at + size] for at in range(len(value) - size + 1))
        check(any(sha256(part).hex() == document["sha256"] for part in parts), "what is stored is not what was sent")
        said.append("what is stored stands in the record, byte for byte")
    for follow_up in receipt["follow_ups"]:
        if follow_up["audit"]:
            followed = check_inclusion(follow_up["audit"], seals)
            check(followed.get("event_id") == follow_up["id"], "a follow-up is another event")
            check(followed.get("correlation_id") == entry.get("correlation_id"), "a follow-up belongs elsewhere")
            said.append(f"it led to {followed['event_type']}, {followed['position']}")
    return said, seals


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if arguments else 2
    try:
        with open(arguments[0], encoding="utf-8") as file:
            said, seals = check_receipt(json.load(file))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"not proved: {error}", file=sys.stderr)
        return 1
    print("\n".join(said))
    kept = set(arguments[1:])
    if kept - seals:
        print(f"not proved: the receipt does not name the seal {', '.join(sorted(kept - seals))}", file=sys.stderr)
        return 1
    print("seals: " + (", ".join(sorted(seals)) if seals else "none yet; `lyceum audit seal` makes one"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
