"""What SAM's own code makes of the templates: `expand.py FOLDER`, where template.yaml and infra/ are.

SAM's command line reads which functions there are and which binary each is built of; its expansion of loops and its
transform, which AWS runs as well, make the resources. Nothing is built and nothing is sent anywhere.
"""

import copy
import itertools
import json
import logging
import os
import pathlib
import sys

import boto3
from botocore.validate import ParamValidator
from samcli.cli.types import CfnParameterOverridesType
from samcli.lib.cfn_language_extensions.sam_integration import expand_language_extensions
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

logging.disable()

FAMILY = "infra/family.yaml"
PLACE = {"BootstrapServers": "b-1.example:9098,b-2.example:9098", "ElasticsearchUrl": "https://search.example"}
CLUSTER = "arn:aws:kafka:eu-central-1:123456789012:cluster/academy/11111111-2222-3333-4444-555555555555-2"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:AmazonMSK_lyceum"
BUCKET = "arn:aws:s3:::academy-failed"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
NETWORK = {"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"}

# The installations that differ in how a mapping reaches Kafka, and in what becomes of what it gives up.
INSTALLATIONS = {
    "MSK with IAM": {"MskClusterArn": CLUSTER},
    "MSK Serverless": {"MskClusterArn": CLUSTER[:-1] + "s2"},
    "MSK with IAM in a network, to a topic": {"MskClusterArn": CLUSTER, **NETWORK, "OnFailureDestination": "kafka://nlj.failed"},
    "MSK with SCRAM": {"MskClusterArn": CLUSTER, "KafkaAuthentication": "SCRAM-SHA-512", "KafkaSecretArn": SECRET, "SecretsKeyArns": KEY},
    "MSK with mutual TLS": {"MskClusterArn": CLUSTER, "KafkaAuthentication": "CLIENT_CERTIFICATE_TLS_AUTH", "KafkaSecretArn": SECRET},
    "own brokers with SCRAM and authority": {
        "KafkaAuthentication": "SCRAM-SHA-256", "KafkaSecretArn": SECRET, "KafkaCaSecretArn": SECRET, **NETWORK},
    "own brokers with PLAIN, to a bucket": {
        "KafkaAuthentication": "PLAIN", "KafkaSecretArn": SECRET, "OnFailureDestination": BUCKET, "DestinationKeyArn": KEY},
    "own brokers in a network, filtered": {
        "KafkaAuthentication": "NONE", **NETWORK, "KmsKeyArn": KEY, "FilterPattern": '{"value": {"actor": [{"exists": true}]}}'},
    "open brokers, paused, from a time": {
        "KafkaAuthentication": "NONE", "KafkaEncryption": "false", "Consuming": "false",
        "StartingPosition": "AT_TIMESTAMP", "StartingTimestamp": "1772439300"},
}


# SAM asks for a region wherever it stands; nothing here reaches one.
os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")


class Policies:
    def load(self):
        return {}


def load(folder, name):
    return yaml_parse((folder / name).read_text())


# What template.yaml gives a subscription's stack, where it has no default itself.
OF_THE_ROOT = {
    "Family": "training", "Binary": "lyceum-training", "Name": "academy-training", "KeepsState": "true", "DestinationService": "", "FollowUpTopic": "",
    "OpenSearchService": "",
    "DeadLetterTopics": "nlj.errors.validation,nlj.errors.processing,nlj.errors.database", "PollerGroup": "academy",
    "LedgerTable": "academy-Ledger", "MetricsNamespace": "Lyceum/academy", "AlarmTopicArn": "arn:aws:sns:eu-central-1:123456789012:alarms"}


def expanded(template, given):
    """A template after both transforms, for these parameters."""
    known = {name: str(of["Default"]) for name, of in ROOT["Parameters"].items() if "Default" in of} | OF_THE_ROOT
    own = {name: str(of["Default"]) for name, of in template["Parameters"].items() if "Default" in of}
    parameters = {name: own.get(name, known.get(name)) for name in template["Parameters"]} | given
    if parameters.get("OnFailureDestination"):
        parameters["DestinationService"] = f"{parameters['OnFailureDestination']}:::".split(":")[2]
    if parameters.get("OpenSearchArn"):
        parameters["OpenSearchService"] = parameters["OpenSearchArn"].split(":")[2]
    missing = [name for name, value in parameters.items() if value is None]
    assert not missing, f"nobody gives {missing}"
    unrolled = expand_language_extensions(copy.deepcopy(template), parameters, enabled=True).expanded_template
    for of in unrolled["Resources"].values():
        if of["Type"] == "AWS::Serverless::Function" and not of["Properties"]["CodeUri"].startswith("s3://"):
            of["Properties"]["CodeUri"] = "s3://bucket/code"
    unrolled.pop("Transform", None)
    return transform(unrolled, parameters, Policies()), parameters


