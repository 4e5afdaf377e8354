# SPDX-License-Identifier: Apache-2.0

"""Step 2: only what is inconsistent of volumes, each thing by itself.

What mends a single volume by hand (``recovery volume reset``, ``attach``
and ``detach-stale``) mends it here, under the same gates: a volume for which
one of them refuses is left as it is, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses

from nova_recovery.engine.findings import DANGER, NOTE
from nova_recovery.engine.plan import Gate, Item
from nova_recovery.procedures.disaster.request import Request
from nova_recovery.procedures.disaster.situation import Connection, Found
from nova_recovery.procedures.volumes import (
    attach,
    detach,
    policy,
    reset,
    situation,
)
from nova_recovery.procedures.volumes.situation import BothSides, Mismatch

#: Gates of single volumes that are asked here for the plan as a whole, or
#: at the time of sending. A host may still be off when its volumes are
#: cleaned: cinder needs only its connector.
_ELSEWHERE = frozenset({'cells-read', 'host-up', 'unclaimed'})


@dataclasses.dataclass(frozen=True)
class Cleaned:
    """What step 2 does, and what it doesn't.

    :ivar items: those of one volume in order
    :ivar left: volume -> why it stays as it is
    :ivar danger: server -> why it must not be rebooted
    :ivar touched: server -> its volumes that are cleaned
    :ivar free: volumes that are available afterwards
    :ivar unmapped: (cell, id) of nova's mappings that are deleted
    """

    items: tuple[Item, ...] = ()
    left: dict[str, str] = dataclasses.field(default_factory=dict)
    danger: dict[str, str] = dataclasses.field(default_factory=dict)
    touched: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    free: frozenset[str] = frozenset()
    unmapped: frozenset[tuple[str, int]] = frozenset()


def plan(request: Request, found: Found, alone: Iterable[str] = ()) -> Cleaned:
    """Decide for each volume with a finding.

    :param alone: servers that must be left alone, and so their volumes
    """
    both = found.situation.volumes
    if both is None:
        return Cleaned()
    wrong: dict[str, list[Mismatch]] = {}
    for one in policy.findings(both):
        wrong.setdefault(one.volume, []).append(one)
    alone = frozenset(alone)
    items: list[Item] = []
    result = Cleaned()
    free = set()
    for volume, some in wrong.items():
        planned, why = _of_volume(request, found, volume, some, alone)
        items += planned
        if planned:
            for server in sorted({one.server for one in some if one.server}):
                result.touched.setdefault(server, []).append(volume)
            if _free_after(both, volume, planned):
                free.add(volume)
            continue
        told = '; '.join(f'{one.code}: {one.cause}' for one in some)
        if why:
            told = f'{told}; {why}'
        result.left[volume] = told
        for one in some:
            if one.severity == DANGER and one.server:
                way = f'; {one.fix}' if one.fix else ''
                result.danger.setdefault(
                    one.server, f'volume {volume}: {told}{way}'
                )
    return dataclasses.replace(
        result,
        items=tuple(items),
        free=frozenset(free),
        unmapped=_unmapped(items),
    )


def _unmapped(items: Iterable[Item]) -> frozenset[tuple[str, int]]:
    return frozenset(
        (item.data['cell'], item.data['mapping'])
        for item in items
        if item.kind == 'drop-mapping'
    )


def _of_volume(
    request: Request,
    found: Found,
    volume: str,
    wrong: list[Mismatch],
    alone: frozenset[str],
) -> tuple[list[Item], str]:
    """The changes of a volume, or why there are none."""
    both = found.situation.volumes
    assert both is not None  # nosec B101 - the caller looked
    if any(one.severity == NOTE for one in wrong):
        return [], 'left to cinder; look again when it is done'
    if any(one.server in alone for one in wrong):
        return [], 'its server is left alone'
    known = both.volumes.get(volume)
    end = (known.host or '').partition('#')[0] if known else ''
    if end in found.situation.scope.skip_backends:
        return [], f'its back end {end} is skipped'
    why = _not_asked_for(found, volume, wrong)
    if why:
        return [], why
    # a gate of many volumes goes through all that are there
    one_volume = both.alone(volume)
    remedies = {one.remedy for one in wrong}
    if remedies == {'attach'}:
        return _attached(request, found, one_volume, wrong)
    if remedies == {'reset'}:
        return _reset(one_volume, volume)
    if remedies == {'detach-stale'}:
        return _detached(found, one_volume, wrong)
    if '' in remedies:
        return [], 'there is no safe way by a command'
    return [], 'mend one after the other by hand'


def _not_asked_for(found: Found, volume: str, wrong: list[Mismatch]) -> str:
    """Which live servers outside of the scope have the volume, '' if none.

    Nobody claims these, and no gate asks about them.
    """
    both = found.situation.volumes
    assert both is not None  # nosec B101 - the caller looked
    known = both.volumes.get(volume)
    involved = {one.server for one in wrong}
    involved |= {one.server for one in both.mapped(volume)}
    if known is not None:
        involved |= {one.server or '' for one in known.attachments}
    others = (involved & set(both.servers)) - set(found.situation.servers)
    if not others:
        return ''
    names = ', '.join(sorted(both.name(one) for one in others))
    return f'server {names} has it too, and is not asked for'


def _attached(
    request: Request, found: Found, both: BothSides, wrong: list[Mismatch]
) -> tuple[list[Item], str]:
    """Cinder's attachment is made anew under nova's mapping, or linked."""
    items: list[Item] = []
    for one in wrong:
        asked = attach.Request(
            server=one.server,
            volume=one.volume,
            settle=request.settle,
            patience=request.patience,
        )
        kept = found.connections.get((one.server, one.volume), Connection())
        seen = attach.Situation(
            both,
            found.outside(one.server),
            None if kept.connector is None else dict(kept.connector),
            kept.access,
        )
        why = _refused(attach.gates(asked, seen, frozenset()))
        if why:
            return [], why
        steps, why = attach.steps(asked, seen)
        if why:
            return [], why
        items += [
            dataclasses.replace(item, id=f'{item.id}:{one.server}')
            for step in steps
            for item in step.items
        ]
    return items, ''


def _reset(both: BothSides, volume: str) -> tuple[list[Item], str]:
    """Cinder's row says what is so."""
    asked = reset.Request((volume,))
    why = _refused(reset.gates(asked, reset.Situation(both), frozenset()))
    if why:
        return [], why
    item, why = reset.of_volume(both.volumes[volume], both)
    if item is None:
        return [], why
    return [
        dataclasses.replace(
            item,
            follows=tuple(
                f'server:{server}'
                for server in sorted(
                    {m.server for m in both.mapped(volume)} & set(both.servers)
                )
            ),
        )
    ], ''


