# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.



"""Step 2 on clouds from before Queens: the guide's UPDATE, row by row.

There nova has no ``block_device_mapping.attachment_id``: what nova maps
can't be told apart from what it lost by anything but the volume itself, and
the guide's way, everything detached and attached again from a record, is
the way. Which form it takes follows from the columns that are there, never
from the name of a release:

* ``L0`` (Essex): ``volumes`` in nova's own database, ``instance_id``;
* ``L1`` (cinder Folsom to Juno): ``volumes.instance_uuid``, ``mountpoint``,
  ``attach_time`` and, from Havana on, ``attached_host``;
* ``M1`` (cinder Kilo to Newton): rows of ``volume_attachment``.

Cleaned are live volumes in one of the statuses of attachments
(:data:`nova_recovery.cloud.old_volumes.STALE`), of servers in the scope, and
never a volume that its server boots from: nothing can attach that one again.
nova's mappings go first, since nova attaches nothing that it still maps.

What the engine's other steps need of a cloud (instance_actions by request,
os-volume_attachments, diagnostics) an L0 or L1 cloud doesn't have as they
expect it. On these, a run has the steps 1 (the record; without it nothing
says what to attach again) and 2 (this module); the others are by hand:
doc/source/user/old-clouds.rst says how, with the map file of step 1.
"""

from __future__ import annotations

import collections
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import functools
from typing import TYPE_CHECKING

from nova_recovery.cloud import bulk
from nova_recovery.cloud import databases as databases_module
from nova_recovery.cloud import old_volumes
from nova_recovery.cloud import schema
from nova_recovery.cloud import volumes as volumes_module
from nova_recovery.engine.plan import Item
from nova_recovery.engine.plan import Step
from nova_recovery import exceptions

if TYPE_CHECKING:
    from nova_recovery.cloud import database as database_module

#: Volumes an item: what Galera takes in a transaction, and a lock that
#: nobody has to wait for.
BATCH = 1000
#: Items at a time: more only wait for each other in the database.
AT_A_TIME = 4

_STALE = frozenset(old_volumes.STALE)
#: Where a server boots from when nova doesn't say.
_FIRST = frozenset({'vda', 'sda', 'hda', 'xvda'})


@dataclasses.dataclass(frozen=True)
class Cell:
    """What nova has, a line a row (:mod:`nova_recovery.cloud.bulk`).

    :ivar servers: live ones: id, uuid, root_device_name
    :ivar mappings: live ones of volumes: id, volume, server as the layout
        names it, device, boot_index
    """

    servers: list[str]
    mappings: list[str]


@dataclasses.dataclass(frozen=True)
class Found:
    """Both sides, each of one moment.

    :ivar volumes: live ones that aren't available: id, the layout's
        columns, migration_status
    :ivar attachments: of M1, live ones: id, volume, attach_status, server,
        host
    :ivar odd: ids of volumes whose rows no line can hold
    """

    layout: old_volumes.Layout
    cells: dict[str, Cell]
    volumes: list[str]
    attachments: list[str] = dataclasses.field(default_factory=list)
    odd: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Cleaning:
    """Step 2 as far as it can be done.

    :ivar layout: ``L0``, ``L1`` or ``M1``
    :ivar steps: none where nothing is stale, else one, ``clean``, with
        number 2. Its items come in pairs, a batch of up to 1000 volumes
        each: ``clean-mappings`` (nova) and then ``clean-volumes`` (cinder),
        both of the subject ``volumes:FIRST-ID``, so that the second waits
        for the first and is blocked where that failed
    :ivar left_out: ``volume:ID`` -> why it stays as it is, of volumes in
        the scope that somebody has to look at
    :ivar notes: what the operator should know, lines
    """

    layout: str
    steps: tuple[Step, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]


def layout(databases: databases_module.Databases) -> str | None:
    """Return ``L0``, ``L1`` or ``M1``; None: legacy doesn't apply here.

    :raises SchemaUnknown: cells of both kinds, or volumes that aren't found
    :raises ConfigError: an old nova, and no cinder.conf
    :raises DatabaseUnavailable: that can't be known
    """
    found = old_volumes.of(databases)
    return found and found.name


def clean(
    databases: databases_module.Databases,
    servers: Collection[str] | None = None,
) -> Cleaning:
    """Read both sides and return the step that cleans them.

    :param servers: UUIDs of the scope; None is the whole cloud, with the
        volumes whose servers are gone
    :raises SchemaUnknown: not a legacy layout (see :func:`layout`)
    :raises DatabaseUnavailable: a cell or cinder doesn't answer: what it
        holds can't be left out of a reset
    """
    return decide(read(databases), servers)


