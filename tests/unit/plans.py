# SPDX-License-Identifier: Apache-2.0

"""A plan as an operator might get it, and a change that does nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_recovery import changes
from nova_recovery.changes.base import BaseChange
from nova_recovery.engine import change
from nova_recovery.engine.change import At, Observed, Registry, State
from nova_recovery.engine.plan import Gate, Item, LeftOut, Plan, Step

UUID = '3f57699a-e773-4650-a443-b4b37eed5a{:02}'

SILENT = Gate(
    'source-silent',
    '',
    'hard',
    'ok',
    'report count stood still for 20 s; last heartbeat 14:02:11Z, 9 min ago',
)
LOCAL_DISK = Gate(
    'disk-reachable',
    'at3-ui04',
    'soft',
    'refused',
    'its disk is local to np-rcc54',
    'leave it out with --exclude at3-ui04, or accept a rebuild from its '
    'image with\n--override disk-reachable:at3-ui04=REASON',
)
CAPACITY = Gate('capacity', '', 'soft', 'unknown', "placement doesn't answer")
PINNED = Gate(
    'pinned-cpus', 'at3-ui05', 'hard', 'refused', 'CPUs 4-7 of np-rcc54'
)
BACKUP = Gate(
    'snapshot', '', 'advice', 'refused', 'none since 3 d', 'take one first'
)


def server(number: int, kind: str = 'move') -> Item:
    """An item for one server."""
    uuid = UUID.format(number)
    return Item(
        f'{kind}:{uuid}',
        kind,
        f'server:{uuid}',
        f'at3-ui{number:02}',
        {'source': 'np-rcc54', 'target': 'np-rcc46'},
        ('host:np-rcc54',),
    )


def make(servers: int = 2, gates: tuple[Gate, ...] = (SILENT,)) -> Any:
    """Claim a host, then move its servers."""
    claim = Item('claim:np-rcc54', 'claim', 'host:np-rcc54', 'np-rcc54')
    return Plan(
        'made-up',
        'recover servers of np-rcc54',
        {'host': 'np-rcc54'},
        (
            Step('claim', 'claim and force down np-rcc54', (claim,)),
            Step(
                'move',
                'move what nova refuses to evacuate',
                tuple(server(number) for number in range(1, servers + 1)),
                {'target': 4},
            ),
        ),
        gates,
        ('np-rcc54 cleans up after itself when it returns.',),
        (
            LeftOut(
                f'server:{UUID.format(9)}', 'at3-ui09', 'deleted meanwhile'
            ),
        ),
        '2026-03-01T14:11:30Z',
    )


class Claim(BaseChange):
    """What needs no words but the name of its subject."""

    kind = 'claim'

    def observe(self, at: At[Any]) -> Observed:
        done = at.notes.get('sent')
        state = State.AFTER if done else State.BEFORE
        return Observed(state, image={'host': 'np-rcc54'})

    def apply(self, at: At[Any]) -> str:
        at.note(sent=True)
        return 'claimed'

    def revert(self, at: At[Any]) -> str:
        return 'given back'


class Move(Claim):
    """What describes itself."""

    kind = 'move'

    def describe(self, item: Item) -> list[str]:
        return [
            f'~ host, node  {item.data["source"]} -> {item.data["target"]}',
            '+ tombstone',
            '= volume db-data  rbd, not bound to a host',
        ]

    def apply(self, at: At[Any]) -> str:
        super().apply(at)
        return f'moved to {at.data["target"]}'


REGISTRY: Registry = {one.kind: one for one in (Claim(), Move())}


def checked(plan: Plan) -> Plan:
    """The plan of a planner, which has to be one that can be carried out."""
    plan.check(change.kinds(changes.registry()))
    return plan


def without(whole: Plan, **fields: Any) -> Plan:
    """The plan with other fields."""
    return dataclasses.replace(whole, **fields)
