# SPDX-License-Identifier: Apache-2.0

"""Which volumes of a cloud from before Queens are stale; pure."""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterator, Sequence
import functools

from nova_recovery.cloud.db import bulk, old_volumes
from nova_recovery.cloud.db import volumes as volumes_module
from nova_recovery.procedures.disaster.before_queens.read import Situation

#: Where a server boots from when nova doesn't say.
_FIRST = frozenset({'vda', 'sda', 'hda', 'xvda'})
_AT_REST = frozenset(
    bulk.NULL if one is None else one for one in volumes_module.NOT_MIGRATING
)
_STALE = frozenset(old_volumes.STALE)

#: A mapping of nova: cell, id, server.
Mapping = tuple[str, str, str]


class Choice:
    """Which volumes are cleaned, which stay and why.

    :param servers: UUIDs of the scope; None: all
    :param alone: UUIDs of servers whose volumes stay as they are
    :ivar mapped: volume -> what nova has, in the order in which nova got it
    :ivar attached: volume -> the attachments that cinder has, as fields
    :ivar stale: volume -> its line, as the layout has it
    :ivar left_out: volume -> why it stays
    """

    def __init__(
        self,
        found: Situation,
        servers: Collection[str] | None,
        alone: Collection[str] = (),
    ) -> None:
        self._found = found
        self._layout = found.layout
        self.left_out: dict[str, str] = {}
        self._roots = 0
        self._others: dict[str, int] = collections.Counter()
        # by what the layout calls a server: in Essex, its number
        self._boots: dict[str, str] = {}
        # and back
        self._uuids: dict[str, str] = {}
        self._index_servers()
        self._scope = None if servers is None else self._names(servers)
        self._alone = self._names(alone)
        self.mapped: dict[str, tuple[Mapping, ...]] = {}
        self._rooted: set[str] = set()
        for name, cell in found.cells.items():
            self._index(name, cell.mappings)
        self.attached: dict[str, list[list[str]]] = {}
        for line in found.volumes.attachments:
            parts = line.split(bulk.SEPARATOR)
            self.attached.setdefault(parts[1], []).append(parts)
        self.stale: dict[str, str] = {}
        self._choose()

    def _index_servers(self) -> None:
        numbered = self._layout.mapped_by == 'instance_id'
        for cell in self._found.cells.values():
            for line in cell.servers:
                number, uuid, root = line.split(bulk.SEPARATOR)
                name = number if numbered else uuid
                self._boots[name] = root
                self._uuids[name] = uuid

    def _names(self, servers: Collection[str]) -> frozenset[str]:
        """Servers as the layout calls them."""
        wanted = frozenset(servers)
        if self._layout.mapped_by != 'instance_id':
            # A deleted server is in no cell, and may be asked for all the
            # same.
            return wanted
        return frozenset(n for n, u in self._uuids.items() if u in wanted)

    def _index(self, cell: str, lines: Sequence[str]) -> None:
        mapped, rooted, boots = self.mapped, self._rooted, self._boots
        for line in lines:
            # boot_index is not in all
            number, volume, server, device, *boot = line.split(bulk.SEPARATOR)
            if boot == ['0'] or _boots_from(device, boots.get(server)):
                rooted.add(volume)
            if volume in mapped:
                mapped[volume] += ((cell, number, server),)
            else:
                mapped[volume] = ((cell, number, server),)

    def _choose(self) -> None:
        known = set()
        scope, odd = self._scope, self._found.volumes.odd
        alone = self._alone
        on_volume = self._layout.server is not None
        migrating = self._layout.migrating
        migration = bulk.NULL
        for line in self._found.volumes.rows:
            if migrating:
                line, _, migration = line.rpartition(bulk.SEPARATOR)
            parts = line.split(bulk.SEPARATOR)
            volume = parts[0]
            known.add(volume)
            mappings = self.mapped.get(volume, ())
            if on_volume:
                server = parts[3]
                # nearly all, in a few steps
                if (
                    parts[1] in _STALE
                    and server in self._boots
                    and volume not in self._rooted
                    and not _boots_from(parts[4], self._boots[server])
                    and (scope is None or server in scope)
                    and server not in alone
                    and migration in _AT_REST
                    and volume not in odd
                    and (
                        not mappings
                        or (len(mappings) == 1 and mappings[0][2] == server)
                    )
                ):
                    self.stale[volume] = line
                    continue
            self._judge(volume, line, parts, migration, mappings)
        for volume, mappings in self.mapped.items():
            servers = {server for _cell, _id, server in mappings}
            if volume not in known and (scope is None or servers <= scope):
                self._leave(
                    volume,
                    f'nova maps it to {_told(servers)}, and cinder has it '
                    'as available or not at all',
                )

    def _judge(
        self,
        volume: str,
        line: str,
        parts: list[str],
        migration: str,
        mappings: tuple[Mapping, ...],
    ) -> None:
        holders = self._holders(parts)
        involved = holders.union(server for _cell, _id, server in mappings)
        if self._scope is not None and self._scope.isdisjoint(involved):
            return
        if parts[1] not in _STALE:
            self._others[parts[1]] += 1
            if involved:
                self._leave(volume, f'it is {parts[1]}')
            return
        if volume in self._rooted or self._is_root(parts):
            self._roots += 1
            return
        why = self._why_not(parts, migration, mappings, holders)
        if why:
            self._leave(volume, why)
        else:
            self.stale[volume] = line

    def _holders(self, parts: list[str]) -> set[str]:
        """The servers that cinder names."""
        if self._layout.server is None:
            found = {one[3] for one in self.attached.get(parts[0], ())}
        else:
            found = {parts[3]}
        found.discard(bulk.NULL)
        return found

    def _is_root(self, parts: list[str]) -> bool:
        """Whether a server boots from it by the device that cinder has."""
        if self._layout.server is None:
            devices = [
                (one[3], one[5]) for one in self.attached.get(parts[0], ())
            ]
        else:
            devices = [(parts[3], parts[4])]
        return any(
            server in self._boots and _boots_from(device, self._boots[server])
            for server, device in devices
        )

    def _why_not(
        self,
        parts: list[str],
        migration: str,
        mappings: tuple[Mapping, ...],
        holders: set[str],
    ) -> str:
        """Why a volume with a stale status is left as it is, or ''."""
        mapped = {server for _cell, _id, server in mappings}
        alone = self._alone & (holders | mapped)
        if alone:
            return f'{_told(alone)} is left alone'
        if parts[0] in self._found.volumes.odd:
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
                (one[3], one[4]) for one in self.attached.get(parts[0], ())
            ]
        elif 'attached_host' in self._layout.cleared:
            pairs = [(parts[3], parts[-1])]
        else:
            pairs = []
        return next(
            (h for s, h in pairs if s == bulk.NULL and h != bulk.NULL), ''
        )

    def _leave(self, volume: str, why: str) -> None:
        self.left_out[volume] = why

    def servers(self) -> frozenset[str]:
        """UUIDs of the live servers of what is cleaned."""
        names: set[str] = set()
        for volume, line in self.stale.items():
            names |= self._holders(line.split(bulk.SEPARATOR))
            names.update(one[2] for one in self.mapped.get(volume, ()))
        return frozenset(
            self._uuids[name] for name in names if name in self._uuids
        )

    def notes(self) -> Iterator[str]:
        """What the operator should know."""
        if self.stale:
            mapped = sum(len(self.mapped.get(one, ())) for one in self.stale)
            yield (
                f'{len(self.stale)} volumes become available and detached; '
                f'{mapped} mappings of nova end before that. What step 4 '
                'attaches again is what the record of step 1 says: keep it.'
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