def read(databases: databases_module.Databases) -> Found:
    """Read both sides, side by side.

    :raises SchemaUnknown: not a legacy layout
    :raises DatabaseUnavailable: a cell or cinder doesn't answer
    """
    known = old_volumes.of(databases)
    if known is None:
        raise exceptions.SchemaUnknown(
            'this nova knows attachments: its volumes are repaired one by '
            'one, never reset wholesale'
        )
    asked = [cell.database for cell in databases.cells]
    if known.name != 'L0':
        assert databases.cinder is not None
        asked.append(databases.cinder)

    def ask(
        database: database_module.Database,
    ) -> tuple[Cell | None, list[str], list[str], set[str]]:
        with database.reader() as connection:
            cell, rows, attached, odd = None, [], [], set()
            if database is not databases.cinder:
                cell = Cell(
                    bulk.read(connection, _servers(database))[0],
                    bulk.read(connection, _mappings(database, known))[0],
                )
            if known.name == 'L0' or database is databases.cinder:
                rows, odd = bulk.read(connection, _volumes(known))
                if known.name == 'M1':
                    attached, _odd = bulk.read(connection, _ATTACHMENTS)
            return cell, rows, attached, odd

    answers, unknown = databases_module.divide(
        databases_module.each(asked, ask)
    )
    for error in unknown.values():
        raise error
    return Found(
        layout=known,
        cells={
            name: answer[0]
            for name, answer in answers.items()
            if answer[0] is not None
        },
        volumes=[line for answer in answers.values() for line in answer[1]],
        attachments=[
            line for answer in answers.values() for line in answer[2]
        ],
        odd=frozenset(
            one for answer in answers.values() for one in answer[3]
        ),
    )


_ATTACHMENTS = dataclasses.replace(
    old_volumes.ATTACHMENTS,
    columns=(*old_volumes.ATTACHMENTS.columns, 'attached_host', 'mountpoint'),
)


def _servers(database: database_module.Database) -> bulk.Selection:
    schema.require(database, 'servers')
    return bulk.Selection(
        'instances', 'id', ('uuid', 'root_device_name'), 'deleted = 0'
    )


def _mappings(
    database: database_module.Database, known: old_volumes.Layout
) -> bulk.Selection:
    columns = ['volume_id', known.mapped_by, 'device_name']
    # the device tells before Havana
    if database.tables.has('block_device_mapping', 'boot_index'):
        columns.append('boot_index')
    return bulk.Selection(
        'block_device_mapping',
        'id',
        tuple(columns),
        'deleted = 0 AND volume_id IS NOT NULL',
    )


def _volumes(known: old_volumes.Layout) -> bulk.Selection:
    selection = known.volumes(
        "deleted = 0 AND IFNULL(status, '') <> 'available'"
    )
    if known.migrating:
        return dataclasses.replace(
            selection, columns=(*selection.columns, 'migration_status')
        )
    return selection


def decide(found: Found, servers: Collection[str] | None = None) -> Cleaning:
    """Return what is cleaned and what isn't; asks nobody.

    :param servers: UUIDs of the scope; None: all
    """
    return _Decision(found, servers).cleaning()