class Made:
    """What CloudFormation would make of a template after its transforms."""

    def __init__(self, template, given):
        self.template, self.parameters = expanded(template, given)

    def condition(self, of):
        if isinstance(of, str):
            return self.condition(self.template["Conditions"][of])
        (name, of), = of.items()
        return {
            "Condition": lambda: self.condition(of),
            "Fn::And": lambda: all(map(self.condition, of)),
            "Fn::Or": lambda: any(map(self.condition, of)),
            "Fn::Not": lambda: not self.condition(of[0]),
            "Fn::Equals": lambda: str(self.value(of[0])) == str(self.value(of[1])),
        }[name]()

    def value(self, of):
        if isinstance(of, list):
            return [value for value in map(self.value, of) if value is not None]
        if not isinstance(of, dict):
            return of
        if len(of) != 1 or not (next(iter(of)) == "Ref" or next(iter(of)).startswith("Fn::")):
            made = {name: self.value(value) for name, value in of.items()}
            return {name: value for name, value in made.items() if value is not None}
        (name, of), = of.items()
        if name == "Ref":
            return self.named(of)
        if name == "Fn::If":
            return self.value(of[1 if self.condition(of[0]) else 2])
        if name == "Fn::GetAtt":
            return f"<{of if isinstance(of, str) else '.'.join(map(str, of))}>"
        if name == "Fn::Sub":
            text, own = (of, {}) if isinstance(of, str) else (of[0], self.value(of[1]))
            parts = text.split("${")
            return parts[0] + "".join(
                str(own.get(part.split("}")[0], self.named(part.split("}")[0]))) + part.split("}", 1)[1] for part in parts[1:])
        of = self.value(of)
        return {
            "Fn::Join": lambda: of[0].join(map(str, of[1])),
            "Fn::Split": lambda: of[1].split(of[0]),
            "Fn::Select": lambda: of[1][int(of[0])],
            "Fn::FindInMap": lambda: self.template["Mappings"][of[0]][of[1]][of[2]],
        }[name]()

    def named(self, name):
        pseudo = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012", "AWS::StackName": "academy"}
        if name == "AWS::NoValue":
            return None
        if name in self.parameters:
            value = self.parameters[name]
            is_list = self.template["Parameters"][name]["Type"] == "CommaDelimitedList"
            return value.split(",") if is_list else value
        return pseudo.get(name, f"<{name}>")

    def of_type(self, kind):
        for name, of in self.template["Resources"].items():
            if of["Type"] == kind and ("Condition" not in of or self.condition(of["Condition"])):
                yield name, self.value(of.get("Properties", {}))


def functions(folder):
    """Each function of all stacks, as the command line builds it, has a binary of its own."""
    os.chdir(folder)
    stacks, _ = SamLocalStackProvider.get_stacks("template.yaml", parameter_overrides=PLACE, language_extensions_enabled=True)
    found = {of.full_path: of for of in SamFunctionProvider(stacks).get_all()}
    binaries = {path: of.metadata["BuildProperties"]["Binary"] for path, of in found.items()}
    wanted = {
        f"{name}/Function": of["Properties"]["Parameters"]["Binary"]
        for name, of in ROOT["Resources"].items()
        if of["Properties"].get("TemplateURL") == FAMILY
    }
    assert binaries == wanted, f"SAM builds {binaries}, and the templates mean {wanted}"
    assert len(set(binaries.values())) == len(binaries), f"two functions have one binary: {binaries}"
    sources = {(folder / of.codeuri).resolve() for of in found.values()}
    assert sources == {(folder / "functions/lambda").resolve()}, sources
    print(f"{len(binaries)} functions, each of its own binary: {', '.join(sorted(binaries.values()))}")


