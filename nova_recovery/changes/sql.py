# SPDX-License-Identifier: Apache-2.0

"""The SQL of a move as text, for clouds where it is run by hand."""

from __future__ import annotations

from typing import Any
import uuid as uuid_module

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from nova_recovery.changes import record
from nova_recovery.cloud.db.database import Database


def statements(database: Database, data: dict[str, Any]) -> list[str]:
    """What MoveRecord does, as far as this schema has it.

    :param data: of a ``move-record`` item
    :returns: statements to be run in one transaction, in this order
    """
    tables = database.tables
    instances = tables['instances']
    values = {k: v for k, v in data['values'].items() if k in instances.c}
    update = sa.update(instances).values(values)
    where = {'uuid': data['uuid'], **data['seen']}
    for name, value in where.items():
        if name in instances.c:
            update = update.where(instances.c[name] == value)
    found = [_text(update.where(instances.c.deleted == 0))]
    if tables.has('migrations', 'migration_type'):
        migrations = tables['migrations']
        ids = [row['id'] for row in data.get('disarm', ())]
        if ids:
            found.append(
                _text(
                    sa.update(migrations)
                    .where(migrations.c.id.in_(ids))
                    .values(status='completed')
                )
            )
        row = record.tombstone_row(
            database, data, str(uuid_module.uuid4()), None
        )
        for name in ('created_at', 'updated_at'):
            row[name] = sa.func.utc_timestamp()
        found.append(_text(sa.insert(migrations).values(row)))
    return ['BEGIN;', *found, 'COMMIT;']


def _text(statement: sa.sql.ClauseElement) -> str:
    compiled = statement.compile(
        # The default is for a driver that wants each % doubled.
        dialect=mysql.dialect(paramstyle='named'),
        compile_kwargs={'literal_binds': True},
    )
    return str(compiled).replace('\n', ' ') + ';'
