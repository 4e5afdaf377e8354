# SPDX-License-Identifier: Apache-2.0


"""Step 2 on clouds from before Queens: the guide's UPDATE, row by row.

There nova has no ``block_device_mapping.attachment_id``: what nova maps
can't be told apart from what it lost by anything but the volume itself, and
the guide's way, everything detached and attached again from a record, is
the way. Which form it takes follows from the columns that are there, never
from the name of a release:

* ``L0`` (Essex): ``volumes`` in nova's own database, ``instance_id``;
* ``L1`` (cinder Folsom to Juno): ``volumes.instance_uuid``, ``mountpoint``,
  ``attach_time`` and, from Havana on, ``attached_host``;
* ``M1`` (cinder Kilo to Newton): rows of ``volume_attachment``.

Cleaned are live volumes in one of the statuses of attachments
(:data:`nova_recovery.cloud.db.old_volumes.STALE`), of servers in the scope,
and never a volume that its server boots from: nothing can attach that one
again.
nova's mappings go first, since nova attaches nothing that it still maps.

What the engine's other steps need of a cloud (instance_actions by request,
os-volume_attachments, diagnostics) an L0 or L1 cloud doesn't have as they
expect it. On these, a run has the steps 1 (the record; without it nothing
says what to attach again) and 2 (this module); the others are by hand:
doc/source/user/old-clouds.rst says how, with the map file of step 1.
"""

from __future__ import annotations

from collections.abc import Collection
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.cloud.db import old_volumes
from nova_recovery.engine.plan import LeftOut, Step
from nova_recovery.procedures.disaster.before_queens import (
    legacy_items,
    legacy_read,
)
from nova_recovery.procedures.disaster.before_queens.legacy_choice import (
    Choice,
)
from nova_recovery.procedures.disaster.before_queens.legacy_read import Found

if TYPE_CHECKING:
    from nova_recovery.cloud.db.databases import Databases

#: Items at a time: more only wait for each other in the database.
AT_A_TIME = 4


@dataclasses.dataclass(frozen=True)
class Cleaning:
    """Step 2 as far as it can be done.

    :ivar layout: ``L0``, ``L1`` or ``M1``
    :ivar steps: none where nothing is stale, else one, ``clean``, with
        number 2. Its items come in pairs, a batch of up to 900 volumes
        each: ``clean-mappings`` (nova) and then ``clean-volumes`` (cinder),
        both of the subject ``volumes:FIRST-ID``, so that the second waits
        for the first and is blocked where that failed
    :ivar left_out: volumes in the scope that somebody has to look at
    :ivar notes: what the operator should know, lines
    :ivar servers: UUIDs of the live servers whose volumes these are
    """

    layout: str
    steps: tuple[Step, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    servers: frozenset[str] = frozenset()


def layout(databases: Databases) -> str | None:
    """Return ``L0``, ``L1`` or ``M1``; None: legacy doesn't apply here.

    :raises SchemaUnknown: cells of both kinds, or volumes that aren't found
    :raises ConfigError: an old nova, and no cinder.conf
    :raises DatabaseUnavailable: that can't be known
    """
    found = old_volumes.of(databases)
    return None if found is None else found.name


def clean(
    databases: Databases,
    servers: Collection[str] | None = None,
    alone: Collection[str] = (),
) -> Cleaning:
    """Read both sides and return the step that cleans them.

    :param servers: UUIDs of the scope; None is the whole cloud, with the
        volumes whose servers are gone
    :param alone: UUIDs of servers whose volumes stay as they are
    :raises SchemaUnknown: not a legacy layout (see :func:`layout`)
    :raises DatabaseUnavailable: a cell or cinder doesn't answer: what it
        holds can't be left out of a reset
    """
    return decide(legacy_read.read(databases), servers, alone)


def decide(
    found: Found,
    servers: Collection[str] | None = None,
    alone: Collection[str] = (),
) -> Cleaning:
    """Return what is cleaned and what isn't; asks nobody.

    :param servers: UUIDs of the scope; None: all
    :param alone: UUIDs of servers whose volumes stay as they are
    """
    choice = Choice(found, servers, alone)
    items = tuple(legacy_items.items(found, choice))
    step = Step(
        'clean',
        'clean the stale state of volumes, nova before cinder',
        items,
        number=2,
        at_a_time=AT_A_TIME,
    )
    return Cleaning(
        found.layout.name,
        (step,) if items else (),
        tuple(
            LeftOut(f'volume:{volume}', '', why)
            for volume, why in choice.left_out.items()
        ),
        tuple(choice.notes()),
        choice.servers(),
    )