def _detached(
    found: Found, both: BothSides, wrong: list[Mismatch]
) -> tuple[list[Item], str]:
    """What neither side needs goes, by cinder itself."""
    items: list[Item] = []
    if any(one.code == 'VOL-LOST' for one in wrong):
        # Perhaps the volume was lost with a database: nothing to be decided
        # for many servers at once.
        return [], 'to be decided by hand'
    for one in wrong:
        asked = detach.Request(one.server, one.volume)
        seen = detach.Situation(both, found.outside(one.server))
        why = _refused(detach.gates(asked, seen, frozenset()))
        if why:
            return [], why
        planned = {item.id for item in items}
        items += [
            item
            for step in detach.steps(asked, both)
            for item in step.items
            if item.id not in planned
        ]
    return _none_unheld(both, wrong[0].volume, items)


def _none_unheld(
    both: BothSides, volume: str, items: list[Item]
) -> tuple[list[Item], str]:
    """These, if nova maps the volume then for nobody who doesn't hold it.

    It would be available, the boot volume of a server too, and stay so:
    anybody of the project could delete it or attach it elsewhere.
    """
    known = both.volumes.get(volume)
    gone = {
        item.data['attachment']
        for item in items
        if item.kind == 'drop-attachment'
    }
    held = {
        one.id: one.server
        for one in (known.attachments if known else ())
        if one.id not in gone
    }
    unmapped = _unmapped(items)
    for mapping in both.mapped(volume):
        if (
            (mapping.cell, mapping.id) in unmapped
            or mapping.server not in both.servers
            or mapping.attachment in held
            or (mapping.attachment is None and mapping.server in held.values())
        ):
            continue
        return [], (
            f'nova would go on to map it for {both.name(mapping.server)}, '
            'and cinder would not hold it: attach it by hand right after'
        )
    return items, ''


def _refused(gates: Iterable[Gate]) -> str:
    """Why a gate of a single volume refuses, '' if none does."""
    for gate in gates:
        if gate.blocks and gate.name not in _ELSEWHERE:
            # the plan of a minute later has the same digest, so no seconds
            if gate.name == 'not-under-way':
                return 'cinder changed it just now: it may be under way'
            return gate.observed
    return ''


def _free_after(both: BothSides, volume: str, planned: list[Item]) -> bool:
    """Whether nothing holds the volume once it is cleaned."""
    dropped = set()
    for item in planned:
        if item.kind == 'reset-volume':
            return bool(item.data['values']['status'] == 'available')
        if item.kind == 'drop-attachment':
            dropped.add(item.data['attachment'])
    known = both.volumes.get(volume)
    return (
        known is not None
        and not situation.untouchable(known)
        and {one.id for one in known.attachments} <= dropped
        and bool(dropped)
    )
