"""Goes back from a release, function by function: `way_back.py COMMAND STACK …`, with boto3 (it comes with aws-sam-cli).

    status STACK                        which version each function's alias points at, and which one CloudFormation means
    stop STACK                          1. a canary is under way: stops it, and CodeDeploy moves the aliases back
    alias STACK SUBSCRIPTION VERSION    3. no time for a deployment: points the alias at a version, whole
    restore STACK SUBSCRIPTION          …and back at what CloudFormation means, which has to be done before the next deployment

2., where there is time, needs no script: check out the release before, `sam build && sam deploy`.
"""

import sys

import boto3


def families(stack):
    """Of each subscription, by its name: the function, and the version that its stack means."""
    cloudformation = boto3.client("cloudformation")
    found = {}
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack):
        for resource in page["StackResourceSummaries"]:
            if resource["ResourceType"] != "AWS::CloudFormation::Stack":
                continue
            child = cloudformation.describe_stacks(StackName=resource["PhysicalResourceId"])["Stacks"][0]
            outputs = {of["OutputKey"]: of["OutputValue"] for of in child.get("Outputs", [])}
            if "Version" in outputs:
                # arn:aws:lambda:REGION:ACCOUNT:function:NAME:ALIAS
                function = outputs["Function"].split(":")[6]
                found[function.removeprefix(f"{stack}-")] = function, outputs["Version"]
    if not found:
        sys.exit(f"{stack} has no subscription: is it the name of the stack that template.yaml made?")
    return found


def of(stack, subscription):
    found = families(stack)
    if subscription not in found:
        sys.exit(f"{stack} has no subscription {subscription}: it has {', '.join(sorted(found))}")
    return found[subscription]


def tell(function, alias, meant):
    weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights") or {}
    beside = "".join(f", {share:.0%} of the calls at {version}" for version, share in weights.items())
    note = "" if alias["FunctionVersion"] == meant and not weights else f"; CloudFormation means {meant}"
    print(f"{function}: live points at {alias['FunctionVersion']}{beside}{note}")


def point(function, version, meant):
    # The weights in so many words: what is not named stays, and with it the share of a canary.
    alias = boto3.client("lambda").update_alias(
        FunctionName=function, Name="live", FunctionVersion=version, RoutingConfig={"AdditionalVersionWeights": {}})
    tell(function, alias, meant)


def status(stack):
    for function, meant in families(stack).values():
        tell(function, boto3.client("lambda").get_alias(FunctionName=function, Name="live"), meant)


def stop(stack):
    codedeploy = boto3.client("codedeploy")
    functions = {function for function, _ in families(stack).values()}
    stopped = 0
    for application in codedeploy.get_paginator("list_applications").paginate().search("applications"):
        # SAM makes an application for each nested stack, called after it.
        if not application.startswith(f"{stack}-"):
            continue
        for group in codedeploy.list_deployment_groups(applicationName=application)["deploymentGroups"]:
            running = codedeploy.list_deployments(
                applicationName=application, deploymentGroupName=group,
                includeOnlyStatuses=["Created", "Queued", "InProgress", "Ready"])["deployments"]
            for deployment in running:
                codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=True)
                stopped += 1
                print(f"{application}: {deployment} is stopped, and goes back")
    if not stopped:
        sys.exit(f"no deployment is under way of {', '.join(sorted(functions))}: take the second or third way back")


def alias(stack, subscription, version):
    function, meant = of(stack, subscription)
    point(function, version, meant)
    if version != meant:
        print(f"before the next deployment: way_back.py restore {stack} {subscription}")


def restore(stack, subscription):
    function, meant = of(stack, subscription)
    point(function, meant, meant)


COMMANDS = {"status": (status, 1), "stop": (stop, 1), "alias": (alias, 3), "restore": (restore, 2)}


def main(command="", *arguments):
    run, takes = COMMANDS.get(command, (None, None))
    if takes != len(arguments):
        sys.exit(__doc__)
    run(*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
