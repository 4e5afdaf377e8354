# SPDX-License-Identifier: Apache-2.0

"""Reset what cinder says of a volume to what is so.

Only what the table of ``policy`` calls stale, each volume by
compare-and-set on its row as it was seen. It is what ``os-reset_status`` of
cinder does, without what makes that dangerous: cinder doesn't look at the
status that it overwrites, and detaches all servers of the volume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.cloud import claims, clock
from nova_recovery.cloud.db import volumes
from nova_recovery.engine.plan import Gate, Item, LeftOut, Plan, Step
from nova_recovery.exceptions import NotFound
from nova_recovery.procedures import gates as common_gates
from nova_recovery.procedures import Procedure
from nova_recovery.procedures.volumes import gates as gates_module
from nova_recovery.procedures.volumes import policy
from nova_recovery.procedures.volumes import read as read_module
from nova_recovery.procedures.volumes import situation as situation_module
from nova_recovery.procedures.volumes.gates import Outside
from nova_recovery.procedures.volumes.situation import BothSides, Mismatch
from nova_recovery.report import wording

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NAME = 'volume-reset'
#: What a reset mends; the others say themselves what does.
MENDS = frozenset(
    {
        'VOL-STALE',
        'VOL-STATUS',
        'VOL-ERROR',
        'VOL-DETACHING',
        'VOL-ATTACHING',
        'VOL-ORPHAN',
    }
)


@dataclasses.dataclass(frozen=True)
class Request:
    """Which volumes, by UUID."""

    volumes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Situation:
    """The volumes, and of orphans' servers what the APIs say.

    :ivar movers: server uuid -> whose run moves it just now, of all servers
        that one of the volumes is of
    """

    situation: BothSides
    servers: dict[str, Outside] = dataclasses.field(default_factory=dict)
    movers: dict[str, str] = dataclasses.field(default_factory=dict)


def read(
    cloud: Cloud,
    ids: Sequence[str],
    plan: Plan | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Situation:
    """The volumes on both sides; what may be on its way is watched.

    :param plan: the one that is to be carried out; None: it is to be made
    :raises NotFound: cinder has no such volume (any more)
    """
    found = read_module.both_sides(cloud, ids)
    if plan is None:
        stale = {one.volume for one in policy.findings(found) if one.remedy}
        found = read_module.watch(cloud, found, stale, progress=progress)
    else:
        found = read_module.as_planned(found, plan)
    missing = sorted(set(ids) - set(found.volumes))
    if missing:
        raise NotFound(
            f'cinder has no volume {", ".join(missing)}; give the UUID'
        )
    orphaned = {
        one.server
        for one in policy.findings(found)
        if one.code == 'VOL-ORPHAN'
    }
    return Situation(
        found,
        {
            uuid: gates_module.outside(cloud, found.servers[uuid])
            for uuid in sorted(orphaned)
            if uuid in found.servers
        }
        | {
            uuid: gates_module.outside(cloud, None, found.gone[uuid])
            for uuid in sorted(orphaned)
            if uuid in found.gone
        },
        _movers(cloud, ids, found),
    )


def _movers(
    cloud: Cloud, ids: Sequence[str], found: BothSides
) -> dict[str, str]:
    by_cell: dict[str, set[str]] = {}
    for one in ids:
        for uuid in _servers_of(found.volumes[one], found):
            cell = found.servers[uuid].cell
            by_cell.setdefault(cell, set()).add(uuid)
    movers: dict[str, str] = {}
    for cell, uuids in by_cell.items():
        movers |= claims.under_hosts(cloud.databases.cell(cell), uuids)
    return movers


def _servers_of(volume: volumes.Volume, found: BothSides) -> list[str]:
    """The live servers that have it, on either side."""
    mapped = {mapping.server for mapping in found.mapped(volume.id)}
    held = {one.server for one in volume.attachments if one.server}
    return sorted((mapped | held) & set(found.servers))


def make_plan(
    cloud: Cloud,
    request: Request,
    progress: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Read the cloud and decide.

    :param progress: told what takes its time
    :raises RecoveryError: see ``read`` and ``decide``
    """
    found = read(cloud, request.volumes, progress=progress)
    return decide(request, found, clock.now())


def decide(request: Request, found: Situation, now: str = '') -> Plan:
    """The plan: one compare-and-set for each stale volume."""
    items = []
    left_out: list[LeftOut] = []
    for volume in _ordered(request, found):
        one, why = of_volume(volume, found.situation)
        if one is None:
            left_out.append(LeftOut(f'volume:{volume.id}', volume.name, why))
        else:
            items.append(one)
    return Plan(
        procedure=NAME,
        title=f'reset {wording.count(len(items), "volume")}',
        arguments={'volumes': list(request.volumes)},
        steps=(Step('reset', 'reset in cinder', tuple(items)),)
        if items
        else (),
        gates=tuple(gates(request, found, frozenset())),
        notes=_notes(items),
        left_out=tuple(left_out),
        created_at=now,
    )


def check(
    plan: Plan, cloud: Cloud, touched: frozenset[str]
) -> tuple[Gate, ...]:
    """The gates as they are now."""
    request = Request(tuple(plan.arguments['volumes']))
    return tuple(gates(request, read(cloud, request.volumes, plan), touched))


