"""infra/dedicated.yaml and infra/kubernetes/dedicated.yaml are what AWS takes and what the documents say: `dedicated_templates.py`.

The loops are unrolled by SAM's own code; what CloudFormation makes of conditions and functions is reckoned here, and held against the
shapes of AWS's API, as botocore has them. Rights, alarms and variables are those of the documents' tables. Nothing is sent anywhere.
"""

import copy
import json
import pathlib
import re
import sys

import boto3
import yaml
from botocore.validate import ParamValidator
from samcli.lib.cfn_language_extensions.sam_integration import expand_language_extensions
from samcli.yamlhelper import yaml_parse

ROOT = pathlib.Path(__file__).parent.parent
TEMPLATE = yaml_parse((ROOT / "infra/dedicated.yaml").read_text())
OPERATIONS, SECURITY, TIERS = ((ROOT / f"docs/{name}.md").read_text() for name in ("operations", "security", "tiers"))
PSEUDO = {"AWS::AccountId": "123456789012", "AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::StackName": "lyceum-prod-dedicated"}
GIVEN = {
    "Name": "lyceum-prod", "Image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/lyceum-dedicated:v1", "Subscriptions": "statement",
    "BootstrapServers": "b-1.example:9098", "ElasticsearchUrl": "https://search.example", "SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1",
    "MskClusterArn": ""}
CLUSTER = "arn:aws:kafka:eu-central-1:123456789012:cluster/academy/11111111-2222-3333-4444-555555555555-2"
SECRET, KEY = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:one", "arn:aws:kms:eu-central-1:123456789012:key/1"
ALWAYS = {"WriteLog", "UseLedger", "SeeLedger"}
IAM = {"ConnectToCluster", "SeeTopics", "UseConsumerGroups", "ReadSourceTopic", "WriteTopic"}
# What is given, and the rights that it needs beside ALWAYS.
WAYS = {
    "MSK with IAM": ({"MskClusterArn": CLUSTER}, IAM),
    "MSK with IAM, an image in ECR, a key of its own, tokens": (
        {"MskClusterArn": CLUSTER, "ImageRepositoryArn": "arn:aws:ecr:eu-central-1:123456789012:repository/lyceum-dedicated", "KmsKeyArn": KEY,
         "ApiTokensSecretArn": SECRET}, IAM | {"PullImage", "LogInToRegistry", "UseKey", "ReadApiTokens"}),
    "SCRAM, authorities of its own, a key for secrets": (
        {"KafkaAuthentication": "SCRAM-SHA-512", "KafkaSecretArn": SECRET, "KafkaCaSecretArn": SECRET, "ElasticsearchSecretArn": SECRET,
         "ElasticsearchCaSecretArn": SECRET, "SecretsKeyArns": KEY},
        {"ReadKafkaSecret", "ReadKafkaCa", "ReadElasticsearchSecret", "ReadElasticsearchCa", "UseSecretsKeys", "DecryptApiTokens"}),
    "mutual TLS, signed requests, a cluster of ECS that is there": (
        {"KafkaAuthentication": "CLIENT_CERTIFICATE_TLS_AUTH", "KafkaSecretArn": SECRET, "ClusterName": "academy",
         "OpenSearchArn": "arn:aws:es:eu-central-1:123456789012:domain/academy"}, {"ReadKafkaSecret", "UseDomain"}),
    "open brokers, a collection, Glue, another table": (
        {"KafkaAuthentication": "NONE", "KafkaEncryption": "false", "OpenSearchArn": "arn:aws:aoss:eu-central-1:123456789012:collection/07tj",
         "GlueRegistryArn": "arn:aws:glue:eu-central-1:123456789012:registry/academy", "LedgerTable": "restored", "AlarmTopicArn": "arn:aws:sns:eu-central-1:123456789012:told"},
        {"UseCollection", "FindSchemaRegistry", "ReadSchemas"}),
    "a registry with a user, a generator, spans, nothing runs": (
        {"KafkaAuthentication": "NONE", "SchemaRegistryUrl": "https://registry.example", "SchemaRegistrySecretArn": SECRET, "SchemaRegistryCaSecretArn": SECRET,
         "ContentGeneratorSecretArn": SECRET, "Spans": "otlp", "OtlpEndpoint": "https://collector.example", "OtlpSecretArn": SECRET, "Tasks": "0"},
        {"ReadSchemaRegistrySecret", "ReadSchemaRegistryCa", "ReadContentGeneratorSecret", "ReadOtlpSecret"}),
}
# Statements whose actions take no resource, or whose row says why it has none.
WITHOUT_RESOURCE = {"LogInToRegistry", "ReadSchemas"}
# What is within a name.
WITHIN = (":log-group:/aws/ecs/lyceum-prod-dedicated:*", ":topic/academy/11111111-2222-3333-4444-555555555555-2/*", "/lyceum-*", ":domain/academy/*")
NOTHING = object()


