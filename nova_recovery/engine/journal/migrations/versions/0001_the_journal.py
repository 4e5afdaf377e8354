# SPDX-License-Identifier: Apache-2.0

"""The journal: runs, items with before-images, events."""

from __future__ import annotations

from typing import Any

from alembic import op
import sqlalchemy as sa

revision = '0001'
down_revision = None

_MYSQL: dict[str, Any] = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4'}


def upgrade() -> None:
    packed = sa.LargeBinary(2**32 - 1)
    long = sa.Text(2**24 - 1)
    op.create_table(
        'runs',
        sa.Column('id', sa.String(8), primary_key=True),
        sa.Column('procedure', sa.String(64), nullable=False),
        sa.Column('title', long, nullable=False),
        sa.Column('state', sa.String(16), nullable=False),
        sa.Column('who', sa.String(255), nullable=False),
        sa.Column('machine', sa.String(255), nullable=False),
        sa.Column('command', long, nullable=False),
        sa.Column('digest', sa.String(64), nullable=False),
        sa.Column('created_at', sa.String(24), nullable=False),
        sa.Column('started_at', sa.String(24), nullable=False),
        sa.Column('finished_at', sa.String(24), nullable=False),
        sa.Column('plan', packed, nullable=False),
        sa.Column('holder', sa.Text, nullable=False),
        sa.Column('heard', sa.BigInteger, nullable=False),
        **_MYSQL,
    )
    op.create_index('ix_runs_created_at', 'runs', ['created_at'])
    op.create_table(
        'items',
        sa.Column('run_id', sa.String(8), primary_key=True),
        sa.Column('number', sa.Integer, primary_key=True, autoincrement=False),
        sa.Column('id', sa.Text, nullable=False),
        sa.Column('step', sa.Integer, nullable=False),
        sa.Column('position', sa.Integer, nullable=False),
        sa.Column('kind', sa.String(64), nullable=False),
        sa.Column('subject', sa.Text, nullable=False),
        sa.Column('label', sa.Text, nullable=False),
        sa.Column('data', packed, nullable=False),
        sa.Column('follows', packed, nullable=False),
        sa.Column('state', sa.String(16), nullable=False),
        sa.Column('begun', sa.Boolean, nullable=False),
        sa.Column('detail', sa.Text, nullable=False),
        sa.Column('image', packed),
        sa.Column('notes', packed),
        sa.Column('started_at', sa.String(24), nullable=False),
        sa.Column('finished_at', sa.String(24), nullable=False),
        **_MYSQL,
    )
    op.create_index('items_by_state', 'items', ['run_id', 'state'])
    op.create_table(
        'events',
        sa.Column('id', sa.Integer, primary_key=True),
        sa.Column('run_id', sa.String(8), nullable=False),
        sa.Column('at', sa.String(24), nullable=False),
        sa.Column('kind', sa.String(16), nullable=False),
        sa.Column('who', sa.String(255), nullable=False),
        sa.Column('machine', sa.String(255), nullable=False),
        sa.Column('detail', sa.Text, nullable=False),
        **_MYSQL,
    )
    op.create_index('ix_events_run_id', 'events', ['run_id'])