def versions(family):
    """What publishes a version: another release, other code, another setting of the function; and nothing else."""
    def version(given, code="s3://bucket/code"):
        template = copy.deepcopy(family)
        template["Resources"]["Function"]["Properties"]["CodeUri"] = code
        resources = expanded(template, {"MskClusterArn": CLUSTER, **PLACE, **given})[0]["Resources"]
        (name,) = (name for name, of in resources.items() if of["Type"] == "AWS::Lambda::Version")
        return name

    first = version({})
    changes = [
        {"Release": "1"}, {"LogLevel": "debug"}, {"ReservedConcurrency": "5"}, {"MemoryMegabytes": "1024"}, {"TimeoutSeconds": "300"}, {"Tracing": "Active"},
        {"ElasticsearchUrl": "https://other.example"}, {"Variables": "KAFKA_TIMEOUT_MS=1000"}, {"KmsKeyArn": KEY}, NETWORK]
    found = [first, version({}, "s3://bucket/other"), *map(version, changes)]
    assert len(set(found)) == len(found), f"of {changes} one publishes no version"
    others = [{}, {"BatchSize": "100"}, {"LargestLagSeconds": "5"}, {"LogRetentionDays": "7"}, {"Consuming": "none"}]
    for change in others:
        assert version(change) == first, f"{change} publishes a version, which Lambda refuses where nothing changed"
    print(f"{len(found) - 1} changes publish a version, {len(others)} do not")


def installations(family, mappings):
    """Lambda's own model of a mapping takes each, and each makes as many mappings as there are topics."""
    lambda_ = boto3.client("lambda", region_name="eu-central-1", aws_access_key_id="none", aws_secret_access_key="none")
    shape = lambda_.meta.service_model.operation_model("CreateEventSourceMapping").input_shape
    for name, given in INSTALLATIONS.items():
        made = Made(family, {**PLACE, "Mappings": ",".join(mappings), **given})
        found = list(made.of_type("AWS::Lambda::EventSourceMapping"))
        assert len(found) == len(mappings), f"{name}: {found}"
        for _, of in found:
            # CloudFormation has numbers as texts, tags as a list, and calls the key otherwise.
            of = {**of, "Tags": {tag["Key"]: tag["Value"] for tag in of.get("Tags", [])}}
            if "KmsKeyArn" in of:
                of["KMSKeyArn"] = of.pop("KmsKeyArn")
            if "SelfManagedEventSource" in of:
                servers = of["SelfManagedEventSource"]["Endpoints"].pop("KafkaBootstrapServers")
                of["SelfManagedEventSource"]["Endpoints"]["KAFKA_BOOTSTRAP_SERVERS"] = servers
            for field, member in shape.members.items():
                if member.type_name == "integer" and field in of:
                    of[field] = int(of[field])
                if member.type_name == "timestamp" and field in of:
                    of[field] = float(of[field])
            of["ProvisionedPollerConfig"] = {
                key: int(value) if key != "PollerGroupName" else value for key, value in of["ProvisionedPollerConfig"].items()}
            report = ParamValidator().validate(of, shape)
            assert not report.has_errors(), f"{name}: {report.generate_report()}\n{json.dumps(of, indent=1)}"
    print(f"{len(INSTALLATIONS)} installations are taken by the model of CreateEventSourceMapping")


