# SPDX-License-Identifier: Apache-2.0

"""What was and what is, read in few queries.

The cells are asked side by side, each in one snapshot of its database, then
cinder, then the cells again for its volumes. A cell that is silent is in
the answer as unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent import futures
import dataclasses
import datetime
from typing import TYPE_CHECKING

from oslo_utils import timeutils

from nova_recovery.cloud import records
from nova_recovery.cloud.db import identity, rows, schema
from nova_recovery.cloud.db.databases import divide, each
from nova_recovery.compat import pairs
from nova_recovery.exceptions import (
    ConfigError,
    DatabaseUnavailable,
    RecoveryError,
    SchemaUnknown,
)
from nova_recovery.procedures.disaster import scope as scope_module
from nova_recovery.procedures.disaster.look import cells, layout, record
from nova_recovery.procedures.disaster.look import layout as layout_module
from nova_recovery.procedures.disaster.look.cells import Answer, Asked, Row
from nova_recovery.procedures.disaster.look.fleet import Told
from nova_recovery.procedures.disaster.look.hosts import of
from nova_recovery.procedures.disaster.look.layout import Groups, Services
from nova_recovery.procedures.disaster.look.record import Record
from nova_recovery.procedures.disaster.scope import Layout, Scope
from nova_recovery.procedures.disaster.situation import (
    Device,
    Gone,
    Outage,
    Recorded,
    Server,
    Service,
    Situation,
)
from nova_recovery.procedures.volumes import read as volumes_read

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.db.database import Database
    from nova_recovery.engine.findings import Finding
    from nova_recovery.procedures.volumes import situation as volumes_module
    from nova_recovery.snapshot.reading import Snapshot


#: How many computes are asked at a time.
SIDE_BY_SIDE = 16


def look(
    cloud: Cloud,
    snapshot: Snapshot | None = None,
    scope: Scope | None = None,
    since: datetime.datetime | None = None,
    marks: Mapping[str, int] | None = None,
    with_volumes: bool = True,
) -> Situation:
    """What a power loss did to what is in scope, from the databases.

    :param since: when the outage was, UTC: without a snapshot what was asked
        of servers later counts as asked since, and with one nothing earlier
        can be under way any more
    :param marks: those of an earlier look, which then win
    :param with_volumes: read both sides of the volumes too
    :raises NotFound: the scope names what isn't there
    :raises DatabaseUnavailable: the API's database
    :raises RecoveryError: the snapshot is damaged, or has no servers
    """
    return Reader(cloud, snapshot, scope, since=since, marks=marks).look(
        with_volumes=with_volumes
    )


class Reader:
    """Looks, several times if need be; see :func:`look`.

    :param now_hosts: snapshots that hosts took of themselves since
    """

    def __init__(
        self,
        cloud: Cloud,
        snapshot: Snapshot | None = None,
        scope: Scope | None = None,
        now_hosts: Sequence[Snapshot] = (),
        since: datetime.datetime | None = None,
        marks: Mapping[str, int] | None = None,
    ) -> None:
        self._cloud, self._since = cloud, since
        self._scope = scope or Scope()
        self._recorded = (
            record.read(snapshot, cloud.nova.service_down_time)
            if snapshot
            else None
        )
        if self._recorded is not None:
            about = self._recorded.about
            self._recorded.about = dataclasses.replace(
                about,
                foreign=bool(about.cloud)
                and identity.another(about.cloud, identity.of(cloud)),
            )
        self._marks = _marks(self._recorded, marks)
        self._before = of([snapshot] if snapshot else ())
        self._now = of(now_hosts)
        self._of_hosts: tuple[Finding, ...] = ()

    def tell(self, found: Situation, told: Told) -> Situation:
        """The same, and all looks that follow, with what hosts told."""
        self._now = {**self._now, **{one.name: one for one in told.hosts}}
        self._of_hosts = told.findings
        return dataclasses.replace(
            found, hosts_now=self._now, of_hosts=self._of_hosts
        )

    def look(
        self,
        servers: Collection[str] | None = None,
        volumes: Collection[str] | None = None,
        with_volumes: bool = True,
    ) -> Situation:
        """What is now, beside what was.

        :param servers: of the scope only these; None: all
        :param volumes: only these, with ``servers``
        """
        with futures.ThreadPoolExecutor(1) as beside:
            # of the whole cloud there is nothing to wait for
            both = (
                beside.submit(_both_sides, self._cloud, None, ())
                if with_volumes and self._scope.everything and servers is None
                else None
            )
            return self._look(servers, volumes, with_volumes, both)

    def _look(
        self,
        servers: Collection[str] | None,
        volumes: Collection[str] | None,
        with_volumes: bool,
        beside: futures.Future[Both] | None,
    ) -> Situation:
        scope, recorded = self._scope, self._recorded
        databases = self._cloud.databases
        services, unknown = layout.of_cells(self._cloud)
        places, groups = layout_module.read(self._cloud, services, unknown)
        meant = scope_module.hosts(scope, places)
        expected = _expected(recorded, scope, meant)
        if scope.servers and servers is None:
            servers = scope.servers
        asked = Asked(
            hosts=meant,
            projects=scope.projects or None,
            since=self._since,
            marks=self._marks,
            expected=expected
            if servers is None
            else expected & frozenset(servers),
            uuids=None if servers is None else frozenset(servers),
        )
        wanted = [
            cell.database
            for cell in databases.cells
            if not scope.cells or cell.cell.name in scope.cells
        ]
        answers, silent = divide(
            each(wanted, lambda cell: cells.read(cell, asked))
        )
        matter = scope_module.matters(scope, places, meant)
        found = _Found(scope, places, groups, recorded, answers, asked)
        if servers is None:
            before = recorded.servers.values() if recorded else ()
            scope_module.known_projects(
                scope,
                {one.project for one in (*found.servers.values(), *before)},
                {*unknown, *silent},
            )
        both: Both = None, 'not asked for'
        if beside is not None:
            both = beside.result()
        elif with_volumes:
            both = _volumes_of(
                self._cloud,
                found.servers,
                [one.uuid for one in found.gone],
                found.devices,
                volumes,
            )
        own = found.own(services)
        return Situation(
            scope=scope,
            now=max(
                (one.now for one in answers.values()),
                default=timeutils.utcnow(),
            ),
            recorded=recorded.about if recorded else None,
            outage=_outage(
                own,
                self._since,
                recorded,
                self._cloud.nova.service_down_time,
                self._cloud.nova.report_interval,
            ),
            servers=found.servers,
            gone=found.gone,
            new=found.new,
            marks={name: one.mark for name, one in answers.items()},
            marked={name: one.marked for name, one in answers.items()},
            before_outage={
                name: one.before_outage for name, one in answers.items()
            },
            highest={name: one.highest for name, one in answers.items()},
            computes={
                one.host: one for one in own if one.binary == layout.COMPUTE
            },
            services=(
                *(one for one in own if one.binary != layout.COMPUTE),
                *layout.of_cinder(self._cloud),
            ),
            volumes=both[0],
            no_volumes=both[1],
            devices=found.devices,
            groups=groups.names,
            silent={
                name: error.reason
                for name, error in {**unknown, **silent}.items()
                if name in matter or name in silent
            },
            disabled=tuple(cell.name for cell in databases.disabled),
            agents=recorded.agents if recorded else {},
            hosts_before=self._before,
            hosts_now=self._now,
            of_hosts=self._of_hosts,
        )


class _Found:
    """The answers of the cells, put together with the snapshot."""

    def __init__(
        self,
        scope: Scope,
        places: Layout,
        groups: Groups,
        recorded: Record | None,
        answers: Mapping[str, Answer],
        asked: Asked,
    ) -> None:
        self._scope, self._asked = scope, asked
        known = recorded.servers if recorded else {}
        self.servers: dict[str, Server] = {}
        self.new: frozenset[str] = frozenset()
        devices: dict[str, tuple[Device, ...]] = {}
        new = set()
        elsewhere: dict[str, Row] = {}
        deleted: set[str] = set()
        for name, answer in answers.items():
            elsewhere |= answer.elsewhere
            deleted |= answer.deleted
            has = recorded is not None and name in recorded.about.cells
            for uuid, row in answer.servers.items():
                one = known.get(uuid)
                if has and one is None:
                    new.add(uuid)
                devices[uuid] = answer.devices.get(uuid, ())
                self.servers[uuid] = cells.server(
                    row,
                    name,
                    places.zone(row['host']),
                    groups.members.get(uuid),
                    one.before if one else None,
                    answer,
                )
        self.new = frozenset(new)
        self.gone = tuple(
            Gone(
                uuid=uuid,
                name=known[uuid].name,
                cell=known[uuid].cell,
                project=known[uuid].project,
                before=known[uuid].before,
                deleted=uuid in deleted,
                host=(elsewhere[uuid]['host'] or 'no host')
                if uuid in elsewhere
                else None,
            )
            for uuid in sorted(asked.expected)
            if uuid not in self.servers and known[uuid].cell in answers
        )
        if recorded is not None:
            devices |= recorded.devices(set(self.servers))
        self.devices = {uuid: some for uuid, some in devices.items() if some}

    def own(self, services: Mapping[str, Services]) -> list[Service]:
        """The services of the cells, nova-compute only of the scope."""
        hosts = self._asked.hosts
        return [
            one
            for name, some in services.items()
            if not self._scope.cells or name in self._scope.cells
            for one in some.services
            if hosts is None
            or one.binary != layout.COMPUTE
            or one.host in hosts
        ]


def _outage(
    services: Sequence[Service],
    since: datetime.datetime | None,
    recorded: Record | None,
    down_time: int,
    interval: int,
) -> Outage:
    if since is not None:
        return Outage(since, 'given')
    about = recorded.about if recorded else None
    seen = [
        one.last_seen
        for one in services
        if one.binary == layout.COMPUTE
        and one.state == records.DOWN
        and one.last_seen
        and (about is None or about.dark or _since(about, one, down_time))
    ]
    if seen:
        return Outage(max(seen), 'heartbeat', interval)
    if about is not None and about.taken_at:
        return Outage(about.taken_at, 'snapshot')
    return Outage()


def _since(about: Recorded, one: Service, down_time: int) -> bool:
    """Whether it was alive in the snapshot: not dead for months already."""
    taken = about.moments.get(one.cell)
    return (
        taken is None
        or one.last_seen is None
        or (taken - one.last_seen).total_seconds() <= down_time
    )


def _marks(
    recorded: Record | None, given: Mapping[str, int] | None
) -> dict[str, int]:
    marks = {
        cell: markers['instance_actions']
        for cell, markers in (
            recorded.about.markers if recorded else {}
        ).items()
        if 'instance_actions' in markers
    }
    return {**marks, **(given or {})}


def _expected(
    recorded: Record | None, scope: Scope, meant: frozenset[str] | None
) -> frozenset[str]:
    """The servers of the snapshot that were in the scope."""
    if recorded is None:
        return frozenset()
    return frozenset(
        uuid
        for uuid, one in recorded.servers.items()
        if (not scope.cells or one.cell in scope.cells)
        and (meant is None or one.before.host in meant)
        and (not scope.projects or one.project in scope.projects)
        and (not scope.servers or uuid in scope.servers)
    )


def running(
    cloud: Cloud, servers: Sequence[Server], holding: bool = False
) -> dict[str, bool | None]:
    """Ask the compute of each server whether its guest runs.

    :param holding: or is paused, and holds its volumes
    :returns: UUID -> None where the compute can't tell
    :raises ApiUnavailable: nova doesn't answer at all
    """
    if not servers:
        return {}
    compute = cloud.compute
    compute.ping()

    def ask(server: Server) -> bool | None:
        try:
            if holding:
                return not compute.off(server.uuid)
            return compute.runs(server.uuid)
        except RecoveryError:
            # it was deleted, or its compute doesn't answer
            return None

    with futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return dict(
            pairs((server.uuid for server in servers), pool.map(ask, servers))
        )


#: Both sides of volumes; None: not known, and why.
Both = tuple['volumes_module.BothSides | None', str]

#: Why volumes may not be known, when everything else is.
_NO_VOLUMES = (ConfigError, DatabaseUnavailable, SchemaUnknown)


def _volumes_of(
    cloud: Cloud,
    servers: Collection[str],
    gone: Collection[str],
    devices: Mapping[str, Sequence[Device]],
    only: Collection[str] | None = None,
) -> Both:
    """Both sides of the volumes that servers have, or had.

    :param gone: servers that are no more
    :param devices: server -> what it has, or had
    :param only: nothing but these volumes
    """
    if only is not None:
        return _both_sides(cloud, only, servers)
    ids = {device.volume for some in devices.values() for device in some}
    try:
        ids |= _attached(volumes_read.cinder(cloud), {*servers, *gone})
    except _NO_VOLUMES as error:
        return None, str(error)
    return _both_sides(cloud, ids, servers)


def _both_sides(
    cloud: Cloud, ids: Collection[str] | None, servers: Collection[str]
) -> Both:
    """Both sides of volumes; None for all of them."""
    try:
        return volumes_read.both_sides(cloud, ids, servers), ''
    except _NO_VOLUMES as error:
        return None, str(error)


def _attached(cinder: Database, servers: set[str]) -> set[str]:
    """The volumes that cinder has attached to servers.

    Read whole: no index leads from a server to its attachments.
    """
    schema.require(cinder, 'volume-attachment')
    with rows.Reader.of(cinder) as reader:
        return {
            row['volume_id']
            for row in reader.select(
                'volume_attachment', ('volume_id', 'instance_uuid')
            )
            if row['instance_uuid'] in servers
        }
