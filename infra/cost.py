"""A month of the three families on AWS, in dollars: `cost.py [NAME=VALUE …]`, where a name is a price or an assumption below.

Without arguments it prints the table of docs/cost.md; `cost.py --update` writes it there, and `--check` compares.
"""

import math
import pathlib
import sys

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
}
# Of training and survey, an event, by the table of docs/cost.md: one a batch where little comes, ten and more else.
WRITES = {10: (4.0, 1.5), 1_000: (2.0, 0.85), 10_000: (1.1, 0.2)}
READS = {10: (2.0, 1.0), 1_000: (1.0, 0.55), 10_000: (0.55, 0.1)}


def month(rate, of):
    seconds = of["hours"] * 3600
    million_events = rate * seconds / 1e6
    # A partition is one batch at a time, and waits a second for more.
    batches = max(min(rate, of["partitions"]), rate / 500)
    busy = batches * of["batch_ms"] / 1e3 + rate * of["record_ms"] / 1e3
    pollers = math.ceil(rate * of["event_kb"] / 1e3 / of["poller_mb_a_second"])
    units = math.ceil(max(pollers, of["mappings"]) / of["pollers_a_unit"])

    def capacity(table):
        training, survey = table[rate]
        return million_events * (of["training_share"] * training + of["survey_share"] * survey)

    return {
        "pollers, one group": units * of["hours"] * of["poller_unit_hour"],
        "functions": batches * seconds / 1e6 * of["lambda_million_requests"] + busy * seconds * of["memory_gb"] * of["lambda_gb_second"],
        "ledger": capacity(WRITES) * of["dynamodb_million_writes"] + capacity(READS) * of["dynamodb_million_reads"],
        "logs": batches * seconds * of["log_kb_a_batch"] / 1e6 * of["log_gb"],
        # A version's series are paid for by the hour: a week each where there are four deployments a month.
        "metrics": (of["metrics"] + of["metrics_a_deployment"]) * of["metric"],
        "alarms": of["alarm_metrics"] * of["alarm_metric"],
        "dashboard": of["dashboard"],
    }


def table(of):
    rates = sorted(WRITES)
    months = {rate: month(rate, of) for rate in rates}
    lines = ["| a month, $ | " + " | ".join(f"{rate:,} events a second" for rate in rates) + " |", "|---|" + "---|" * len(rates)]
    row = lambda name, values: lines.append(f"| {name} | " + " | ".join(f"{value:,.0f}" for value in values) + " |")
    for name in months[rates[0]]:
        row(name, [months[rate][name] for rate in rates])
    row("**together**", [sum(months[rate].values()) for rate in rates])
    apart = of["mappings"] * of["hours"] * of["poller_unit_hour"]
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
    file = pathlib.Path(__file__).parent.parent / "docs/cost.md"
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
