# SPDX-License-Identifier: Apache-2.0

"""What is seen of a site that lost its power, and its way back.

The same that an operator would ask: ``disaster status`` and ``disaster
apply``, for the whole cloud.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.engine.overrides import Overrides
from nova_recovery.engine.plan import Plan
from nova_recovery.procedures.disaster.judge import alive
from nova_recovery.procedures.disaster.judge.wanted import Order
from nova_recovery.procedures.disaster.look import read
from nova_recovery.procedures.disaster.run import status
from nova_recovery.procedures.disaster.run.status import Status
from nova_recovery.procedures.disaster.scope import Scope
from nova_recovery.procedures.drill import back
from nova_recovery.report import wording
from nova_recovery.snapshot.reading import Snapshot

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

NO_DUMP = 'a drill, which has a snapshot'


@dataclasses.dataclass(frozen=True)
class Drill(back.Lost):
    """A site that lost its power.

    :ivar skip_hosts: hosts that did not come back, and why they are left out
    """

    skip_hosts: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def scope(self) -> Scope:
        return Scope(skip_hosts=dict(self.skip_hosts))

    @property
    def volumes(self) -> tuple[str, ...]:
        """None is looked at for itself."""
        return ()


@dataclasses.dataclass(frozen=True)
class Seen:
    """Who of those that are to run does not, as ``disaster status`` has it."""

    status: Status

    def loss(self, volumes: Collection[str] = ()) -> tuple[bool, str]:
        """Whether the loss is seen, and what is seen of it.

        A server that a host started by itself as it came up
        (``resume_guests_state_on_host_boot``) is none that was missed.
        """
        found = self.status
        unknown = [one for one in found.rows if one.state == alive.UNPROVEN]
        down = len(found.rows) - len(unknown)
        told = f'{down} of {wording.count(found.total, "server")} down'
        up = found.total - len(found.rows)
        if up:
            told += f', {up} up again already'
        if unknown:
            told += f', {len(unknown)} not known'
        right = not unknown and not found.found.silent
        return right and (down > 0 or not found.total), told

    def back(self, volumes: Collection[str] = ()) -> tuple[bool, str]:
        """Whether all are up, and who is not."""
        found = self.status
        if found.rows or found.found.silent:
            names = [one.server.name or one.server.uuid for one in found.rows]
            some = f': {", ".join(names[:8])}' if names else ''
            return False, f'{found.summary()}{some}'
        return True, f'all of {wording.count(found.total, "server")} up'


def look(cloud: Cloud, drill: Drill) -> Seen:
    """Ask the databases and the computes.

    :raises RecoveryError: the snapshot or nova's databases can't be read
    """
    with Snapshot(drill.snapshot) as snapshot:
        here = read.look(
            cloud, snapshot, drill.scope, since=drill.since, with_volumes=False
        )
    order = Order(key=cloud.conf.disaster.priority_key)
    return Seen(status.status(cloud, here, order))


def make_plan(cloud: Cloud, drill: Drill, overrides: Overrides = ()) -> Plan:
    """The five steps for the whole cloud; see ``back.forward``."""
    return back.forward(cloud, drill, drill.scope, NO_DUMP, overrides)
