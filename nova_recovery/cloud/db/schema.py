# SPDX-License-Identifier: Apache-2.0

"""What a database's schema can do, seen from its columns.

Releases are never guessed: distributions backport, and an upgrade that
stopped half-way has the schema of one release and the code of another.
"""

from __future__ import annotations

import sqlalchemy as sa

from nova_recovery.cloud.db.database import Database
from nova_recovery.exceptions import SchemaUnknown

#: feature -> (table, column that proves it; None: the table does)
FEATURES: dict[str, tuple[str, str | None]] = {
    # a cell: instances, and what moving one has to write
    'servers': ('instances', 'uuid'),
    'node': ('instances', 'node'),
    'hidden': ('instances', 'hidden'),
    'compute_id': ('instances', 'compute_id'),
    'ec2-ids': ('instance_id_mappings', 'uuid'),
    'instance-extra': ('instance_extra', 'instance_uuid'),
    'action-requests': ('instance_actions', 'request_id'),
    'forced-down': ('services', 'forced_down'),
    'service-uuid': ('services', 'uuid'),
    'tombstones': ('migrations', 'migration_type'),
    'migration-uuid': ('migrations', 'uuid'),
    'dest-compute-id': ('migrations', 'dest_compute_id'),
    'attachment-id': ('block_device_mapping', 'attachment_id'),
    'bdm-uuid': ('block_device_mapping', 'uuid'),
    'console-tokens': ('console_auth_tokens', 'instance_uuid'),
    'tags': ('tags', 'resource_id'),
    'shares': ('share_mapping', 'instance_uuid'),
    # volumes that live in nova (Essex)
    'volumes-in-nova': ('volumes', 'instance_id'),
    # the API database
    'cells': ('cell_mappings', 'database_connection'),
    'cell-disabled': ('cell_mappings', 'disabled'),
    'request-specs': ('request_specs', 'spec'),
    # cinder: on the volume itself up to Juno, then in a table
    'volume-instance': ('volumes', 'instance_uuid'),
    'volume-attached-host': ('volumes', 'attached_host'),
    'volume-attachment': ('volume_attachment', 'volume_id'),
    'connector': ('volume_attachment', 'connector'),
    'multiattach': ('volumes', 'multiattach'),
}


def features(database: Database) -> frozenset[str]:
    """Return the names in :data:`FEATURES` that a database has.

    :raises SchemaUnknown: when it is neither nova's nor cinder's
    :raises DatabaseUnavailable: when that can't be known
    """
    found = frozenset(
        name
        for name, (table, column) in FEATURES.items()
        if database.tables.has(table, column)
    )
    if not found & {'servers', 'cells'} and not database.tables.has(
        'volumes', 'attach_status'
    ):
        raise SchemaUnknown(
            f"the database of {database.name} is neither nova's nor cinder's"
        )
    return found


def require(database: Database, *names: str) -> None:
    """Refuse a database that lacks one of the named features.

    :raises SchemaUnknown: naming the tables and columns that it lacks
    """
    missing = [
        '.'.join(part for part in FEATURES[name] if part)
        for name in names
        if not database.tables.has(*FEATURES[name])
    ]
    if missing:
        raise SchemaUnknown(
            f'the database of {database.name} has no {", ".join(missing)}'
        )


def live(table: sa.Table) -> sa.sql.elements.ColumnElement[bool]:
    """Return the condition for rows that are not soft-deleted.

    ``deleted`` is a boolean in cinder and up to Folsom, 0 or the id since
    Grizzly, text where ids are UUIDs (nova's volumes of Juno); tables of
    the API database and new ones have none.
    """
    if 'deleted' not in table.c:
        return sa.true()
    column = table.c.deleted
    if isinstance(column.type, sa.String):
        return column == '0'
    return column == 0
