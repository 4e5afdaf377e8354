# SPDX-License-Identifier: Apache-2.0

"""Set what cinder says of a volume, by compare-and-set on its rows.

What ``os-reset_status`` writes (``_reset_status`` in
cinder/api/contrib/admin_actions.py, ``volume_detached`` in
cinder/db/api.py), for the attachments that are named only.
"""

from __future__ import annotations

from typing import Any

from oslo_utils import timeutils
import sqlalchemy as sa

from nova_recovery.changes import volume_rows as rows
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud.db import cas, volumes
from nova_recovery.cloud.db.database import Database
from nova_recovery.engine.change import JSON, Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, Conflict


class ResetVolume(BaseChange):
    """One volume.

    Data: volume; seen and values, columns of ``volumes``; attachments, all
    live ones with their statuses; remove and complete, ids of some of them.
    """

    kind = 'reset-volume'

    def describe(self, item: Item) -> list[str]:
        seen, values = item.data['seen'], item.data['values']
        return [
            *(
                f'~ {name}  {seen[name]} -> {value}'
                for name, value in values.items()
                if seen[name] != value
            ),
            *(f'- attachment {one}' for one in item.data['remove']),
            *(
                f'~ attachment {one}  {item.data["attachments"][one]} -> '
                'attached'
                for one in item.data['complete']
            ),
        ]

    def observe(self, at: At) -> Observed:
        database = rows.cinder(at)
        with database.reader() as connection:
            row = rows.volume_row(connection, database, at.data['volume'])
            held = rows.attachments(connection, database, at.data['volume'])
            metadata = rows.attached_mode(
                connection, database, at.data['volume']
            )
        changed = _differences(row, at.data['seen'])
        if not changed and held == at.data['attachments']:
            if _nothing_to_do(at):
                return Observed.after('already so')
            image = {
                'metadata': metadata if _detached(at) else [],
                **rows.STAMPS,
            }
            return Observed.before(at.image if at.begun else image)
        if not _differences(row, at.data['values']) and held == _after(at):
            return Observed.after('already so')
        told = changed or {'attachments': (at.data['attachments'], held)}
        return Observed.neither(
            ', '.join(
                f'{name} was {was} and is {now}'
                for name, (was, now) in told.items()
            )
        )

    def apply(self, at: At) -> str:
        data = at.data
        # The status as it was seen stands in the UPDATE itself, so that one
        # of cinder's own (error_deleting, creating …) that came in between
        # is left as it is.
        if data['seen']['status'] not in volumes.OF_ATTACHMENTS:
            raise ChangeFailed(
                f'volume {data["volume"]} is {data["seen"]["status"]}, which '
                'is never overwritten'
            )
        database = rows.cinder(at)
        now = rows.stamp(at)

        def write(connection: sa.engine.Connection) -> None:
            # The volume first: cinder changes it with each attachment, so
            # that on Galera the two meet there.
            _update_volume(
                connection,
                database,
                data['volume'],
                data['seen'],
                {**data['values'], 'updated_at': now},
            )
            _expect(connection, database, at, data['attachments'])
            for one in data['remove']:
                _update_attachment(
                    connection,
                    database,
                    one,
                    {'attach_status': data['attachments'][one]},
                    {
                        'deleted': 1,
                        'deleted_at': now,
                        'detach_time': now,
                        'attach_status': 'detached',
                    },
                )
            for one in data['complete']:
                _update_attachment(
                    connection,
                    database,
                    one,
                    {'attach_status': data['attachments'][one]},
                    {'attach_status': 'attached', 'updated_at': now},
                )
            rows.set_metadata(connection, database, at.image['metadata'], now)

        database.write(write)
        values = data['values']
        return f'{values["status"]}, {values["attach_status"]}'

    def revert(self, at: At) -> str:
        if not rows.written(at):
            return 'it was not carried out'
        data = at.data
        database = rows.cinder(at)
        now = timeutils.utcnow()

        def write(connection: sa.engine.Connection) -> str:
            row = rows.volume_row(connection, database, data['volume'])
            held = rows.attachments(connection, database, data['volume'])
            if (
                not _differences(row, data['seen'])
                and held == data['attachments']
            ):
                return 'already as it was'
            _update_volume(
                connection,
                database,
                data['volume'],
                # cinder touches the row when the attachment that is made
                # after it comes and goes
                {
                    **data['values'],
                    **({} if data.get('attaches') else rows.ours(at)),
                },
                {
                    **{name: data['seen'][name] for name in data['values']},
                    'updated_at': now,
                },
            )
            _expect(connection, database, at, _after(at))
            for one in data['remove']:
                _update_attachment(
                    connection,
                    database,
                    one,
                    {
                        'attach_status': 'detached',
                        **rows.ours(at, 'deleted_at'),
                    },
                    {
                        'deleted': 0,
                        'deleted_at': None,
                        'detach_time': None,
                        'attach_status': data['attachments'][one],
                    },
                )
            for one in data['complete']:
                _update_attachment(
                    connection,
                    database,
                    one,
                    {'attach_status': 'attached', **rows.ours(at)},
                    {'attach_status': data['attachments'][one]},
                )
            rows.set_metadata(connection, database, at.image['metadata'], None)
            return 'as it was'

        return database.write(write)


def _detached(at: At) -> bool:
    return bool(at.data['values']['attach_status'] == 'detached')


def _after(at: At) -> dict[str, str]:
    """The attachments and their statuses when it is done."""
    return {
        one: 'attached' if one in at.data['complete'] else status
        for one, status in at.data['attachments'].items()
        if one not in at.data['remove']
    }


def _nothing_to_do(at: At) -> bool:
    data = at.data
    return (
        not data['remove']
        and not data['complete']
        and all(data['seen'][k] == v for k, v in data['values'].items())
    )


def _differences(row: JSON, wanted: JSON) -> dict[str, tuple[Any, Any]]:
    return {
        name: (value, row[name])
        for name, value in wanted.items()
        # cinder takes no attach_status for detached
        if (row[name] or 'detached' if name == 'attach_status' else row[name])
        != value
    }


def _expect(
    connection: sa.engine.Connection,
    database: Database,
    at: At,
    wanted: dict[str, str],
) -> None:
    """:raises Conflict: the attachments are no longer as they were seen"""
    held = rows.attachments(connection, database, at.data['volume'], lock=True)
    if held != wanted:
        raise Conflict(
            f'the attachments of volume {at.data["volume"]} are no longer '
            'as they were seen',
            {'attachments': (wanted, held)},
        )


def _update_volume(
    connection: sa.engine.Connection,
    database: Database,
    uuid: str,
    seen: JSON,
    values: JSON,
) -> None:
    row = rows.volume_row(connection, database, uuid)
    if seen.get('attach_status') == 'detached' and not row['attach_status']:
        seen = {**seen, 'attach_status': row['attach_status']}
    cas.update_one(
        connection,
        database.tables['volumes'],
        {'id': uuid, 'deleted': 0},
        seen,
        values,
    )


def _update_attachment(
    connection: sa.engine.Connection,
    database: Database,
    uuid: str,
    seen: JSON,
    values: JSON,
) -> None:
    cas.update_one(
        connection,
        database.tables['volume_attachment'],
        {'id': uuid},
        seen,
        values,
    )
