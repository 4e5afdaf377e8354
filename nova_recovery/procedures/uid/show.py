# SPDX-License-Identifier: Apache-2.0

"""The accounts of hosts side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nova_recovery.engine import findings
from nova_recovery.engine.findings import Assessment, Columns, Finding
from nova_recovery.procedures.uid import facts, numbers
from nova_recovery.procedures.uid.facts import Facts, Host
from nova_recovery.procedures.uid.numbers import Goal

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


def assess(cloud: Cloud, names: Sequence[str]) -> Assessment:
    """Ask the hosts; see :func:`judge`."""
    return judge(facts.read(cloud, names))


def judge(found: Facts) -> Assessment:
    """One finding for each host: as the others, not so, or not known."""
    goal = numbers.propose(found.known, {})
    keys = [
        key
        for key in numbers.roles()
        if any(numbers.name_on(host, *key) for host in found.known)
    ]
    made = tuple(_finding(host, goal, keys) for host in found.hosts)
    lines = [*_uses(found, keys), *_undecided(found, goal)]
    return Assessment(found, made, _columns(keys), tuple(lines))


def _columns(keys: Sequence[tuple[str, str]]) -> Columns:
    return (
        ('Host', lambda one: one.label),
        *(
            (
                f'{kind} {numbers.ROLES[kind][role][0]}',
                lambda one, key=f'{kind} {role}': one.more.get(key, '?'),
            )
            for kind, role in keys
        ),
        ('Seen', lambda one: one.cause),
    )


def _finding(
    host: Host, goal: Goal, keys: Sequence[tuple[str, str]]
) -> Finding:
    subject = f'host:{host.name}'
    if host.problem:
        return Finding(
            'UID-UNKNOWN',
            findings.UNKNOWN,
            subject,
            host.problem,
            label=host.name,
            host=host.name,
        )
    cells = {}
    differ = []
    for key in keys:
        number = numbers.number_on(host, *key)
        shall = goal.get(key)
        cells[' '.join(key)] = '-' if number is None else str(number)
        if number is not None and number != shall:
            cells[' '.join(key)] += f' -> {"?" if shall is None else shall}'
            differ.append(numbers.name_on(host, *key))
    names = ', '.join(dict.fromkeys(differ))
    return Finding(
        'UID-DIFFERS' if differ else 'UID-SAME',
        findings.STALE if differ else findings.GOOD,
        subject,
        f'differs: {names}' if differ else 'as the others',
        label=host.name,
        host=host.name,
        more=cells,
    )


def _uses(found: Facts, keys: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Who else uses these numbers, and what could not be asked."""
    said: dict[str, list[str]] = {}
    for host in found.known:
        for kind, role in keys:
            number = numbers.number_on(host, kind, role)
            if number is not None:
                name = numbers.name_on(host, kind, role)
                for other in numbers.others(host, kind, number):
                    text = f'{kind} {number} of {name} is used by {other}'
                    said.setdefault(text, []).append(host.name)
        for why in host.unknown:
            said.setdefault(f'not known: {why}', []).append(host.name)
    for text, names in said.items():
        yield f'{", ".join(names)}: {text}'


def _undecided(found: Facts, goal: Goal) -> Iterator[str]:
    for kind, role in numbers.roles():
        there = numbers.counts(found.known, kind, role)
        if there and (kind, role) not in goal:
            name = numbers.ROLES[kind][role][0]
            yield (
                f'{kind} {name}: no number of it is free on all hosts; give '
                f'one with host uid set --{kind} {name}=NUMBER'
            )
