# SPDX-License-Identifier: Apache-2.0

"""The databases are not older than the snapshot.

A restored dump that is older has forgotten servers, volumes and what was
done since; what the hosts and the storage have is then of another time.
Nothing may be started on such a database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
from typing import Any

import sqlalchemy as sa

from nova_recovery import readiness
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.databases import each
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.engine import printable
from nova_recovery.engine.findings import Finding
from nova_recovery.readiness import Site
from nova_recovery.snapshot import cells, volumes
from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot.reading import Snapshot, Source

LAYER = 'age'
#: In what a finding has besides: it is unknown, since the server forgets.
FORGETS = 'forgets'
_EXPECTED = 'not older than the snapshot'
_REMEDY = (
    'start nothing; restore a newer dump of {schema} and replay the binary '
    'logs up to the outage'
)


@dataclasses.dataclass(frozen=True)
class Marks:
    """What only grows in a database.

    :ivar numbers: table -> its highest id, or newest time
    :ivar reports: services.id -> (who it is, how often it reported)
    :ivar forgets: its server gives ids of rows that were purged again after
        a restart (MariaDB before 10.2.4, MySQL before 8)
    """

    numbers: Mapping[str, Any]
    reports: Mapping[int, tuple[str, int]] = dataclasses.field(
        default_factory=dict
    )
    forgets: bool = False


class Probe:
    """See :class:`nova_recovery.readiness.Probe`."""

    needs: tuple[str, ...] = ('database/*',)

    def rows(self, site: Site) -> Iterator[Finding]:
        with site.before() as snapshot:
            if snapshot is None:
                # Nobody can mend that afterwards, so it doesn't block.
                yield Finding(
                    LAYER,
                    readiness.GO,
                    'databases',
                    'no snapshot was named: how old they are is not judged',
                    _EXPECTED,
                )
                return
            before = {
                source.name: (source, _before(snapshot, source))
                for source in snapshot.sources
                if source.kind in ('cell', 'cinder')
                and source.state != format_module.ABSENT
            }
            taken = str(snapshot.meta.get('taken_at', ''))
        databases = _databases(site)
        asked = each(list(databases.values()), _now)
        for name, (source, marks) in before.items():
            database = databases.get(name)
            if database is None:
                yield _row(
                    name,
                    readiness.NO_GO,
                    'it is in the snapshot, and not in the cloud now',
                    'map the cell again: nova-manage cell_v2 create_cell',
                )
                continue
            now = asked[database.name]
            if source.state == format_module.UNKNOWN:
                yield _row(
                    name,
                    readiness.UNKNOWN,
                    f'the snapshot could not read it: {source.detail}',
                    'name a snapshot that has it with --snapshot',
                )
            elif isinstance(now, Exception):
                yield _row(
                    name, readiness.UNKNOWN, str(now), 'mend the database'
                )
            else:
                yield judge(name, marks, now, taken, database.schema or name)


def judge(
    name: str, before: Marks, now: Marks, taken: str, database: str
) -> Finding:
    """Compare what only grows."""
    older = [
        f'{table} {_column(then)} {_shown(now.numbers.get(table))}, '
        f'{_shown(then)} in the snapshot'
        for table, then in before.numbers.items()
        if then is not None and _less(now.numbers.get(table), then)
    ]
    lower = [
        f'services.report_count of {who} (id {number}) '
        f'{now.reports[number][1]}, {then} in the snapshot'
        for number, (who, then) in sorted(before.reports.items())
        if number in now.reports and now.reports[number][1] < then
    ]
    if lower:
        older.append(printable.some(lower, 1))
    if older and now.forgets and not lower:
        return dataclasses.replace(
            _row(
                name,
                readiness.UNKNOWN,
                f'not the ids of the snapshot of {taken}: {"; ".join(older)}; '
                'no heartbeat is older. Its server forgets ids at a restart '
                'whose rows were purged',
                'ask who ran archive_deleted_rows --purge since: then it is '
                f'not older; else {_REMEDY.format(schema=database)}',
            ),
            more={FORGETS: True},
        )
    if older:
        return _row(
            name,
            readiness.NO_GO,
            f'older than the snapshot of {taken}: ' + '; '.join(older),
            _REMEDY.format(schema=database),
        )
    counted = ', '.join(
        f'{table} {_shown(now.numbers.get(table))} (was {_shown(then)})'
        for table, then in before.numbers.items()
        if then is not None
    )
    return _row(name, readiness.GO, counted or 'it was empty then', '')


def _before(snapshot: Snapshot, source: Source) -> Marks:
    return Marks(
        numbers=source.markers,
        reports={
            row['id']: (f'{row["binary"]} {row["host"]}', row['report_count'])
            for row in snapshot.rows('services', source=source.name)
            if row['report_count'] is not None
        },
    )


def _databases(site: Site) -> dict[str, Database]:
    """As the sources of a snapshot are called."""
    found = site.cloud.databases
    named = {f'cell:{one.cell.name}': one.database for one in found.cells}
    if found.cinder is not None:
        named['cinder'] = found.cinder
    return named


def _now(database: Database) -> Marks:
    with Reader.of(database) as reader:
        if database.tables.has('instances', 'uuid'):
            numbers = {
                table: _highest(reader, table) for table in cells.MARKERS
            }
        else:
            numbers = volumes.markers(reader)
        reports: dict[int, tuple[str, int]] = {}
        if database.tables.has('services', 'report_count'):
            for row in reader.select(
                'services', ('id', 'binary', 'host', 'report_count')
            ):
                reports[row['id']] = (
                    f'{row["binary"]} {row["host"]}',
                    row['report_count'] or 0,
                )
        forgets = _forgets(reader.connection)
    return Marks(numbers, reports, forgets)


def _forgets(connection: sa.engine.Connection) -> bool:
    """Whether AUTO_INCREMENT is the highest row's after each restart."""
    dialect: Any = connection.dialect
    version = tuple(dialect.server_version_info or ())[:3]
    return version < ((10, 2, 4) if dialect.is_mariadb else (8,))


