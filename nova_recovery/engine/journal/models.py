# SPDX-License-Identifier: Apache-2.0

"""The tables of the journal, as the newest migration leaves them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

#: The newest migration. Journals at any other one that this version doesn't
#: know come from a newer version.
HEAD = '0002'

metadata = sa.MetaData()

_MYSQL: dict[str, Any] = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4'}
#: A length makes MySQL take the wide types: its BLOB ends at 64 KiB.
_PACKED = sa.LargeBinary(2**32 - 1)
_LONG = sa.Text(2**24 - 1)

runs = sa.Table(
    'runs',
    metadata,
    sa.Column('id', sa.String(8), primary_key=True),
    sa.Column('procedure', sa.String(64), nullable=False),
    sa.Column('title', _LONG, nullable=False),
    sa.Column('state', sa.String(16), nullable=False),
    sa.Column('who', sa.String(255), nullable=False),
    sa.Column('machine', sa.String(255), nullable=False),
    sa.Column('command', _LONG, nullable=False),
    sa.Column('digest', sa.String(64), nullable=False),
    sa.Column('created_at', sa.String(24), nullable=False, index=True),
    sa.Column('started_at', sa.String(24), nullable=False),
    sa.Column('finished_at', sa.String(24), nullable=False),
    # the plan without its items
    sa.Column('plan', _PACKED, nullable=False),
    # the lease: who carries it out, and the second of the last sign of life
    sa.Column('holder', sa.Text, nullable=False),
    sa.Column('heard', sa.BigInteger, nullable=False),
    **_MYSQL,
)

items = sa.Table(
    'items',
    metadata,
    sa.Column('run_id', sa.String(8), primary_key=True),
    sa.Column('number', sa.Integer, primary_key=True, autoincrement=False),
    sa.Column('id', sa.Text, nullable=False),
    sa.Column('step', sa.Integer, nullable=False),
    sa.Column('position', sa.Integer, nullable=False),
    sa.Column('kind', sa.String(64), nullable=False),
    sa.Column('subject', sa.Text, nullable=False),
    sa.Column('label', sa.Text, nullable=False),
    sa.Column('data', _PACKED, nullable=False),
    sa.Column('follows', _PACKED, nullable=False),
    sa.Column('state', sa.String(16), nullable=False),
    sa.Column('begun', sa.Boolean, nullable=False),
    sa.Column('detail', sa.Text, nullable=False),
    sa.Column('image', _PACKED),
    sa.Column('notes', _PACKED),
    sa.Column('started_at', sa.String(24), nullable=False),
    sa.Column('finished_at', sa.String(24), nullable=False),
    sa.Index('items_by_state', 'run_id', 'state'),
    **_MYSQL,
)

events = sa.Table(
    'events',
    metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('run_id', sa.String(8), nullable=False, index=True),
    sa.Column('at', sa.String(24), nullable=False),
    sa.Column('kind', sa.String(16), nullable=False),
    sa.Column('who', sa.String(255), nullable=False),
    sa.Column('machine', sa.String(255), nullable=False),
    sa.Column('detail', sa.Text, nullable=False),
    **_MYSQL,
)