def fail(text):
    sys.exit(f"FAILED: {text}")


class Made:
    """What CloudFormation makes of the template with these parameters."""

    def __init__(self, given):
        self.parameters = dict(PSEUDO)
        for name, of in TEMPLATE["Parameters"].items():
            value = str(given.get(name, of.get("Default", NOTHING)))
            if given.get(name, of.get("Default", NOTHING)) is NOTHING:
                fail(f"{name} must be given")
            if "AllowedPattern" in of and not re.search(of["AllowedPattern"], value):
                fail(f"{name} must not be {value!r}")
            if "AllowedValues" in of and value not in map(str, of["AllowedValues"]):
                fail(f"{name} must not be {value!r}")
            self.parameters[name] = value.split(",") if "List" in of["Type"] else value
        unknown = set(given) - set(TEMPLATE["Parameters"])
        assert not unknown, unknown
        plain = {name: ",".join(value) if isinstance(value, list) else value for name, value in self.parameters.items()}
        unrolled = expand_language_extensions(copy.deepcopy(TEMPLATE), plain, enabled=True).expanded_template
        self.conditions = TEMPLATE["Conditions"]
        self.resources = {
            name: self.value(of["Properties"]) | {"Type": of["Type"]}
            for name, of in unrolled["Resources"].items() if "Condition" not in of or self.holds({"Condition": of["Condition"]})}

    def broken_rules(self):
        for rule in TEMPLATE["Rules"].values():
            yield from (of["AssertDescription"] for of in rule["Assertions"] if not self.holds(of["Assert"]))

    def holds(self, of):
        (name, value), = of.items()
        match name:
            case "Condition": return self.holds(self.conditions[value])
            case "Fn::Equals": return self.value(value[0]) == self.value(value[1])
            case "Fn::Not": return not self.holds(value[0])
            case "Fn::And": return all(map(self.holds, value))
            case "Fn::Or": return any(map(self.holds, value))
            case "Fn::Contains": return self.value(value[1]) in value[0]
        raise ValueError(name)

    def value(self, of):
        if isinstance(of, list):
            return [value for value in map(self.value, of) if value is not NOTHING]
        if not isinstance(of, dict):
            return of
        if len(of) == 1:
            (name, value), = of.items()
            match name:
                case "Ref":
                    return NOTHING if value == "AWS::NoValue" else self.parameters.get(value, f"<{value}>")
                case "Fn::GetAtt":
                    return f"<{value if isinstance(value, str) else '.'.join(value)}>"
                case "Fn::If":
                    return self.value(value[1 if self.holds({"Condition": value[0]}) else 2])
                case "Fn::Join":
                    return value[0].join(self.value(value[1]))
                case "Fn::Split":
                    return self.value(value[1]).split(value[0])
                case "Fn::Select":
                    return self.value(value[1])[int(value[0])]
                case "Fn::FindInMap":
                    at = TEMPLATE["Mappings"]
                    for key in self.value(value):
                        at = at[key]
                    return at
                case "Fn::Sub":
                    text, own = value if isinstance(value, list) else (value, {})
                    names = self.parameters | {key: self.value(of) for key, of in own.items()}
                    return re.sub(r"\$\{([^}]+)\}", lambda found: str(names.get(found[1], f"<{found[1]}>")), text)
        return {key: value for key, value in ((key, self.value(value)) for key, value in of.items()) if value is not NOTHING}


def table(text, head):
    """The rows of the first table whose first column has that head."""
    _, _, rest = text.partition(f"\n| {head} |")
    rows = []
    for line in rest.splitlines()[2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip().strip("|").split(" | ")])
    return rows or fail(f"there is no table with {head!r}")