def _highest(reader: Reader, table: str) -> Any:
    """The highest id that was ever given.

    Also of what ``archive_deleted_rows`` moved away, and of what its
    ``--purge`` deleted: the next one to be given tells of these.
    """
    found = [
        number
        for number in (
            reader.highest(table),
            reader.highest(f'shadow_{table}'),
            _given(reader, table),
        )
        if number is not None
    ]
    return max(found, default=None)


def _given(reader: Reader, table: str) -> int | None:
    """The last id that an empty table would have had; None: not known.

    A dump has it too (``AUTO_INCREMENT=`` of CREATE TABLE), so that an older
    one has a lower. MySQL 8 answers from a cache of a day, which is never
    ahead: it is asked past that.
    """
    connection = reader.connection
    dialect: Any = connection.dialect
    if not dialect.is_mariadb and dialect.server_version_info >= (8,):
        connection.exec_driver_sql(
            'SET SESSION information_schema_stats_expiry = 0'
        )
    row = connection.execute(
        sa.text(
            'SELECT AUTO_INCREMENT FROM information_schema.TABLES '
            'WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = :name'
        ),
        {'name': table},
    ).scalar()
    return None if row is None else int(row) - 1


def _less(now: Any, then: Any) -> bool:
    return now is None or now < then


def _column(value: Any) -> str:
    return 'updated_at' if isinstance(value, str) else 'id'


def _shown(value: Any) -> str:
    if value is None:
        return 'none'
    return f'{value}Z' if isinstance(value, str) else str(value)


def _row(subject: str, state: str, observed: str, remedy: str) -> Finding:
    return Finding(
        LAYER,
        state,
        subject.removeprefix('cell:'),
        observed,
        _EXPECTED,
        remedy,
    )
