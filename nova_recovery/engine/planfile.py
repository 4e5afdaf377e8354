# SPDX-License-Identifier: Apache-2.0

"""A plan in a file, to be read, approved and carried out later.

A small plan is one JSON object, indented, for people and ``diff``. A large
one is JSON Lines: the head, then a line an item in the order of the steps;
it is as easy to cut and search with the tools of the shell.

Both hold the digest of the plan and a checksum of everything else, so that a
file that was edited, cut off or mixed up is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import hashlib
import json
import os
from typing import Any

from nova_recovery import exceptions
from nova_recovery.compat import pairs
from nova_recovery.engine import files
from nova_recovery.engine import plan as plan_module
from nova_recovery.engine.plan import Gate, Item, LeftOut, Plan, Step
from nova_recovery.exceptions import RecoveryError, Refused

#: From so many items on, a line an item.
LINES_ABOVE = 1000
#: A plan of 200,000 items has some 200 MB; what is larger is no plan.
LARGEST = 2 * 1024**3
MAGIC = 'nova-recovery-plan'
#: As in ``Step.extras`` and ``Plan.extras``.
_LATER = ('number', 'failures', 'at_a_time')
_LATER_OF_PLANS = ('down_since', 'cloud')


def to_dict(plan: Plan) -> dict[str, Any]:
    """The plan in JSON types; what it holds isn't copied."""
    head = head_of(plan)
    for body, step in pairs(head['steps'], plan.steps):
        body['items'] = [_item_dict(item) for item in step.items]
    return head


def head_of(plan: Plan) -> dict[str, Any]:
    """The same without the items."""
    body = _shallow(plan)
    for name in ('format', *_LATER_OF_PLANS):
        del body[name]
    left_out: Any = [_shallow(one) for one in plan.left_out]
    if plan.format == 1:
        left_out = {one.subject: one.why for one in plan.left_out}
    return {
        **body,
        **plan.extras,
        'steps': [_step_dict(step) for step in plan.steps],
        'gates': [_shallow(gate) for gate in plan.gates],
        'notes': list(plan.notes),
        'left_out': left_out,
    }


def from_dict(body: dict[str, Any], number: int = plan_module.FORMAT) -> Plan:
    """The plan that ``to_dict`` gave.

    :param number: the format in which it was made
    :raises KeyError, TypeError: a field is missing, unknown or of another
        type
    """
    items = [
        [_item(one) for one in _list(step['items'])]
        for step in _list(body['steps'])
    ]
    return from_head(body, items, number)


def from_head(
    body: dict[str, Any], items: Sequence[Sequence[Item]], number: int
) -> Plan:
    """The plan whose head ``head_of`` gave.

    :param items: those of each step
    :raises KeyError, TypeError: as ``from_dict``
    """
    steps = tuple(
        Step(**_fields(Step, step, items=tuple(of_step)))
        for step, of_step in pairs(_list(body['steps']), items)
    )
    gates = tuple(Gate(**_fields(Gate, gate)) for gate in _list(body['gates']))
    notes = _texts(body['notes'])
    return Plan(
        **_fields(
            Plan,
            body,
            steps=steps,
            gates=gates,
            notes=notes,
            left_out=_left_out(body['left_out'], number),
            format=number,
        )
    )


def _left_out(body: Any, number: int) -> tuple[LeftOut, ...]:
    if number == 1:
        # the label was in the sentence, where no reader can tell it apart
        return tuple(
            LeftOut(*_texts([subject, '', why]))
            for subject, why in body.items()
        )
    return tuple(LeftOut(**_fields(LeftOut, one)) for one in _list(body))


def save(plan: Plan, path: str) -> None:
    """Write the plan, mode 0600, all or nothing, on disk when it returns.

    :raises RecoveryError: the file can't be written
    """
    files.write(path, _written(plan))


def load(path: str) -> Plan:
    """Read a plan back.

    :raises RecoveryError: it can't be read, or is no plan (with the line)
    :raises Refused: it isn't what was saved
    """
    text = _read(path)
    try:
        head = _parse(path, text)
        _check_format(path, head)
        plan = from_dict(head['plan'], head[MAGIC])
        if head['checksum'] != _checksum(plan):
            raise Refused(
                f'plan file {path}: it was changed since it was saved; make '
                f'the plan anew'
            )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        why = exceptions.plainly(error)
        raise RecoveryError(
            f'plan file {path}: not a whole plan: {why}; make it anew'
        ) from error
    if head['digest'] != plan.digest:
        raise Refused(
            f'plan file {path}: its digest is {str(head["digest"])[:16]}…, '
            f'that of what it holds {plan.digest[:16]}…; make the plan anew'
        )
    return plan