def gates(
    request: Request, found: Situation, touched: frozenset[str]
) -> Iterator[Gate]:
    """What must hold before cinder's rows are written.

    :param touched: subjects that the run has begun with
    """
    yield from gates_module.whole(found.situation)
    for volume in _ordered(request, found):
        if f'volume:{volume.id}' in touched:
            continue
        wrong = [
            one
            for one in policy.findings(found.situation)
            if one.volume == volume.id
        ]
        yield from _gates(volume, wrong, found)


def _gates(
    volume: volumes.Volume, wrong: list[Mismatch], found: Situation
) -> Iterator[Gate]:
    why = situation_module.untouchable(volume)
    if why:
        yield Gate(
            'resettable',
            volume.id,
            'hard',
            'refused',
            f'{why}: that is not of an attachment',
            'leave it to cinder, or leave it out',
        )
        return
    for one in wrong:
        if one.code not in MENDS or one.remedy == 'attach':
            yield _other_way(one)
        elif one.code == 'VOL-ATTACHING' and one.remedy != 'reset':
            yield _other_way(one)
    if not wrong:
        return
    yield gates_module.settled(volume, found.situation.mapped(volume.id))
    for uuid in _servers_of(volume, found.situation):
        name = found.situation.servers[uuid].name
        yield from common_gates.nobody_else(uuid, name, {}, found.movers)
    for one in wrong:
        if one.code == 'VOL-ORPHAN':
            yield from _orphan(one, found)


def _other_way(one: Mismatch) -> Gate:
    return gates_module.other_way('resettable', one)


def _orphan(one: Mismatch, found: Situation) -> Iterator[Gate]:
    yield Gate(
        'back-end-told',
        one.volume,
        'soft',
        'refused',
        'the storage is not told that the server no longer has it',
        f'let cinder do it: {one.fix}; override if cinder-volume never '
        'comes back',
    )
    server = found.situation.servers.get(one.server)
    if server is not None:
        yield gates_module.guest_off(
            server,
            one.volume,
            found.servers[one.server],
            'it may have the volume although nova does not map it',
        )
    elif found.situation.fate(one.server) == situation_module.DELETED:
        yield gates_module.guest_of_gone_off(
            one.server,
            found.situation.gone.get(one.server),
            one.volume,
            found.servers.get(one.server, Outside()),
        )
    yield from known(one, found.situation)


def known(one: Mismatch, found: BothSides) -> Iterator[Gate]:
    """Whether nova can tell what became of an orphan's server."""
    if found.fate(one.server) == situation_module.NEVER:
        yield Gate(
            'server-known',
            one.volume,
            'soft',
            'refused',
            f'nova has no record of server {one.server}',
            'make sure that no guest of it runs, and that it is no machine '
            'of Ironic nor a container of Zun, then override',
        )


def _ordered(request: Request, found: Situation) -> list[volumes.Volume]:
    return [
        found.situation.volumes[one]
        for one in sorted(set(request.volumes))
        if one in found.situation.volumes
    ]


def of_volume(
    volume: volumes.Volume, found: BothSides
) -> tuple[Item | None, str]:
    """The change of a volume, or why there is none."""
    why = situation_module.untouchable(volume)
    if why:
        return None, why
    mine = [one for one in policy.findings(found) if one.volume == volume.id]
    wrong = [one for one in mine if one.code in MENDS and _by_reset(one)]
    if not wrong:
        told = '; '.join(f'{one.code}: {one.cause}' for one in mine)
        if not told and found.silent:
            told = f'not known: {", ".join(sorted(found.silent))}'
        return None, told or 'it is consistent'
    orphans = {one.attachment for one in wrong if one.code == 'VOL-ORPHAN'}
    ended = {one.attachment for one in wrong if one.code == 'VOL-ATTACHING'}
    if any(one.code == 'VOL-DETACHING' for one in wrong):
        mapped = {m.attachment for m in found.mapped(volume.id)}
        ended |= {
            a.id
            for a in volume.attachments
            if a.status == 'detaching' and a.id in mapped
        }
    return item(
        volume,
        sorted(one for one in orphans if one),
        sorted(one for one in ended if one),
    ), ''


def _by_reset(one: Mismatch) -> bool:
    return one.code == 'VOL-ORPHAN' or one.remedy == 'reset'


def item(
    volume: volumes.Volume, remove: list[str], complete: list[str]
) -> Item:
    """The change that makes a volume say what follows from what has it.

    :param remove: attachments that end
    :param complete: attachments that become attached
    """
    status, attach_status = situation_module.derived(
        'attached' if one.id in complete else one.status
        for one in volume.attachments
        if one.id not in remove
    )
    return Item(
        id=f'reset-volume:{volume.id}',
        kind='reset-volume',
        subject=f'volume:{volume.id}',
        label=volume.name or volume.id,
        data={
            'volume': volume.id,
            'changed': volume.stamp,
            'seen': {
                'status': volume.status,
                'attach_status': volume.attach_status,
                'migration_status': volume.migration_status,
            },
            'values': {'status': status, 'attach_status': attach_status},
            'attachments': {a.id: a.status for a in volume.attachments},
            'remove': remove,
            'complete': complete,
        },
    )


def _notes(items: list[Item]) -> tuple[str, ...]:
    if any(one.data['seen']['status'] == 'error' for one in items):
        return (
            'Look that the storage is back: cinder exports volumes in use '
            'again when cinder-volume starts.',
        )
    return ()


PROCEDURE = Procedure(NAME, make_plan, check)
