# SPDX-License-Identifier: Apache-2.0

"""Volumes, their attachments and connectors, as cinder has them."""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable, Mapping
import dataclasses
import datetime
import json
from typing import Any

import sqlalchemy as sa

from nova_recovery import exceptions
from nova_recovery.cloud import secrets
from nova_recovery.cloud.db import schema
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.db.rows import Reader
from nova_recovery.exceptions import Ambiguous, NotFound

#: Statuses that are of attachments; all others are cinder's own work
#: (creating, deleting, error_deleting, backing-up, retyping, maintenance,
#: awaiting-transfer …, and what a later release may add) and are never
#: touched.
OF_ATTACHMENTS = frozenset(
    {
        'available',
        'in-use',
        'reserved',
        'attaching',
        'detaching',
        'error_attaching',
        'error_detaching',
        'error',
    }
)
#: So many volumes are looked at for those that may be meant.
_LOOKED_AT = 500
#: Those of a volume or an attachment that is on its way to another.
BETWEEN = frozenset({'reserved', 'attaching', 'detaching'})
#: ``migration_status`` of a volume that isn't being migrated: the last two
#: stay for ever (``AVAILABLE_MIGRATION_STATUS`` in cinder/volume/api.py).
NOT_MIGRATING = frozenset({None, '', 'none', 'success', 'error'})
#: What connection data always has. Judged by the database: the text itself
#: holds secrets and is most of what a mapping weighs.
CONNECTED = '%driver_volume_type%'


@dataclasses.dataclass(frozen=True)
class Attachment:
    """A live row of ``volume_attachment``.

    :ivar server: UUID; None where a host, not a server, uses the volume
    :ivar connected: cinder has connection data for it; None before Queens,
        which didn't store any
    """

    id: str
    volume: str
    server: str | None
    status: str
    host: str | None
    mode: str
    connected: bool | None


@dataclasses.dataclass(frozen=True)
class Volume:
    """A live row of ``volumes``.

    :ivar age: seconds since cinder last changed it or an attachment of it:
        cinder's clock told when that was, the database's tells what time it
        is now; None: unknown
    :ivar changed: when that was, by cinder's clock
    :ivar watched: seconds by our own clock over which it was seen to stay as
        it is, 0 if it did not; None: it was looked at once only
    :ivar host: the cinder-volume that has it, ``host@backend#pool``
    """

    id: str
    name: str
    project: str | None
    status: str
    attach_status: str
    migration_status: str | None
    multiattach: bool
    age: float | None
    attachments: tuple[Attachment, ...] = ()
    host: str | None = None
    changed: datetime.datetime | None = None
    watched: float | None = None

    @property
    def between(self) -> bool:
        """Whether it or an attachment of it is on its way, by its status."""
        says = {self.status, *(one.status for one in self.attachments)}
        return bool(says & BETWEEN)

    @property
    def stamp(self) -> str | None:
        """When cinder last changed it, as a plan keeps it."""
        return self.changed.isoformat() if self.changed else None

    def same(self, earlier: Volume | None) -> bool:
        """Whether cinder left it alone since an earlier look."""
        return earlier is not None and self == dataclasses.replace(
            earlier, age=self.age, watched=self.watched
        )


#: Modes of an attachment: its server may write, or read only.
MODES = ('rw', 'ro')
#: Server and volume.
Pair = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Access:
    """What cinder has of how a server may use a volume.

    :ivar mode: of the attachment that it has, or had: one of ``MODES``; '':
        its row doesn't tell; None: there is no row of one
    :ivar read_only: cinder makes all attachments of the volume read-only,
        whatever they are asked to be
    """

    mode: str | None = None
    read_only: bool = False


#: What belongs to one attachment rather than to the host.
_OF_THE_ATTACHMENT = ('mountpoint', 'mode', 'instance_uuid')