class _Decision:
    """Which volumes are stale, and nova's mappings of each."""

    def __init__(
        self, found: Found, servers: Collection[str] | None
    ) -> None:
        self._found = found
        self._layout = found.layout
        self._left: dict[str, str] = {}
        self._roots = 0
        self._others: dict[str, int] = collections.Counter()
        # by what the layout calls a server: Essex, its number
        self._boots: dict[str, str] = {}
        wanted = None if servers is None else frozenset(servers)
        scope: set[str] = set()
        numbered = self._layout.mapped_by == 'instance_id'
        for cell in found.cells.values():
            for line in cell.servers:
                number, uuid, root = line.split(bulk.SEPARATOR)
                key = number if numbered else uuid
                self._boots[key] = root
                if wanted is not None and uuid in wanted:
                    scope.add(key)
        # A deleted server is in no cell, and may be asked for all the same.
        if wanted is not None and not numbered:
            scope |= wanted
        self._scope = None if wanted is None else scope
        # volume -> nova's mappings: cell, id, server
        self._mapped: dict[str, list[tuple[str, str, str]]] = {}
        self._rooted: set[str] = set()
        for name, cell in found.cells.items():
            self._index(name, cell.mappings)
        # volume -> cinder's attachments
        self._attached: dict[str, list[list[str]]] = {}
        for line in found.attachments:
            parts = line.split(bulk.SEPARATOR)
            self._attached.setdefault(parts[1], []).append(parts)

    def cleaning(self) -> Cleaning:
        batches: dict[str, _Batch] = collections.defaultdict(_Batch)
        # Unmapped volumes have no cell; in Essex they are in the only one.
        nowhere = '' if self._layout.name != 'L0' else min(self._found.cells)
        for line, mappings in self._stale():
            batches[mappings[0][0] if mappings else nowhere].add(
                line, mappings, self._attached
            )
        items: list[Item] = []
        count = mapped = 0
        for cell, batch in sorted(batches.items()):
            items += batch.items(self._layout, cell)
            count += len(batch.volumes)
            mapped += len(batch.mappings)
        for volume, some in self._mapped.items():
            servers = {server for _cell, _id, server in some}
            if self._scope is None or servers <= self._scope:
                self._leave(
                    volume,
                    f'nova maps it to {_told(servers)}, and cinder has it '
                    'as available or not at all',
                )
        step = Step(
            'clean',
            'clean the stale state of volumes, nova before cinder',
            tuple(items),
            {'everywhere': AT_A_TIME},
            number=2,
        )
        return Cleaning(
            self._layout.name,
            (step,) if items else (),
            self._left,
            tuple(self._notes(count, mapped)),
        )

    def _index(self, cell: str, lines: Sequence[str]) -> None:
        mapped, rooted, boots = self._mapped, self._rooted, self._boots
        for line in lines:
            # boot_index is not in all
            number, volume, server, device, *boot = line.split(
                bulk.SEPARATOR
            )
            if boot == ['0'] or _boots_from(device, boots.get(server)):
                rooted.add(volume)
            if volume in mapped:
                mapped[volume].append((cell, number, server))
            else:
                mapped[volume] = [(cell, number, server)]

    def _stale(self) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
        """The lines of what is cleaned, each with nova's mappings.

        What is left of ``self._mapped`` then, cinder has no such volume of.
        """
        migrating = self._layout.migrating
        migration = bulk.NULL
        for line in self._found.volumes:
            if migrating:
                line, _, migration = line.rpartition(bulk.SEPARATOR)
            parts = line.split(bulk.SEPARATOR)
            volume, status = parts[0], parts[1]
            mappings = self._mapped.pop(volume, [])
            holders = self._holders(parts)
            involved = holders.union(m[2] for m in mappings)
            scope = self._scope
            if scope is not None and scope.isdisjoint(involved):
                continue
            if status not in _STALE:
                self._others[status] += 1
                if involved:
                    self._leave(volume, f'it is {status}')
            elif volume in self._rooted or self._is_root(parts):
                self._roots += 1
            else:
                why = self._why_not(parts, migration, mappings, holders)
                if why:
                    self._leave(volume, why)
                else:
                    yield line, mappings

    def _holders(self, parts: list[str]) -> set[str]:
        """The servers that cinder names."""
        if self._layout.server is None:
            found = {one[3] for one in self._attached.get(parts[0], ())}
        else:
            found = {parts[3]}
        found.discard(bulk.NULL)
        return found

    def _is_root(self, parts: list[str]) -> bool:
        """Whether a server boots from it by the device that cinder has."""
        if self._layout.server is None:
            devices = [
                (one[3], one[5]) for one in self._attached.get(parts[0], ())
            ]
        else:
            devices = [(parts[3], parts[4])]
        return any(
            server in self._boots
            and _boots_from(device, self._boots[server])
            for server, device in devices
        )

    def _why_not(
        self,
        parts: list[str],
        migration: str,
        mappings: list[tuple[str, str, str]],
        holders: set[str],
    ) -> str:
        """Why a volume with a stale status is left as it is, or ''."""
        mapped = {server for _cell, _id, server in mappings}
        if parts[0] in self._found.odd:
            return 'its row has characters that no device or host has'
        if migration not in _AT_REST:
            return f'it is being migrated ({migration})'
        if self._scope is not None and not self._scope >= holders | mapped:
            others = (holders | mapped) - self._scope
            return f'{_told(others)} has it too and is not in the scope'
        if holders and not holders >= mapped:
            return (
                f'nova maps it to {_told(mapped)}, cinder has it for '
                f'{_told(holders)}'
            )
        if len({cell for cell, _id, _server in mappings}) > 1:
            return 'more than one cell maps it'
        host = self._host(parts)
        if host:
            return f'host {host} has it, not a server'
        return ''

    def _host(self, parts: list[str]) -> str:
        """The host that has a volume by itself, '' if none does."""
        if self._layout.server is None:
            pairs = [
                (one[3], one[4]) for one in self._attached.get(parts[0], ())
            ]
        elif 'attached_host' in self._layout.cleared:
            pairs = [(parts[3], parts[-1])]
        else:
            pairs = []
        return next(
            (h for s, h in pairs if s == bulk.NULL and h != bulk.NULL), ''
        )

    def _leave(self, volume: str, why: str) -> None:
        self._left[f'volume:{volume}'] = why

    def _notes(self, count: int, mapped: int) -> Iterator[str]:
        if count:
            yield (
                f'{count} volumes become available and detached; {mapped} '
                'mappings of nova end before that. What step 4 attaches '
                'again is what the record of step 1 says: keep it.'
            )
        if self._roots:
            yield (
                f'{self._roots} volumes that servers boot from stay as they '
                'are: nothing can attach these again.'
            )
        if self._others:
            yield 'Left to cinder: ' + ', '.join(
                f'{number} {status}'
                for status, number in sorted(self._others.items())
            )


