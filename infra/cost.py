"""A month of the three families and the audit log on AWS, in dollars: `cost.py [NAME=VALUE …]`, where a name is a price or an assumption below.

Without arguments it prints the tables of docs/cost.md and docs/tiers.md; `cost.py --update` writes them there, and `--check` compares.
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
    # Of arm64; x86_64 is 0.04048 and 0.004445 (June 2026).
    "fargate_processor_hour": 0.03238,
    "fargate_gb_hour": 0.00356,
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
    # A task of the container: `one` of infra/dedicated.yaml, which has two of them at least.
    "task_processors": 1,
    "task_gb": 2,
    "least_tasks": 2,
    # What one does, every reader of an event counted: put in what docs/tiers.md has you measure.
    "task_events_a_second": 2_500,
    # Its metrics, once a minute.
    "task_log_kb_a_minute": 40,
    # Of infra/dedicated.yaml.
    "task_alarm_metrics": 6,
}
# What is compared with the container: mappings, partitions, and whether the audit log is among them.
COMPARED = {
    "`statement` alone": (1, 6, 0),
    "the three families": (5, 18, 0),
    "the three families and the audit log": (5, 18, 1),
}
# Of training and survey, an event, by the table of docs/cost.md: one a batch where little comes, ten and more else.
WRITES = {10: (4.0, 1.5), 1_000: (2.0, 0.85), 10_000: (1.1, 0.2)}
READS = {10: (2.0, 1.0), 1_000: (1.0, 0.55), 10_000: (0.55, 0.1)}


def running(rate, of, audits):
    """What runs functions and their pollers, and what depends on neither stores nor watching."""
    seconds = of["hours"] * 3600
    # Who reads the events: the families' functions, and the audit log's, which keeps all of them.
    readers = 1 + audits
    # A partition is one batch at a time, and waits a second for more.
    batches = max(min(rate, of["partitions"]), rate / 500)
    busy = batches * of["batch_ms"] / 1e3 + rate * of["record_ms"] / 1e3
    pollers = readers * math.ceil(rate * of["event_kb"] / 1e3 / of["poller_mb_a_second"])
    mappings = of["mappings"] + audits * of["audit_mappings"]
    units = math.ceil(max(pollers, mappings) / of["pollers_a_unit"])
    million_batches = readers * batches * seconds / 1e6
    return {
        "pollers, one group": units * of["hours"] * of["poller_unit_hour"],
        "functions": million_batches * of["lambda_million_requests"]
        + readers * busy * seconds * of["memory_gb"] * of["lambda_gb_second"],
        "logs": million_batches * of["log_kb_a_batch"] * of["log_gb"],
    }, batches, units


def month(rate, of, audits):
    seconds = of["hours"] * 3600
    million_events = rate * seconds / 1e6
    run, batches, _ = running(rate, of, audits)
    heads = audits * batches * seconds / 1e6 * of["audit_logs_a_batch"]
    head_writes = heads * (1 if of["audit_logs_a_batch"] == 1 else 2)

    def capacity(table):
        training, survey = table[rate]
        return million_events * (of["training_share"] * training + of["survey_share"] * survey)

    writes, reads = capacity(WRITES) + head_writes, capacity(READS) + heads
    audit_alarm_metrics = of["audit_function_alarm_metrics"] + of["audit_mappings"] * of["audit_mapping_alarm_metrics"]
    return {
        "pollers, one group": run["pollers, one group"],
        "functions": run["functions"],
        "ledger": writes * of["dynamodb_million_writes"] + reads * of["dynamodb_million_reads"],
        "logs": run["logs"],
        # A version's series are paid for by the hour: a week each where there are four deployments a month.
        "metrics": (of["metrics"] + of["metrics_a_deployment"] + audits * of["audit_metrics"]) * of["metric"],
        "alarms": (of["alarm_metrics"] + audits * audit_alarm_metrics) * of["alarm_metric"],
        "dashboard": of["dashboard"],
    }


def container(rate, of, audits):
    """What runs the same in tasks, and how many they are."""
    tasks = max(of["least_tasks"], math.ceil((1 + audits) * rate / of["task_events_a_second"]))
    hour = of["task_processors"] * of["fargate_processor_hour"] + of["task_gb"] * of["fargate_gb_hour"]
    log_gb = tasks * of["task_log_kb_a_minute"] * of["hours"] * 60 / 1e6
    return tasks * hour * of["hours"] + log_gb * of["log_gb"] + of["task_alarm_metrics"] * of["alarm_metric"], tasks


def crossing(of):
    """Where functions and container cost the same: at which price of a poller's hour, for what runs and how much of it."""
    lines = [
        "| runs | events a second | pollers, functions, logs, $ a month | tasks | container, $ a month | functions are cheaper where a poller unit costs less an hour than |",
        "|---|---|---|---|---|---|",
    ]
    for name, (mappings, partitions, audits) in COMPARED.items():
        for rate in (10, 1_000, 5_000, 20_000):
            run, _, units = running(rate, of | {"mappings": mappings, "partitions": partitions}, audits)
            tasks_cost, tasks = container(rate, of, audits)
            without = run["functions"] + run["logs"]
            price = (tasks_cost - without) / (units * of["hours"])
            told = f"${price:.3f}" if price > 0 else "nothing: never"
            lines.append(f"| {name} | {rate:,} | {sum(run.values()):,.0f} | {tasks} | {tasks_cost:,.0f} | {told} |")
    return "\n".join(lines) + "\n"


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
    for name, mark, made in (("cost", "month", table(of)), ("tiers", "crossing", crossing(of))):
        made = "\n" + made + "\n"
        file = HERE.parent / f"docs/{name}.md"
        begin, end = f"<!-- begin {mark} table -->\n", f"<!-- end {mark} table -->"
        before, rest = file.read_text().split(begin)
        found, after = rest.split(end)
        if "--update" in flags:
            file.write_text(before + begin + made + end + after)
        elif "--check" in flags:
            if found != made:
                sys.exit(f"docs/{name}.md is not what infra/cost.py says: python3 infra/cost.py --update")
        else:
            print(made)


main(*sys.argv[1:])
