# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

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
