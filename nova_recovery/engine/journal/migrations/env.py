# SPDX-License-Identifier: Apache-2.0

"""Run by alembic: the connection comes from ``location.upgrade``."""

from __future__ import annotations

from alembic import context

from nova_recovery.engine.journal import models

context.configure(
    connection=context.config.attributes['connection'],
    target_metadata=models.metadata,
    # the transaction belongs to the caller, who locked the journal in it
    transactional_ddl=False,
)
context.run_migrations()