def beside(folder):
    """The stacks beside this one: which binary their functions are built of, that whatever a function is made of publishes a version, and that no
    role has more policies within it than IAM takes (10,240 characters without blanks)."""
    wanted = {"infra/http.yaml": {"Read": "lyceum-http", "Publish": "lyceum-http", "Operate": "lyceum-http"}, "infra/replay.yaml": {"Function": "lyceum-replay"}}
    given = {**PLACE, "MskClusterArn": CLUSTER, "SubnetIds": "", "SecurityGroupIds": ""}
    tokens = {"ApiTokensSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:tokens"}
    for name, binaries in wanted.items():
        os.chdir(folder)
        # As `sam build` does, which is given no parameter.
        SamLocalStackProvider.get_stacks(name, parameter_overrides={}, language_extensions_enabled=True)
        stacks, _ = SamLocalStackProvider.get_stacks(name, parameter_overrides=given, language_extensions_enabled=True)
        found = {of.full_path: of for of in SamFunctionProvider(stacks).get_all()}
        assert {path: of.metadata["BuildProperties"]["Binary"] for path, of in found.items()} == binaries, f"{name}: SAM builds {list(found)}"
        sources = {(folder / of.codeuri).resolve() for of in found.values()}
        assert sources == {(folder / "functions/lambda").resolve()}, f"{name}: {sources}"
        template = load(folder, name)
        own = tokens if name == "infra/http.yaml" else {}
        loops = {key.removeprefix("Fn::ForEach::") for key in template["Resources"] if key.startswith("Fn::ForEach::")}
        assert not loops & template["Resources"].keys(), f"{name}: CloudFormation takes no loop that is called as a resource: {loops}"

        def version(change):
            resources = expanded(template, {**given, **own, **change})[0]["Resources"]
            return tuple(sorted(key for key, of in resources.items() if of["Type"] == "AWS::Lambda::Version"))

        first = version({})
        assert len(first) == len(binaries)
        changes = [{"Release": "1"}, {"LogLevel": "debug"}, {"MemoryMegabytes": "1024"}, {"ElasticsearchUrl": "https://other.example"}, {"KmsKeyArn": KEY},
                   {"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"}, {"DefaultTenant": "other"}, {"LedgerTable": "other"}, {"Name": "other"}]
        changes += [{"OidcTenantClaim": "custom:tenant"}, {"ReplayMachineArn": "arn:aws:states:eu-central-1:123456789012:stateMachine:a"}, {"AllowedOrigins": "https://a.example"}, {"ReservedConcurrency": "5"}] if own else [{"FailedBucket": "other-bucket"}]
        versions = [first, *map(version, changes)]
        assert len(set(versions)) == len(versions), f"{name}: of {changes} one publishes no version"
        for change in [{}, {"LogRetentionDays": "7"}, {"AlarmTopicArn": "arn:aws:sns:eu-central-1:123456789012:a"}]:
            assert version(change) == first, f"{name}: {change} publishes a version, which Lambda refuses where nothing changed"
        made = Made(template, {**given, **own, "KmsKeyArn": KEY, "Tracing": "Active"})
        sizes = {}
        for role, of in made.of_type("AWS::IAM::Role"):
            sizes[role] = sum(len(json.dumps(policy["PolicyDocument"], separators=(",", ":"))) for policy in of["Policies"])
        for _, of in made.of_type("AWS::IAM::RolePolicy"):
            sizes[of["RoleName"].strip("<>")] += len(json.dumps(of["PolicyDocument"], separators=(",", ":")))
        assert max(sizes.values()) <= 9500, f"{name}: the policies within a role are too long: {sizes}"
        print(f"{name}: {len(binaries)} functions, {len(changes)} changes publish a version, {len(made.template['Resources'])} resources, at most {max(sizes.values())} characters of policies in a role")


def environments(folder):
    """The files of parameters name every parameter, as the command line reads them."""
    for file in sorted((folder / "infra/env").glob("*.yaml")):
        read = CfnParameterOverridesType().convert([f"file://{file}"], None, None)
        missing = [name for name in ROOT["Parameters"] if name not in read and not (file.stem == "defaults" and name in PLACE)]
        unknown = [name for name in read if name not in ROOT["Parameters"]]
        assert not missing and not unknown, f"{file.name} lacks {missing}, and has {unknown}"
        print(f"{file.name} names {len(read)} parameters")


def limits(folder):
    """Of CloudFormation, after the transforms."""
    root = ROOT
    family = load(folder, FAMILY)
    most = 0
    for name, of in root["Resources"].items():
        template = (folder / of["Properties"]["TemplateURL"]).read_text()
        assert len(template) <= 1_000_000, name
        if of["Properties"]["TemplateURL"] == FAMILY:
            own = {key: value for key, value in of["Properties"]["Parameters"].items() if isinstance(value, str)}
            made = expanded(family, {**PLACE, "MskClusterArn": CLUSTER, "OnFailureDestination": BUCKET, **own})[0]["Resources"]
            kinds = [resource["Type"] for resource in made.values()]
            assert kinds.count("AWS::Lambda::Function") == 1 and kinds.count("AWS::IAM::Role") == 2, f"{name}: {kinds}"
            assert kinds.count("AWS::Lambda::EventSourceMapping") == len(own["Mappings"].split(",")), name
            groups = [of["Properties"] for of in made.values() if of["Type"] == "AWS::CodeDeploy::DeploymentGroup"]
            # In whichever notation: the three alarms that a deployment is judged by.
            alarms = json.dumps(groups[0]["AlarmConfiguration"])
            assert len(groups) == 1 and all(alarm in alarms for alarm in ("VersionErrors", "VersionSlow", "VersionWorse")), alarms
            most = max(most, len(made))
    assert most <= 500 and len(root["Resources"]) <= 500
    print(f"{len(root['Resources'])} stacks, {most} resources in the largest (of 500)")


def main(folder):
    global ROOT
    folder = pathlib.Path(folder).resolve()
    ROOT = load(folder, "template.yaml")
    functions(folder)
    family = load(folder, FAMILY)
    versions(family)
    topics = family["Mappings"]["Topics"]
    installations(family, list(itertools.islice(topics, 3)))
    # A folder of templates that a test wrote has none.
    if (folder / "infra/http.yaml").exists():
        beside(folder)
    environments(folder)
    limits(folder)


main(*sys.argv[1:])
