# SPDX-License-Identifier: Apache-2.0

"""Volumes as nova and cinder have them, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
import functools

from nova_recovery.cloud.db import mappings as nova
from nova_recovery.cloud.db import volumes
from nova_recovery.cloud.db.volumes import Volume
from nova_recovery.cloud.records import Server
from nova_recovery.engine.findings import Finding

#: What became of the server that an attachment names.
LIVE, DELETED, ELSEWHERE, NEVER = 'live', 'deleted', 'elsewhere', 'never'


@dataclasses.dataclass(frozen=True)
class BothSides:
    """Both sides of the volumes that were looked at.

    :ivar volumes: cinder's live volumes, by id
    :ivar mappings: nova's live mappings of them, of all cells that answered
    :ivar servers: live servers, by UUID
    :ivar gone: servers that nova has as deleted, by UUID, as they were then
    :ivar elsewhere: UUIDs that nova knows, in no cell that was read: cell0,
        one that is disabled or silent, or not scheduled yet
    :ivar strict: cells whose nova deletes mappings at a reboot if cinder
        doesn't know their attachment (28.0 and later)
    :ivar silent: cell -> why its mappings are not known
    :ivar looked: when, by our own monotonic clock, in s
    :ivar disabled: cells that were not read because they are disabled
    """

    volumes: Mapping[str, Volume]
    mappings: tuple[nova.Mapping, ...] = ()
    servers: Mapping[str, Server] = dataclasses.field(default_factory=dict)
    gone: Mapping[str, Server] = dataclasses.field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()
    strict: frozenset[str] = frozenset()
    silent: Mapping[str, str] = dataclasses.field(default_factory=dict)
    disabled: tuple[str, ...] = ()
    looked: float | None = None

    def fate(self, server: str) -> str:
        """What became of a server: LIVE, DELETED, ELSEWHERE or NEVER."""
        if server in self.servers:
            return LIVE
        if server in self.gone:
            return DELETED
        if server in self.elsewhere:
            return ELSEWHERE
        return NEVER

    def name(self, server: str) -> str:
        found = self.servers.get(server)
        return (found.name if found else '') or server

    def mapped(self, volume: str) -> tuple[nova.Mapping, ...]:
        """The mappings of a volume, by id."""
        return self._by_volume.get(volume, ())

    def alone(self, volume: str) -> BothSides:
        """The same with nothing but this volume.

        What judges one volume goes through all that are there: of many it
        is asked about each alone.
        """
        known = self.volumes.get(volume)
        return dataclasses.replace(
            self,
            volumes={} if known is None else {volume: known},
            mappings=self.mapped(volume),
        )

    @functools.cached_property
    def _by_volume(self) -> dict[str, tuple[nova.Mapping, ...]]:
        found: dict[str, list[nova.Mapping]] = {}
        for one in sorted(self.mappings, key=lambda m: (m.cell, m.id)):
            found.setdefault(one.volume, []).append(one)
        return {volume: tuple(some) for volume, some in found.items()}


@dataclasses.dataclass(frozen=True)
class Mismatch(Finding):
    """One thing that is wrong with a volume.

    :ivar status: of the volume, as cinder has it
    :ivar remedy: ``reset``, ``attach`` or ``detach-stale``; '' where no
        command is safe
    :ivar attachment: the one that it is about, None if it is about none
    :ivar mapping: the one of nova's that it is about, where there are several
    """

    status: str = ''
    remedy: str = ''
    attachment: str | None = None
    mapping: int | None = None


def mismatch(
    code: str,
    severity: str,
    volume: str,
    status: str,
    server: str,
    cause: str,
    remedy: str = '',
    attachment: str | None = None,
    mapping: int | None = None,
) -> Mismatch:
    """One of a volume, with the one safe fix.

    :param server: UUID, '' where none is concerned
    """
    words = ['openstack', 'recovery', 'volume', remedy]
    if remedy != 'reset':
        words.append(server)
    return Mismatch(
        code,
        severity,
        f'volume:{volume}',
        cause,
        fix=' '.join([*words, volume]) if remedy else '',
        server=server,
        volume=volume,
        status=status,
        remedy=remedy,
        attachment=attachment,
        mapping=mapping,
    )


#: Seconds in which a volume that is between two states may still be on its
#: way: a slow back end takes a minute or so.
SETTLE = 120
_BY_CINDER = {'attached': 'in-use', 'detached': 'available'}


def untouchable(volume: Volume) -> str:
    """Why a volume must be left alone, '' if it needn't be."""
    if volume.status not in volumes.OF_ATTACHMENTS:
        return f'it is {volume.status or "without a status"}'
    if volume.migration_status not in volumes.NOT_MIGRATING:
        return f'it is being migrated ({volume.migration_status})'
    return ''


def young(volume: Volume) -> bool:
    """Whether cinder changed it so lately that it may be under way.

    Where it was looked at once only, the clocks of cinder and of the
    database tell, which need not agree: that makes one more refusal, and is
    no proof (``doubtful``).
    """
    known = volume.age if volume.watched is None else volume.watched
    return known is None or known < SETTLE


def doubtful(volume: Volume, mappings: Iterable[nova.Mapping]) -> bool:
    """Whether only a second look tells if somebody is at work on it.

    Cinder's stamp on what is between two states proves nothing: with a slow
    clock it looks old however new it is. Nor does one from the future, or
    none. What the clocks call young needs no second look to be refused, and
    what is in a state of its own is not on its way, for cinder. Nova maps a
    volume before it asks cinder for it (``_create_volume_bdm`` before
    ``_check_attach_and_reserve_volume`` in nova/compute/api.py): by then no
    stamp of cinder's tells anything.

    :param mappings: of this volume
    """
    if volume.watched is not None:
        return False
    if volume.age is None or volume.age < 0:
        return True
    return volume.age >= SETTLE and (volume.between or being_made(mappings))


def being_made(mappings: Iterable[nova.Mapping]) -> bool:
    """Whether one of them may be of an attach that has just begun.

    It names nothing of cinder's, or is the second of its server.
    """
    some = list(mappings)
    return len({one.server for one in some}) < len(some) or any(
        one.attachment is None and not one.connected for one in some
    )


def derived(attachments: Iterable[str]) -> tuple[str, str]:
    """Status and attach_status that follow from those of attachments.

    As cinder does it (``_get_statuses_from_attachments`` in
    cinder/db/api.py): attached before attaching, detaching and reserved.
    """
    known = sorted(one for one in attachments if not one.startswith('error_'))
    attach_status = known[0] if known else 'detached'
    return _BY_CINDER.get(attach_status, attach_status), attach_status
