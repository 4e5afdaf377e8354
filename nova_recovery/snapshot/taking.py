# SPDX-License-Identifier: Apache-2.0

"""Taking a snapshot: every database in one transaction of its own.

All transactions are begun before the first row is read, so that the moments
of the databases are close to each other; how close is written down. What
does not answer is written down as unknown, and the rest is saved.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import json
import os
import socket
import time
from typing import Any

from oslo_db import exception as db_exception
from oslo_utils import timeutils
from sqlalchemy import exc

from nova_recovery import version
from nova_recovery.cloud import clock, secrets
from nova_recovery.cloud.cloud import Cloud
from nova_recovery.cloud.db import identity
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import Databases
from nova_recovery.exceptions import (
    ApiUnavailable,
    DatabaseUnavailable,
    NotFound,
    RecoveryError,
    SchemaUnknown,
)
from nova_recovery.host import local
from nova_recovery.snapshot import (
    apis,
    cells,
    masking,
    reading,
    store,
    volumes,
)
from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot.reading import Snapshot, Source
from nova_recovery.snapshot.streams import Stream
from nova_recovery.snapshot.writing import Progress, Writer

CELL, API, CINDER, HOST = 'cell', 'api', 'cinder', 'host'
NEUTRON, PLACEMENT = 'neutron', 'placement'
RULES = 'rules'

_SECTIONS = {
    CELL: cells.SECTIONS,
    API: ('aggregates',),
    CINDER: ('volumes', 'attachments', 'services'),
    NEUTRON: ('ports', 'agents'),
    PLACEMENT: ('allocations',),
    HOST: tuple(section.name for section in format_module.HOST),
}


@dataclasses.dataclass(frozen=True)
class Rules:
    """The packet filter of a host, as it told when it was asked.

    :ivar chains: ``iptables:filter:INPUT`` -> head and rules
    :ivar why: tool -> why its chains are not known
    :ivar problem: why nothing is known; '' if something is
    """

    host: str
    taken_at: str
    machine_id: str = ''
    chains: Mapping[str, Sequence[str]] = dataclasses.field(
        default_factory=dict
    )
    why: Mapping[str, str] = dataclasses.field(default_factory=dict)
    problem: str = ''


@dataclasses.dataclass(frozen=True)
class Request:
    """What a snapshot is made of.

    :ivar path: the new file; '' for a name in the configured directory
    :ivar local: the host on which this runs too
    :ivar apis: ask neutron and placement
    :ivar merge: files whose hosts are taken over
    :ivar rules: of hosts that were asked
    """

    path: str = ''
    local: bool = False
    apis: bool = True
    merge: tuple[str, ...] = ()
    rules: tuple[Rules, ...] = ()


def take(cloud: Cloud, request: Request, progress: Progress) -> str:
    """Take a snapshot; the path of its file.

    :raises RecoveryError: it can't be written, a file to be merged is
        damaged, or the configuration leads to no database (which is fine
        with ``local`` or ``merge``)
    """
    merged = [_opened(path) for path in request.merge]
    with contextlib.ExitStack() as stack:
        for snapshot in merged:
            stack.enter_context(snapshot)
        databases = _has_databases(cloud) or not (request.local or merged)
        if databases:
            # wrong settings end it before a file is made
            _ = cloud.databases
        path = request.path or _new_path(cloud, request, databases)
        with Writer(path, progress) as writer:
            writer.meta(
                taken_at=clock.now(),
                machine=socket.gethostname(),
                program=version.version(),
            )
            if databases:
                ours = sorted(identity.of(cloud))
                writer.meta(cloud=json.dumps(ours))
                _Cloud(cloud, writer).write(request.apis)
            if request.local:
                _local(cloud, writer)
            _merge(writer, merged, cloud.nova.host if request.local else '')
            for one in request.rules:
                _rules(writer, one)
            writer.finish()
    return path


def prune(cloud: Cloud, kept: Collection[str] = ()) -> list[str]:
    """Delete the snapshots that need not be kept; their names.

    :param kept: paths of those that a run needs
    """
    conf = cloud.conf.snapshot
    return store.prune(
        conf.directory,
        conf.keep_count,
        conf.keep_days,
        timeutils.utcnow(),
        kept,
        cloud.nova.service_down_time,
    )


def _has_databases(cloud: Cloud) -> bool:
    """Whether the configuration names any, as a controller's does.

    The nova.conf of a compute host has none, and needs none.
    """
    nova = cloud.nova
    return bool(
        nova.api_database or nova.database or cloud.conf.cells.connection
    )


def _new_path(cloud: Cloud, request: Request, databases: bool) -> str:
    directory = cloud.conf.snapshot.directory
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise RecoveryError(
            f"{directory}: can't be made: {error.strerror}"
        ) from error
    host = ''
    if not databases:
        host = cloud.nova.host if request.local else 'hosts'
    name = store.new_name(timeutils.utcnow(), host)
    return os.path.join(directory, name)


class _Reading:
    """A database in a transaction that lasts until it was read."""

    def __init__(self, kind: str, source: str, database: Database) -> None:
        self.kind, self.source, self.database = kind, source, database
        self.stack = contextlib.ExitStack()
        self.stream: Stream | None = None
        self.taken_at = ''
        self.began = 0.0

    def begin(self) -> Stream:
        """Begin the transaction, anew if a proxy has cut it off meanwhile.

        :raises DatabaseUnavailable: it doesn't answer
        """
        if self.stream is not None:
            with contextlib.suppress(
                exc.SQLAlchemyError, db_exception.DBError
            ):
                self.stream.moment()
                return self.stream
            self.stack.close()
        connection = self.stack.enter_context(self.database.reader())
        self.stream = Stream(self.source, self.database, connection)
        self.began = time.monotonic()
        self.taken_at = self.stream.moment()
        return self.stream


class _Cloud:
    """The databases and APIs, written into a file."""

    def __init__(self, cloud: Cloud, writer: Writer) -> None:
        self._cloud, self._writer = cloud, writer

    def write(self, with_apis: bool) -> None:
        found = self._cloud.databases
        readings = [
            _Reading(CELL, f'cell:{cell.cell.name}', cell.database)
            for cell in found.cells
        ]
        if found.cinder is not None:
            readings.append(_Reading(CINDER, 'cinder', found.cinder))
        if found.api is not None:
            readings.append(_Reading(API, 'api', found.api))
        began = time.monotonic()
        for one in readings:
            with contextlib.suppress(DatabaseUnavailable):
                # it is told when it is this one's turn
                one.begin()
        known = [self._read(one, began) for one in readings]
        for cell in found.disabled:
            # nothing new is put there, but what is there may be in use
            self._unknown(CELL, f'cell:{cell.name}', 'the cell is disabled')
        if found.cinder is None:
            self._without_cinder()
        self._differences(found, all(known) and not found.disabled)
        if with_apis:
            self._apis()
        else:
            for kind in (NEUTRON, PLACEMENT):
                self._not_there(kind, kind, 'not asked (--no-api)')

    def _read(self, one: _Reading, began: float) -> bool:
        with one.stack:
            try:
                stream = one.begin()
                markers = self._write_database(one.kind, stream)
            except (DatabaseUnavailable, SchemaUnknown) as error:
                reason = getattr(error, 'reason', str(error))
                self._unknown(one.kind, one.source, reason)
                return False
        self._writer.source(
            one.source,
            one.kind,
            taken_at=one.taken_at,
            offset=round(one.began - began, 3),
            markers=markers,
            detail=one.database.schema or '',
        )
        return True

    def _write_database(self, kind: str, stream: Stream) -> dict[str, Any]:
        if kind == CELL:
            template = self._cloud.nova.instance_name_template
            cells.write(stream, self._writer, template)
            return cells.markers(stream)
        if kind == CINDER:
            volumes.write(stream, self._writer)
            return volumes.markers(stream)
        rows = cells.aggregates(stream)
        if rows is None:
            # before Ocata they are in the cell
            self._writer.missing(
                'aggregates', 'api', format_module.ABSENT, 'no such table'
            )
        else:
            self._writer.part('aggregates', 'api', rows)
        return {}

    def _unknown(self, kind: str, source: str, reason: str) -> None:
        self._writer.source(source, kind, format_module.UNKNOWN, detail=reason)
        for section in _SECTIONS[kind]:
            if not self._writer.has(section, source):
                self._writer.missing(
                    section, source, format_module.UNKNOWN, reason
                )

    def _not_there(self, kind: str, source: str, reason: str) -> None:
        self._writer.source(source, kind, format_module.ABSENT, detail=reason)
        for section in _SECTIONS[kind]:
            self._writer.missing(section, source, format_module.ABSENT, reason)

    def _without_cinder(self) -> None:
        """Whether that is as it should be, only the servers can tell."""
        ((mapped,),) = self._writer.select(
            'SELECT count(*) FROM devices WHERE volume IS NOT NULL'
        )
        ((own,),) = self._writer.select('SELECT count(*) FROM volumes')
        if mapped and not own:
            self._unknown(
                CINDER,
                'cinder',
                'servers have volumes, but no cinder.conf was found: give '
                'it with --cinder-config-file',
            )
        else:
            self._not_there(CINDER, 'cinder', 'no cinder.conf was found')

    def _differences(self, found: Databases, known: bool) -> None:
        self._writer.source('nova and cinder', 'both')
        if found.cinder is None:
            state, reason = format_module.ABSENT, 'cinder was not read'
        elif not known:
            state, reason = format_module.UNKNOWN, 'not all databases answered'
        else:
            try:
                self._writer.part(
                    'differences',
                    'nova and cinder',
                    volumes.differences(
                        self._writer,
                        [cell.database for cell in found.cells],
                        found.cinder,
                    ),
                )
                return
            except DatabaseUnavailable as error:
                state, reason = format_module.UNKNOWN, str(error)
        self._writer.missing('differences', 'nova and cinder', state, reason)

    def _apis(self) -> None:
        timeout = self._cloud.conf.timeouts.api
        asked: tuple[tuple[str, dict[str, Any]], ...] = (
            (NEUTRON, {'ports': apis.ports, 'agents': apis.agents}),
            (PLACEMENT, {'allocations': apis.allocations}),
        )
        for kind, questions in asked:
            try:
                connection = self._cloud.connection
                taken_at = clock.now()
                for section, ask in questions.items():
                    self._writer.part(section, kind, ask(connection, timeout))
            except (ApiUnavailable, NotFound) as error:
                self._unknown(kind, kind, secrets.mask_text(str(error)))
            else:
                self._writer.source(kind, kind, taken_at=taken_at)


def _local(cloud: Cloud, writer: Writer) -> None:
    source = f'host:{cloud.nova.host}'
    taken_at = clock.now()
    worst = format_module.COMPLETE
    for section, answer in local.look().items():
        if answer.rows is not None:
            writer.part(section, source, _masked(section, answer.rows))
        elif answer.absent:
            writer.missing(
                section, source, format_module.ABSENT, answer.problem
            )
        else:
            worst = format_module.UNKNOWN
            writer.missing(
                section, source, worst, secrets.mask_text(answer.problem)
            )
    writer.source(source, HOST, worst, taken_at)


def _rules(writer: Writer, one: Rules) -> None:
    source = f'{RULES}:{one.host}'
    section = format_module.CHAINS.name
    if one.problem:
        state, problem = format_module.UNKNOWN, secrets.mask_text(one.problem)
        writer.missing(section, source, state, problem)
        writer.source(source, RULES, state, one.taken_at, detail=problem)
        return
    rows: list[tuple[str | None, ...]] = []
    for name, lines in one.chains.items():
        tool, _colon, chain = name.partition(':')
        rows.append((tool, chain, '\n'.join(lines), None))
    rows += [(tool, None, None, why) for tool, why in one.why.items()]
    writer.part(section, source, rows)
    writer.source(
        source,
        RULES,
        format_module.UNKNOWN if one.why else format_module.COMPLETE,
        one.taken_at,
        detail=one.machine_id,
    )


def _masked(
    section: str, rows: list[tuple[Any, ...]]
) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        if section in ('mounts', 'fstab'):
            # the options of a mount, the line of fstab; a device may be a
            # URL with a password
            yield tuple(
                masking.options(v) if isinstance(v, str) else v for v in row
            )
        else:
            yield row


def _opened(path: str) -> Snapshot:
    snapshot = Snapshot(path)
    problems = reading.problems(snapshot)
    if problems:
        raise RecoveryError(f'snapshot {path}: damaged: {problems[0]}')
    return snapshot


def _merge(writer: Writer, snapshots: Sequence[Snapshot], here: str) -> None:
    """Take the hosts over, of one in several files the newest section.

    :param here: the host that was just looked at itself
    """
    newest: dict[str, tuple[Source, Snapshot]] = {}
    for snapshot in snapshots:
        for source in snapshot.sources:
            if source.kind != HOST or source.name == f'host:{here}':
                continue
            other = newest.get(source.name)
            if other is None or (source.taken_at or '') > (
                other[0].taken_at or ''
            ):
                newest[source.name] = (source, snapshot)
    for source, snapshot in newest.values():
        writer.source(
            source.name,
            HOST,
            source.state,
            source.taken_at,
            detail=source.detail,
        )
        for part in snapshot.parts:
            if part.source != source.name:
                continue
            if part.state != format_module.COMPLETE:
                writer.missing(
                    part.section, part.source, part.state, part.detail
                )
                continue
            rows = snapshot.rows(part.section, source=part.source)
            writer.part(
                part.section,
                part.source,
                (tuple(row.values())[1:] for row in rows),
            )
