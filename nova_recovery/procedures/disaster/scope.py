# SPDX-License-Identifier: Apache-2.0

"""Which part of the cloud is meant, to the letter."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
import dataclasses
from typing import Any

from nova_recovery.engine import printable
from nova_recovery.exceptions import NotFound


@dataclasses.dataclass(frozen=True)
class Scope:
    """What the operator named; nothing named is the whole cloud.

    Names of one sort add up, names of several sorts narrow each other down:
    ``--az a --az b --project p`` is what p has in a or in b.

    :ivar projects: IDs
    :ivar servers: UUIDs
    :ivar skip_hosts: host -> why its servers are left alone
    :ivar skip_backends: ``host@backend`` of cinder-volume -> why the servers
        with volumes there are left alone
    """

    cells: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    skip_hosts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    skip_backends: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def everything(self) -> bool:
        """Whether nothing narrows it down (hosts may still be skipped)."""
        return not (
            self.cells
            or self.zones
            or self.aggregates
            or self.hosts
            or self.projects
            or self.servers
        )

    @property
    def by_host(self) -> bool:
        """Whether it is narrowed down to hosts."""
        return bool(self.zones or self.aggregates or self.hosts)

    def words(self) -> str:
        """For a title: ``the whole cloud``, ``cell c1 and project p``."""
        if self.servers:
            return 'those that were named'
        named = [
            f'{noun} {", ".join(names)}'
            for noun, names in (
                ('cell', self.cells),
                ('zone', self.zones),
                ('aggregate', self.aggregates),
                ('host', self.hosts),
                ('project', self.projects),
            )
            if names
        ]
        text = ' and '.join(named) or 'the whole cloud'
        skipped = [*sorted(self.skip_hosts), *sorted(self.skip_backends)]
        if skipped:
            text += f' without {", ".join(skipped)}'
        return text

    def plain(self) -> dict[str, Any]:
        """As plain data, for the arguments of a plan.

        Servers only where some are named: a plan without is the same as ever.
        """
        return {
            name: dict(value) if isinstance(value, Mapping) else list(value)
            for name, value in (
                (field.name, getattr(self, field.name))
                for field in dataclasses.fields(self)
            )
            if value or name != 'servers'
        }


def of(data: Mapping[str, Any]) -> Scope:
    """The scope that :meth:`Scope.plain` made plain data of."""
    return Scope(
        cells=tuple(data.get('cells', ())),
        zones=tuple(data.get('zones', ())),
        aggregates=tuple(data.get('aggregates', ())),
        hosts=tuple(data.get('hosts', ())),
        projects=tuple(data.get('projects', ())),
        servers=tuple(data.get('servers', ())),
        skip_hosts=dict(data.get('skip_hosts', {})),
        skip_backends=dict(data.get('skip_backends', {})),
    )


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where hosts are.

    :ivar cells: all enabled cells, silent ones too
    :ivar hosts: host -> its cell; those of silent cells are missing
    :ivar zones: host -> its availability zone; the others are in default
    :ivar default: the default availability zone
    :ivar aggregates: name -> hosts, of all aggregates
    :ivar silent: cells that don't answer
    """

    cells: frozenset[str]
    hosts: Mapping[str, str]
    zones: Mapping[str, str]
    default: str
    aggregates: Mapping[str, frozenset[str]]
    silent: frozenset[str] = frozenset()

    def zone(self, host: str | None) -> str:
        return self.zones.get(host or '', self.default)


def hosts(scope: Scope, layout: Layout) -> frozenset[str] | None:
    """The compute hosts that are meant; None: all there are.

    Those to skip are among them: what is left alone is told, with why.

    :raises NotFound: a name that is nothing here; with a cell that does not
        answer, it says so, since the name may be there
    """
    _known('cell', scope.cells, layout.cells, ())
    zones = {*layout.zones.values(), layout.default}
    _known('availability zone', scope.zones, zones, ())
    _known('aggregate', scope.aggregates, layout.aggregates, ())
    for noun, names in (
        ('compute host', scope.hosts),
        ('compute host to skip', scope.skip_hosts),
    ):
        _known(noun, names, layout.hosts, layout.silent)
    if not scope.by_host:
        return None
    meant: set[str] = {
        *layout.hosts,
        *layout.zones,
        *(host for some in layout.aggregates.values() for host in some),
    }
    if scope.zones:
        meant = {h for h in meant if layout.zone(h) in scope.zones}
    if scope.aggregates:
        meant &= {
            h for name in scope.aggregates for h in layout.aggregates[name]
        }
    if scope.hosts:
        meant &= set(scope.hosts)
    return frozenset(meant)


def matters(
    scope: Scope, layout: Layout, meant: frozenset[str] | None
) -> frozenset[str]:
    """The silent cells that may have something of the scope.

    :param meant: as :func:`hosts` told
    """
    silent = layout.silent
    if scope.cells:
        silent &= set(scope.cells)
    named = scope.hosts or scope.aggregates
    if meant is not None and named and meant <= set(layout.hosts):
        # a host is in one cell
        return frozenset()
    return silent


def known_projects(
    scope: Scope, there: Collection[str], silent: Collection[str]
) -> None:
    """Refuse a project of which nothing is known: a typo, or its name.

    Keystone, which could tell, may be down.

    :param there: those of the servers that are, and of the snapshot's
    :param silent: cells that don't answer, and may have servers of any
    :raises NotFound: none of its servers is, or was, in the scope
    """
    unknown = sorted(set(scope.projects) - set(there))
    if unknown and not silent:
        raise NotFound(
            f'no server of a project {unknown[0]}, neither now nor in the '
            'snapshot; projects are given by their ID, as "openstack project '
            'list" shows it'
        )


def _known(
    noun: str,
    names: Iterable[str],
    known: Iterable[str],
    silent: Iterable[str],
) -> None:
    there = set(known)
    unknown = sorted(set(names) - there)
    if not unknown:
        return
    perhaps = ', '.join(sorted(silent))
    if perhaps:
        reason = f'; cell {perhaps} does not answer and may have it'
    else:
        listed = sorted(there)
        are = 'are' if len(listed) > 1 else 'is'
        reason = f'; there {are} {printable.some(listed, 20) or "none"}'
    raise NotFound(f'no {noun} named {unknown[0]}{reason}')