_VOLUME = (
    'id',
    'display_name',
    'project_id',
    'status',
    'attach_status',
    'migration_status',
    'multiattach',
    'host',
    'created_at',
    'updated_at',
)
_ATTACHMENT = (
    'id',
    'volume_id',
    'instance_uuid',
    'attach_status',
    'attached_host',
    'attach_mode',
    'created_at',
    'updated_at',
)


def of_cinder(
    cinder: Database, ids: Collection[str] | None = None
) -> dict[str, Volume]:
    """Return live volumes with their live attachments, by id.

    :param ids: only these; None: all
    :raises SchemaUnknown: cinder before Kilo, without attachments
    """
    schema.require(cinder, 'volume-attachment')
    columns = cinder.tables['volume_attachment'].c
    stored = 'connection_info' in columns
    connected: Any = sa.null()
    if stored:
        connected = columns.connection_info.like(CONNECTED)
    with Reader.of(cinder) as reader:
        now = reader.now()
        found = list(reader.select('volumes', _VOLUME, 'id', ids))
        by_volume: dict[str, list[tuple[Attachment, Any]]] = {}
        for row in reader.select(
            'volume_attachment',
            _ATTACHMENT,
            'volume_id',
            ids,
            given={'connected': connected},
        ):
            # as cinder reads them (volume_attachment_get_all_by_volume_id)
            if row['attach_status'] != 'detached':
                by_volume.setdefault(row['volume_id'], []).append(
                    (_attachment(row, stored), _changed(row))
                )
    return {
        row['id']: _volume(row, by_volume.get(row['id'], []), now)
        for row in found
    }


