"""Starts ministack, with what AWS does and it does not: CloudFormation applies the transforms of a stack's template where the stack is
one of another stack, too, and splits texts in conditions; a table says in a boolean whether it is protected, whatever its template had; and
Lambda runs a function on the machine that its binary is for, here by the emulator of FUNCTIONS_UNDER
where that is set (`qemu-aarch64-static -L ROOT`)."""

import os
import platform
import re
import shlex
import subprocess
import threading

from ministack.app import main
from ministack.services import dynamodb
from ministack.services.cloudformation import engine

resolve = engine._resolve_parameters
under_way = threading.local()


def transform_and_resolve(template, given, *previous):
    # A stack in a stack looks this function up here, before it reads the template; a stack of its own has it already. The
    # transforms look it up as well.
    if not getattr(under_way, "transform", False):
        under_way.transform = True
        try:
            transformed = dict(engine._apply_transforms(template, given))
        finally:
            under_way.transform = False
        template.clear()
        template.update(transformed)
    parameters = resolve(template, given, *previous)
    if "Conditions" in template:
        template["Conditions"] = split(template["Conditions"], parameters)
    return parameters


def split(value, parameters):
    """The same with every Fn::Split of a Fn::Sub of parameters done."""
    if isinstance(value, list):
        return [split(part, parameters) for part in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Fn::Split"}:
        delimiter, text = value["Fn::Split"]
        return re.sub(r"\$\{(\w+)\}", lambda found: str(parameters[found[1]]["Value"]), text["Fn::Sub"]).split(delimiter)
    return {name: split(part, parameters) for name, part in value.items()}


engine._resolve_parameters = transform_and_resolve

describe = dynamodb._table_description


def describe_as_aws(name):
    # A parameter of a template is a text, which no SDK with types reads here.
    description = describe(name)
    description["DeletionProtectionEnabled"] = str(description["DeletionProtectionEnabled"]).lower() == "true"
    return description


dynamodb._table_description = describe_as_aws

emulator = shlex.split(os.environ.get("FUNCTIONS_UNDER", ""))


def is_foreign(program):
    """Whether it is compiled for another machine than this one, by the header of its ELF file."""
    with open(program, "rb") as file:
        header = file.read(20)
    machine = {0xB7: "aarch64", 0x3E: "x86_64"}.get(int.from_bytes(header[18:20], "little"))
    return header[:4] == b"\x7fELF" and machine != platform.machine()


class Started(subprocess.Popen):
    """A process; that of a function is told, and started by the emulator."""

    def __init__(self, command, *arguments, **options):
        if isinstance(command, list) and os.path.basename(command[0]) == "bootstrap":
            command = [*(emulator if is_foreign(command[0]) else []), *command]
            function = options["env"]["AWS_LAMBDA_FUNCTION_NAME"]
            print(f"function {function} started: {os.path.basename(command[0])}", flush=True)
        super().__init__(command, *arguments, **options)


subprocess.Popen = Started
main()
