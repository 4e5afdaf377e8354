# SPDX-License-Identifier: Apache-2.0

"""The sessions of hosts, and the volumes that nova has there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
import dataclasses
import re
from typing import Any, TYPE_CHECKING

from nova_recovery.cloud.db import connections as connections_module
from nova_recovery.cloud.db.connections import Connection
from nova_recovery.procedures import reached
from nova_recovery.procedures.reached import Reached

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

#: What cinder's LVM and many other drivers call the target of a volume:
#: iqn.2010-10.org.openstack:volume-UUID (cinder/volume/targets/iscsi.py)
_VOLUME = re.compile(
    r'volume-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})', re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class Session:
    """A session of a host, with what it is of.

    :ivar disks: as the agent's ``iscsi list`` has them
    :ivar volumes: UUIDs, in the order of disks; of all that tell
    :ivar servers: UUIDs of those whose they are, or that use them
    :ivar wanted: what nova has through it
    """

    host: str
    number: int
    target: str
    portal: str
    state: str
    disks: tuple[Mapping[str, Any], ...]
    volumes: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    wanted: tuple[Connection, ...] = ()

    @property
    def uses(self) -> list[str]:
        """Who uses its disks on the host, a line each."""
        return [
            f'{disk["device"]}: {use["kind"]} {use["what"]}'
            for disk in self.disks
            for use in disk['uses']
        ]


@dataclasses.dataclass(frozen=True)
class Facts:
    """All of it.

    :ivar hosts: in the order in which they were named
    :ivar wanted: host -> the volumes of its servers, as nova has them
    :ivar unknown: why nova's side is not known as a whole, lines
    :ivar silent: hosts that could not even be named, lines
    """

    hosts: tuple[Reached, ...]
    wanted: Mapping[str, tuple[Connection, ...]]
    unknown: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def names(self) -> dict[str, str]:
        """What people call the servers that nova has."""
        return {
            one.server.uuid: one.server.name
            for some in self.wanted.values()
            for one in some
        }

    def sessions(self, host: Reached) -> Iterator[Session]:
        """The sessions of a host that answered."""
        said = host.said[0]
        wanted = self.wanted.get(host.name, ())
        for row in said['sessions']:
            yield _session(host.name, row, said['domains'] or (), wanted)


def read(cloud: Cloud, names: Collection[str], **words: str | None) -> Facts:
    """Ask the hosts and the databases.

    :param names: exact names; none: all compute hosts of the cells
    :param words: options of the agent's ``iscsi list``
    """
    silent: tuple[str, ...] = ()
    if not names:
        names, silent = reached.hosts_of(cloud)
    hosts = reached.read(cloud, names, ('iscsi list', words))
    wanted, unknown = wanted_by(cloud, names, connections_module.ISCSI)
    return Facts(tuple(hosts), wanted, unknown, silent)


def wanted_by(
    cloud: Cloud, names: Collection[str], protocols: Collection[str]
) -> tuple[dict[str, tuple[Connection, ...]], tuple[str, ...]]:
    """Host -> its volumes as nova has them, and why that is not all."""
    known, unknown = reached.of_cells(
        cloud, lambda cell: connections_module.of_hosts(cell, names, protocols)
    )
    found: dict[str, list[Connection]] = {}
    for some in known.values():
        for one in some:
            found.setdefault(one.server.host or '', []).append(one)
    return {host: tuple(some) for host, some in found.items()}, unknown


def volume_of(target: str) -> str | None:
    """The volume that the name of a target tells, None where it tells none."""
    found = _VOLUME.search(target)
    return found[1].lower() if found else None


def guest_off(said: Mapping[str, Any], server: str) -> bool:
    """Whether the host is known not to run a guest; False: it may.

    A process of one that libvirt has lost may run on.

    :param said: with ``domains``, None where libvirt does not tell
    """
    return any(
        one['uuid'] == server and not one['active']
        for one in said['domains'] or ()
    )


def through(one: Connection, target: str, portal: str) -> list[int | None]:
    """The LUNs by which nova has a volume through such a session."""
    return [
        path.lun
        for path in one.paths
        if (path.target, path.portal) == (target, portal)
    ]


def has_disk(
    session: Session, one: Connection, domains: Collection[Mapping[str, Any]]
) -> bool:
    """Whether a disk of a session is a volume; a target may have lost it."""
    if None in through(one, session.target, session.portal):
        return bool(session.disks)
    if volume_of(session.target) == one.volume:
        # it has no other
        return bool(session.disks)
    return any(
        one.volume
        in of_disk(disk, domains, [one], session.target, session.portal)[0]
        for disk in session.disks
    )


def of_disk(
    disk: Mapping[str, Any],
    domains: Collection[Mapping[str, Any]],
    connections: Collection[Connection],
    target: str,
    portal: str,
) -> tuple[dict[str, None], dict[str, None]]:
    """The volume that a disk is, and the servers whose it is, of all who tell.

    :param disk: as the agent has it
    :param connections: of its host
    """
    volumes: dict[str, None] = {}
    servers: dict[str, None] = {}
    for one in connections:
        luns = through(one, target, portal)
        if disk['lun'] in luns or (one.wwid and one.wwid == disk['wwid']):
            volumes[one.volume] = None
            servers[one.server.uuid] = None
    for domain in domains:
        for name in disk['names']:
            if name in domain['disks']:
                servers[domain['uuid']] = None
                if domain['disks'][name]:
                    volumes[domain['disks'][name]] = None
    for use in disk['uses']:
        if use['server']:
            servers[use['server']] = None
    return volumes, servers


def _session(
    host: str,
    row: Mapping[str, Any],
    domains: Collection[Mapping[str, Any]],
    connections: Collection[Connection],
) -> Session:
    wanted = [
        one
        for one in connections
        if through(one, row['target'], row['portal'])
    ]
    volumes: dict[str, None] = {}
    servers: dict[str, None] = {}
    for disk in row['disks']:
        some, whose = of_disk(
            disk, domains, wanted, row['target'], row['portal']
        )
        volumes.update(some)
        servers.update(whose)
    named = volume_of(row['target'])
    if named:
        volumes[named] = None
    for one in wanted:
        volumes[one.volume] = None
        servers[one.server.uuid] = None
    return Session(
        host,
        row['session'],
        row['target'],
        row['portal'],
        row['state'],
        tuple(row['disks']),
        tuple(volumes),
        tuple(servers),
        tuple(wanted),
    )