def find(cinder: Database, text: str) -> str:
    """The UUID of the one live volume of this name.

    :raises NotFound: there is none
    :raises Ambiguous: several have it
    :raises DatabaseUnavailable: cinder's database doesn't answer
    """
    table = cinder.tables['volumes']
    begin = text[: max(2, len(text) // 2)]
    query = sa.select(
        table.c.id, table.c.display_name, table.c.status, table.c.project_id
    ).where(schema.live(table))
    alike = sa.or_(
        table.c.display_name.contains(text, autoescape=True),
        table.c.display_name.startswith(begin, autoescape=True),
        table.c.id.startswith(text.lower(), autoescape=True),
    )
    with cinder.reader() as connection:
        found = [
            row
            for row in connection.execute(
                query.where(table.c.display_name == text)
            )
            # MySQL compares without regard to case or trailing blanks
            if row[1] == text
        ]
        if len(found) == 1:
            return str(found[0][0])
        if found:
            raise Ambiguous(
                f'{len(found)} volumes are called {text}; give the UUID',
                [_candidate(row) for row in found],
            )
        some = list(connection.execute(query.where(alike).limit(_LOOKED_AT)))
    names = exceptions.near(text, {row[1] or '' for row in some})
    meant = [row for row in some if row[0].startswith(text.lower())]
    meant += [row for name in names for row in some if row[1] == name]
    told = list(dict.fromkeys(map(_candidate, meant)))
    raise NotFound(f'no volume {text}', told[: exceptions.NEAR])


def _candidate(row: Any) -> str:
    return '  '.join(map(str, filter(None, row)))


def _changed(row: Any) -> datetime.datetime | None:
    return row['updated_at'] or row['created_at']


def _volume(
    row: Any, attached: list[tuple[Attachment, Any]], now: Any
) -> Volume:
    times = [
        time for time in (_changed(row), *(t for _, t in attached)) if time
    ]
    return Volume(
        id=row['id'],
        name=row['display_name'] or '',
        project=row['project_id'],
        status=row['status'] or '',
        attach_status=row['attach_status'] or 'detached',
        migration_status=row['migration_status'],
        multiattach=bool(row['multiattach']),
        age=(now - max(times)).total_seconds() if times else None,
        attachments=tuple(
            sorted((one for one, _ in attached), key=lambda one: one.id)
        ),
        host=row['host'],
        changed=max(times, default=None),
    )


def _attachment(row: Any, stored: bool) -> Attachment:
    return Attachment(
        id=row['id'],
        volume=row['volume_id'],
        server=row['instance_uuid'],
        status=row['attach_status'] or '',
        host=row['attached_host'],
        mode=row['attach_mode'] or '',
        connected=bool(row['connected']) if stored else None,
    )


def connectors(
    cinder: Database, attachments: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """How each attachment is connected (Queens and later store it).

    :returns: attachment id -> {'mode', 'connector': the host's, or None};
        nothing where cinder is too old to store it
    """
    if not cinder.tables.has('volume_attachment', 'connector'):
        return {}
    with Reader.of(cinder) as reader:
        return {
            row['id']: {
                'mode': row['attach_mode'] or '',
                'connector': _connector(row['connector']),
            }
            for row in reader.select(
                'volume_attachment',
                ('id', 'attach_mode', 'connector'),
                'id',
                attachments,
                deleted=True,
            )
        }


def access(
    cinder: Database, named: Mapping[Pair, str | None]
) -> dict[Pair, Access]:
    """How servers may use volumes, as cinder has it.

    The rows of deleted attachments stay until they are purged: what nova
    names tells, else the newest one of the pair.

    :param named: (server, volume) -> the attachment that nova names
    """
    if not cinder.tables.has('volume_attachment', 'attach_mode'):
        return dict.fromkeys(named, Access())
    ids = {volume for _, volume in named}
    rows: dict[Pair, list[Any]] = collections.defaultdict(list)
    with Reader.of(cinder) as reader:
        read_only = _read_only(reader, ids)
        for row in reader.select(
            'volume_attachment', _ATTACHMENT, 'volume_id', ids, deleted=True
        ):
            rows[row['instance_uuid'], row['volume_id']].append(row)
    return {
        pair: Access(_mode(rows[pair], one), pair[1] in read_only)
        for pair, one in named.items()
    }


def _mode(rows: list[Any], named: str | None) -> str | None:
    """The mode that the attachments of a pair have, see ``Access``."""
    if not rows:
        return None
    rows = sorted(
        rows,
        key=lambda row: (
            row['id'] == named,
            _changed(row) or datetime.datetime.min,
        ),
    )
    # 'null' is of one that was made without a mode and never connected:
    # cinder makes it writable when it connects it (attachment_update in
    # cinder/volume/manager.py).
    connected = [row for row in rows if row['attach_mode'] != 'null']
    if not connected:
        return 'rw'
    mode = connected[-1]['attach_mode']
    return mode if mode in MODES else ''


def _read_only(reader: Reader, ids: Collection[str]) -> set[str]:
    """Those that cinder attaches read-only.

    What ``openstack volume set --read-only`` sets; ``attachment_create`` in
    cinder/volume/api.py goes by it.
    """
    if not reader.database.tables.has('volume_admin_metadata'):
        return set()
    return {
        row['volume_id']
        for row in reader.select(
            'volume_admin_metadata',
            ('volume_id', 'key', 'value'),
            'volume_id',
            ids,
        )
        if row['key'] == 'readonly' and row['value'] == 'True'
    }


def host_connectors(
    cinder: Database, hosts: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """The connector of each host, from any live attachment to it.

    It is the same for all volumes of a host: its initiator, its addresses.
    Nothing where cinder is too old to store it.
    """
    if not cinder.tables.has('volume_attachment', 'connector'):
        return {}
    found: dict[str, dict[str, Any]] = {}
    connector = cinder.tables['volume_attachment'].c.connector
    with Reader.of(cinder) as reader:
        for row in sorted(
            reader.select(
                'volume_attachment',
                ('attached_host', 'connector', 'updated_at'),
                'attached_host',
                hosts,
                connector.is_not(None),
            ),
            key=lambda row: row['updated_at'] or datetime.datetime.min,
        ):
            host, own = row['attached_host'], _connector(row['connector'])
            if own and own.get('host') == host:
                found[host] = own
    return found


def _connector(text: str | None) -> dict[str, Any] | None:
    if not text:
        return None
    connector = secrets.mask(json.loads(text))
    return {k: v for k, v in connector.items() if k not in _OF_THE_ATTACHMENT}