_AT_REST = frozenset(
    bulk.NULL if one is None else one for one in volumes_module.NOT_MIGRATING
)


class _Batch:
    """Volumes of one cell, to be cut into items."""

    def __init__(self) -> None:
        self.volumes: list[str] = []
        self.mappings: list[str] = []
        # how many mappings and attachments there are up to each volume
        self._upto: list[tuple[int, int]] = [(0, 0)]
        self._attachments: list[str] = []

    def add(
        self,
        line: str,
        mappings: list[tuple[str, str, str]],
        attached: dict[str, list[list[str]]],
    ) -> None:
        volume = line.partition(bulk.SEPARATOR)[0]
        self.volumes.append(line)
        for _cell, number, _server in mappings:
            self.mappings.append(f'{number}{bulk.SEPARATOR}{volume}')
        for parts in attached.get(volume, ()):
            self._attachments.append(bulk.SEPARATOR.join(parts[:4]))
        self._upto.append((len(self.mappings), len(self._attachments)))

    def items(
        self, layout: old_volumes.Layout, cell: str
    ) -> Iterator[Item]:
        for start in range(0, len(self.volumes), BATCH):
            end = min(start + BATCH, len(self.volumes))
            (m_start, a_start), (m_end, a_end) = (
                self._upto[start],
                self._upto[end],
            )
            yield from _items(
                layout,
                cell,
                self.volumes[start:end],
                self.mappings[m_start:m_end],
                self._attachments[a_start:a_end],
            )


def _items(
    layout: old_volumes.Layout,
    cell: str,
    volumes: list[str],
    mappings: list[str],
    attachments: list[str],
) -> Iterator[Item]:
    first = volumes[0].partition(bulk.SEPARATOR)[0]
    subject = f'volumes:{first}'
    common = {'layout': layout.name, 'cell': cell, 'everywhere': True}
    if mappings:
        yield Item(
            f'clean-mappings:{first}',
            'clean-mappings',
            subject,
            f'{len(mappings)} mappings of {len(volumes)} volumes',
            {
                **common,
                'rows': '\n'.join(mappings),
            },
        )
    yield Item(
        f'clean-volumes:{first}',
        'clean-volumes',
        subject,
        f'{len(volumes)} volumes',
        {
            **common,
            'columns': list(layout.columns),
            'rows': '\n'.join(volumes),
            # text, so that a plan of 200,000 volumes stays a small file
            'mappings': ' '.join(
                one.partition(bulk.SEPARATOR)[0] for one in mappings
            ),
            'attachments': '\n'.join(attachments),
        },
    )


@functools.lru_cache(maxsize=4096)
def _boots_from(device: str, root: str | None) -> bool:
    """Whether a device is the one that a server boots from."""
    name = _short(device)
    if root is None or root == bulk.NULL:
        return name in _FIRST
    return name == _short(root)


def _short(device: str) -> str:
    # Essex has vda for /dev/vda, and a root may be a partition
    return device.rpartition('/')[2].rstrip('0123456789')


def _told(servers: Collection[str]) -> str:
    return 'server ' + ', '.join(sorted(servers))
