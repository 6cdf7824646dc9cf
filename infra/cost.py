"""A month of the three families and the audit log on AWS, in dollars: `cost.py [NAME=VALUE …]`, where a name is a price or an assumption below.

Without arguments it prints the table of docs/cost.md; `cost.py --update` writes it there, and `--check` compares.
"""

import math
import pathlib
import sys

HERE = pathlib.Path(__file__).parent

# us-east-1, in dollars. Put in your region's.
PRICES = {
    "poller_unit_hour": 0.185,
    "lambda_million_requests": 0.20,
    # Of arm64; x86_64 is 0.0000166667.
    "lambda_gb_second": 0.0000133334,
    "dynamodb_million_writes": 0.625,
    "dynamodb_million_reads": 0.125,
    "log_gb": 0.50,
    "metric": 0.30,
    "alarm_metric": 0.10,
    "dashboard": 3.00,
}
ASSUMED = {
    "hours": 730,
    "mappings": 5,
    "partitions": 18,
    "pollers_a_unit": 10,
    "poller_mb_a_second": 5,
    "event_kb": 1.2,
    "memory_gb": 0.5,
    # A batch with nothing in it, and each record of it.
    "batch_ms": 30,
    "record_ms": 0.5,
    # What a batch writes to the log: its line, and its metrics.
    "log_kb_a_batch": 3.5,
    "training_share": 0.2,
    "survey_share": 0.3,
    # Series of metrics of three families, and those of one version of each.
    "metrics": 161,
    "metrics_a_deployment": 9,
    "deployments": 4,
    # 16 of each function, 4 of each mapping, 2 of the ledger.
    "alarm_metrics": 70,
    # The audit log reads every topic of every family and the letters', those of the three among them.
    "audit_mappings": (HERE / "family.yaml").read_text().count(", Group: audit-"),
    # A log is a topic's partition, a day and a tenant: so many a batch grow. Where it is one, its head is written by itself.
    "audit_logs_a_batch": 1,
    # As many as one of the three families has.
    "audit_metrics": 54,
    # Of its function, and of each of its mappings.
    "audit_function_alarm_metrics": 16,
    "audit_mapping_alarm_metrics": 4,
}
# Of training and survey, an event, by the table of docs/cost.md: one a batch where little comes, ten and more else.
WRITES = {10: (4.0, 1.5), 1_000: (2.0, 0.85), 10_000: (1.1, 0.2)}
READS = {10: (2.0, 1.0), 1_000: (1.0, 0.55), 10_000: (0.55, 0.1)}


def month(rate, of, audits):
    seconds = of["hours"] * 3600
    million_events = rate * seconds / 1e6
    # Who reads the events: the families' functions, and the audit log's, which keeps all of them.
    readers = 1 + audits
    # A partition is one batch at a time, and waits a second for more.
    batches = max(min(rate, of["partitions"]), rate / 500)
    busy = batches * of["batch_ms"] / 1e3 + rate * of["record_ms"] / 1e3
    pollers = readers * math.ceil(rate * of["event_kb"] / 1e3 / of["poller_mb_a_second"])
    mappings = of["mappings"] + audits * of["audit_mappings"]
    units = math.ceil(max(pollers, mappings) / of["pollers_a_unit"])
    million_batches = readers * batches * seconds / 1e6
    heads = audits * batches * seconds / 1e6 * of["audit_logs_a_batch"]
    head_writes = heads * (1 if of["audit_logs_a_batch"] == 1 else 2)

    def capacity(table):
        training, survey = table[rate]
        return million_events * (of["training_share"] * training + of["survey_share"] * survey)

    writes, reads = capacity(WRITES) + head_writes, capacity(READS) + heads
    audit_alarm_metrics = of["audit_function_alarm_metrics"] + of["audit_mappings"] * of["audit_mapping_alarm_metrics"]
    return {
        "pollers, one group": units * of["hours"] * of["poller_unit_hour"],
        "functions": million_batches * of["lambda_million_requests"]
        + readers * busy * seconds * of["memory_gb"] * of["lambda_gb_second"],
        "ledger": writes * of["dynamodb_million_writes"] + reads * of["dynamodb_million_reads"],
        "logs": million_batches * of["log_kb_a_batch"] * of["log_gb"],
        # A version's series are paid for by the hour: a week each where there are four deployments a month.
        "metrics": (of["metrics"] + of["metrics_a_deployment"] + audits * of["audit_metrics"]) * of["metric"],
        "alarms": (of["alarm_metrics"] + audits * audit_alarm_metrics) * of["alarm_metric"],
        "dashboard": of["dashboard"],
    }


def table(of):
    rates = sorted(WRITES)
    months = {rate: month(rate, of, 1) for rate in rates}
    without = {rate: month(rate, of, 0) for rate in rates}
    lines = ["| a month, $ | " + " | ".join(f"{rate:,} events a second" for rate in rates) + " |", "|---|" + "---|" * len(rates)]
    row = lambda name, values: lines.append(f"| {name} | " + " | ".join(f"{value:,.0f}" for value in values) + " |")
    for name in months[rates[0]]:
        row(name, [months[rate][name] for rate in rates])
    row("**together**", [sum(months[rate].values()) for rate in rates])
    row("of which the audit log", [sum(months[rate].values()) - sum(without[rate].values()) for rate in rates])
    apart = (of["mappings"] + of["audit_mappings"]) * of["hours"] * of["poller_unit_hour"]
    row("for comparison: pollers, each mapping by itself", [apart] * len(rates))
    return "\n".join(lines) + "\n"


def main(*arguments):
    of = PRICES | ASSUMED
    flags = [argument for argument in arguments if argument.startswith("--")]
    for argument in arguments:
        name, _, value = argument.partition("=")
        if argument not in flags:
            if name not in of:
                sys.exit(f"{name} is none of {', '.join(of)}")
            of[name] = float(value)
    made = "\n" + table(of) + "\n"
    file = HERE.parent / "docs/cost.md"
    begin, end = "<!-- begin month table -->\n", "<!-- end month table -->"
    before, rest = file.read_text().split(begin)
    found, after = rest.split(end)
    if "--update" in flags:
        file.write_text(before + begin + made + end + after)
    elif "--check" in flags:
        if found != made:
            sys.exit("docs/cost.md is not what infra/cost.py says: python3 infra/cost.py --update")
    else:
        print(made.strip())


main(*sys.argv[1:])