def statements(value):
    if isinstance(value, dict):
        if "Sid" in value and "Resource" in value:
            yield value
        for of in value.values():
            yield from statements(of)
    elif isinstance(value, list):
        for of in value:
            yield from statements(of)


def listed(value):
    return value if isinstance(value, list) else [value]


def camel(value, kept=()):
    """Names as ECS's API has them; CloudFormation has them with a capital."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: of if key in kept else camel(of, kept) for key, of in value.items()}
    return [camel(of, kept) for of in value] if isinstance(value, list) else value


def shaped(service, operation, value, what):
    model = boto3.client(service, region_name="eu-central-1").meta.service_model.operation_model(operation).input_shape
    if report := ParamValidator().validate(value, model).generate_report():
        fail(f"{what} is not what {service}'s {operation} takes: {report}")


def look_at(what, made, rights):
    if broken := list(made.broken_rules()):
        fail(f"{what}: {broken}")
    found = {}
    for of in made.resources.values():
        for statement in statements(of):
            found.setdefault(statement["Sid"], []).extend(listed(statement["Resource"]))
    if set(found) != ALWAYS | rights:
        fail(f"{what}: the rights {sorted(set(found) ^ (ALWAYS | rights))} are too many, or missing")
    for sid, resources in found.items():
        for resource in resources:
            if (resource == "*") != (sid in WITHOUT_RESOURCE) or ("*" in resource[:-1] or resource.endswith("*") and resource != "*" and not resource.endswith(WITHIN)):
                fail(f"{what}: {sid} is for {resource}")
    of_type = lambda kind: {name: dict(of) for name, of in made.resources.items() if of["Type"] == kind}
    clean = lambda of: {key: value for key, value in of.items() if key != "Type"}
    for name, of in of_type("AWS::ECS::TaskDefinition").items():
        task = camel(clean(of), kept=("Options",))
        for container in task["containerDefinitions"]:
            container["logConfiguration"]["options"] = dict(container["logConfiguration"]["options"])
        shaped("ecs", "RegisterTaskDefinition", task, f"{what}: {name}")
        container, = task["containerDefinitions"]
        if not (container["readonlyRootFilesystem"] and container["user"] == "65532:65532" and container["linuxParameters"] == {"capabilities": {"drop": ["ALL"]}}):
            fail(f"{what}: the container may do more than it needs")
        variables = {of["name"]: of["value"] for of in container["environment"]}
        wanted = {"KAFKA_SECURITY_PROTOCOL": {"NONE": "SSL", "CLIENT_CERTIFICATE_TLS_AUTH": "SSL"}.get(made.parameters["KafkaAuthentication"], "SASL_SSL"),
                  "AWS_MSK_IAM": "true" if made.parameters["KafkaAuthentication"] == "IAM" else "false", "METRICS_NAMESPACE": "Lyceum/lyceum-prod",
                  "DYNAMODB_TABLE": made.parameters["LedgerTable"] or "{{resolve:ssm:/lyceum/lyceum-prod/ledger-table}}", "KAFKA_GROUPS": "mapping", "LANES": "", "BATCH_SIZE": ""}
        if made.parameters["KafkaEncryption"] == "false":
            wanted["KAFKA_SECURITY_PROTOCOL"] = "PLAINTEXT"
        if wrong := {name: variables[name] for name in wanted if variables[name] != wanted[name]}:
            fail(f"{what}: {wrong}, not {wanted}")
    for name, of in of_type("AWS::ECS::Service").items():
        service = camel(clean(of)) | {"desiredCount": int(of["DesiredCount"])}
        service["propagateTags"] = of["PropagateTags"]
        shaped("ecs", "CreateService", service, f"{what}: {name}")
        deployment = service["deploymentConfiguration"]
        if deployment["minimumHealthyPercent"] != 100 or deployment["deploymentCircuitBreaker"] != {"enable": True, "rollback": True}:
            fail(f"{what}: a deployment leaves a gap, or does not go back")
    numbers = ("Threshold", "MinCapacity", "MaxCapacity")
    for name, of in of_type("AWS::CloudWatch::Alarm").items():
        shaped("cloudwatch", "PutMetricAlarm", clean(of) | {key: float(of[key]) for key in numbers if key in of}, f"{what}: {name}")
    for name, of in of_type("AWS::ApplicationAutoScaling::ScalableTarget").items():
        shaped("application-autoscaling", "RegisterScalableTarget", clean(of) | {key: int(of[key]) for key in numbers if key in of}, f"{what}: {name}")
    for name, of in of_type("AWS::ApplicationAutoScaling::ScalingPolicy").items():
        # CloudFormation takes what is scaled from the target.
        policy = {key: value for key, value in clean(of).items() if key != "ScalingTargetId"}
        target = {"ServiceNamespace": "ecs", "ResourceId": "service/a/b", "ScalableDimension": "ecs:service:DesiredCount"}
        shaped("application-autoscaling", "PutScalingPolicy", policy | target, f"{what}: {name}")
    runs = made.parameters["Tasks"] != "0"
    if runs != bool(of_type("AWS::CloudWatch::Alarm")) or runs != bool(of_type("AWS::ApplicationAutoScaling::ScalableTarget")):
        fail(f"{what}: where nothing runs nothing is scaled and nothing rings")


def code(names):
    return ", ".join(f"`{name}`" for name in sorted(names))


def main():
    told = {row[0].strip("`"): row for row in table(SECURITY, "statement of the container")}
    rights = {of["Sid"]: code(listed(of["Action"])) for of in statements(TEMPLATE["Resources"])}
    if wrong := {sid for sid in told.keys() | rights.keys() if sid not in told or told[sid][1] != rights.get(sid) or len(told[sid]) != 4 or not told[sid][3]}:
        fail(f"docs/security.md has no row, or another one, of the container's rights {({sid: rights.get(sid) for sid in sorted(wrong)})}")
    if "ManagedPolicyArns" in json.dumps(TEMPLATE):
        fail("AWS's managed policies allow more than is needed")
    for what, (given, wanted) in WAYS.items():
        look_at(what, Made(GIVEN | given), wanted)
    if not list(Made(GIVEN | {"KafkaAuthentication": "SCRAM-SHA-512"}).broken_rules()):
        fail("a password without a secret is not refused")

    resources = [of for of in TEMPLATE["Resources"].values() if isinstance(of, dict)]
    alarms = {of["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${AWS::StackName}-") for of in resources if of["Type"] == "AWS::CloudWatch::Alarm"}
    rows = table(OPERATIONS, "alarm of the container")
    if {row[0].strip("`…-") for row in rows} != alarms or not all(len(row) == 3 and row[2] for row in rows):
        fail(f"docs/operations.md does not tell of the container's alarms {sorted(alarms)}, each with what to do")

    environment, = (of["Properties"]["ContainerDefinitions"][0]["Environment"] for of in resources if of["Type"] == "AWS::ECS::TaskDefinition")
    packed = {of["Name"] for of in environment if "${Variables}" in json.dumps(of)}
    pattern = re.match(r"\^\(\(([^)]*)\)", TEMPLATE["Parameters"]["Variables"]["AllowedPattern"])[1]
    if packed != set(pattern.split("|")):
        fail(f"the pattern of Variables differs from what is set by it: {sorted(packed ^ set(pattern.split('|')))}")
    manifest = list(yaml.safe_load_all((ROOT / "infra/kubernetes/dedicated.yaml").read_text()))
    of_manifest = {name for of in manifest if of["kind"] == "ConfigMap" for name in of["data"]}
    compose = yaml.safe_load((ROOT / "infra/compose.yaml").read_text())["services"]["dedicated"]["environment"]
    for where, names in {"infra/dedicated.yaml": {of["Name"] for of in environment}, "infra/kubernetes/dedicated.yaml": of_manifest, "infra/compose.yaml": set(compose)}.items():
        told_of = lambda name: f"`{name}`" in OPERATIONS or f"`{name}`" in TIERS or name.startswith(("AWS_REGION", "AWS_ACCESS_KEY", "AWS_SECRET"))
        if unknown := sorted(name for name in names if not told_of(name)):
            fail(f"{where} sets {unknown}, of which neither docs/operations.md nor docs/tiers.md tells")
    print(f"infra/dedicated.yaml: {len(WAYS)} installations, {len(rights)} rights, {len(alarms)} alarms, {len(environment)} variables")


main()