def _written(plan: Plan) -> Iterator[str]:
    body = to_dict(plan)
    head: dict[str, Any] = {
        MAGIC: plan.format,
        'digest': plan.digest,
        'checksum': _checksum(plan),
    }
    count = sum(len(step.items) for step in plan.steps)
    if count <= LINES_ABOVE:
        yield json.dumps({**head, 'plan': body}, indent=2) + '\n'
        return
    items = [item for step in body['steps'] for item in step['items']]
    for step in body['steps']:
        step['items'] = len(step['items'])
    yield json.dumps({**head, 'lines': count, 'plan': body}) + '\n'
    for item in items:
        yield json.dumps(item) + '\n'


def _parse(path: str, text: str) -> dict[str, Any]:
    """The head with the whole plan in it, whichever form the file has."""
    first, _, rest = text.partition('\n')
    try:
        head = files.parsed(first)
    except ValueError:
        return _json(path, text, 1)
    if not isinstance(head, dict) or 'lines' not in head:
        return _json(path, text, 1)
    _check_format(path, head)
    lines = rest.removesuffix('\n').split('\n')
    if len(lines) != head['lines']:
        raise RecoveryError(
            f'plan file {path}: it ends at line {len(lines) + 1}, but was '
            f'written with {head["lines"] + 1}'
        )
    counts = [step['items'] for step in head['plan']['steps']]
    if min(counts, default=0) < 0 or sum(counts) != len(lines):
        raise ValueError("its steps and its items don't match")
    items = iter(
        [_json(path, line, number) for number, line in enumerate(lines, 2)]
    )
    for step in head['plan']['steps']:
        step['items'] = [next(items) for _ in range(step['items'])]
    return head


def _json(path: str, text: str, line: int) -> dict[str, Any]:
    try:
        value = files.parsed(text)
    except json.JSONDecodeError as error:
        raise RecoveryError(
            f'plan file {path}, line {line + error.lineno - 1}: no JSON from '
            f'column {error.colno} on; make the plan anew'
        ) from error
    except ValueError as error:
        raise RecoveryError(
            f'plan file {path}, line {line}: {exceptions.plainly(error)}'
        ) from error
    if not isinstance(value, dict):
        raise RecoveryError(
            f'plan file {path}, line {line}: not a JSON object'
        )
    return value


def _check_format(path: str, head: dict[str, Any]) -> None:
    number = head.get(MAGIC)
    if type(number) is not int:
        raise RecoveryError(f'plan file {path}: not a plan of nova-recovery')
    if not 1 <= number <= plan_module.FORMAT:
        raise RecoveryError(
            f'plan file {path}: format {number}; this version reads formats '
            f'up to {plan_module.FORMAT}. Use the version that made it, or '
            f'make the plan anew'
        )


def _checksum(plan: Plan) -> str:
    """Over all that the digest leaves out as well."""
    # the digest has the items
    text = json.dumps([plan.digest, head_of(plan)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _step_dict(step: Step) -> dict[str, Any]:
    body = _shallow(step)
    for name in ('items', *_LATER):
        del body[name]
    return {**body, **step.extras}


def _item_dict(item: Item) -> dict[str, Any]:
    return {**_shallow(item), 'follows': list(item.follows)}


def _shallow(record: Any) -> dict[str, Any]:
    return {
        field.name: getattr(record, field.name)
        for field in dataclasses.fields(record)
    }


def _item(body: dict[str, Any]) -> Item:
    follows = _texts(body['follows'])
    return Item(**_fields(Item, body, follows=follows))


def _texts(value: Any) -> tuple[str, ...]:
    for one in _list(value):
        if not isinstance(one, str):
            raise TypeError(f'{one!r} is not a text')
    return tuple(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f'{value!r} is not a list')
    return value


def _fields(
    of: Callable[..., Any], body: dict[str, Any], **ready: Any
) -> dict[str, Any]:
    """The fields of a record: all of them, and no others.

    But for those that came later, which are there only if they are set.
    """
    values: dict[str, Any] = {}
    left = {**body, **ready}
    for field in dataclasses.fields(of):  # type: ignore[arg-type]
        later = field.name in (*_LATER, *_LATER_OF_PLANS)
        if later and field.name not in left:
            continue
        value = values[field.name] = left.pop(field.name)
        wanted = {'str': str, 'dic': dict, 'int': int}.get(str(field.type)[:3])
        if wanted and not isinstance(value, wanted):
            raise TypeError(f'{field.name} {value!r} is not a {wanted}')
    if left:
        raise TypeError(f'unknown field {sorted(left)[0]!r}')
    return values


def _read(path: str) -> str:
    try:
        with open(path, encoding='utf-8') as file:
            if os.fstat(file.fileno()).st_size > LARGEST:
                raise RecoveryError(
                    f'plan file {path}: too large to be a plan'
                )
            return file.read()
    except OSError as error:
        raise RecoveryError(
            f"plan file {path}: can't be read: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise RecoveryError(
            f'plan file {path}: not a plan of nova-recovery (not UTF-8)'
        ) from error
