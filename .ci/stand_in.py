"""Starts ministack, with what CloudFormation does and it does not: the transforms of a stack's template are applied where the
stack is one of another stack, too."""

import threading

from ministack.app import main
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
    return resolve(template, given, *previous)


engine._resolve_parameters = transform_and_resolve
main()
