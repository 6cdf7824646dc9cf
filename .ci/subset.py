"""Prints template.yaml with the stacks of some subscriptions alone, and their outputs: `subset.py Training Statement …`."""

import pathlib
import re
import sys

template = (pathlib.Path(__file__).parent.parent / "template.yaml").read_text()


def between(mark, keep):
    """The template with those lines between two marks that `keep` lets through."""
    global template
    begin, end = f"  # begin {mark}\n", f"  # end {mark}\n"
    before, rest = template.split(begin)
    inside, after = rest.split(end)
    template = before + begin + "".join(keep(inside)) + end + after


def main(names):
    stacks = set(re.findall(r"^  (\w+)Function: \{Value:", template, re.M))
    unknown = [name for name in names if name not in stacks]
    if unknown or not names:
        sys.exit(f"{' '.join(unknown) or 'nothing'} is no subscription of template.yaml; there are {' '.join(sorted(stacks))}")

    def of_stacks(lines):
        is_kept = True
        for line in lines.splitlines(True):
            if found := re.match(r"  (\w+):$", line):
                is_kept = found[1] in names or found[1] not in stacks
            if is_kept:
                yield line

    def of_outputs(lines):
        for line in lines.splitlines(True):
            if re.search(r"!GetAtt (\w+)\.", line)[1] in names:
                yield line

    between("subscriptions", of_stacks)
    between("outputs", of_outputs)
    print(template, end="")


main(sys.argv[1:])
