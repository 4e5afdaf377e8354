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

from collections.abc import Collection, Iterator, Sequence
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.cloud.db import bulk, old_volumes
from nova_recovery.cloud.db.old_volumes import Layout
from nova_recovery.engine.plan import Item, LeftOut, Step
from nova_recovery.procedures.disaster.before_queens import read
from nova_recovery.procedures.disaster.before_queens.choice import Choice
from nova_recovery.procedures.disaster.before_queens.read import Situation

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
    return decide(read.read(databases), servers, alone)


def decide(
    found: Situation,
    servers: Collection[str] | None = None,
    alone: Collection[str] = (),
) -> Cleaning:
    """Return what is cleaned and what isn't; asks nobody.

    :param servers: UUIDs of the scope; None: all
    :param alone: UUIDs of servers whose volumes stay as they are
    """
    choice = Choice(found, servers, alone)
    items = tuple(_items(found, choice))
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


#: Volumes an item: what Galera takes in a transaction, and locks that
#: nobody has to wait for long. MariaDB makes a table of a list of 1000.
BATCH = 900


def _items(found: Situation, choice: Choice) -> Iterator[Item]:
    """The items, in pairs; of volumes that nova doesn't map, cinder's only.

    In the order in which nova got its mappings, so that a batch has
    neighbours in two tables of three: no order of UUIDs is one of time.
    """
    modes: dict[str, str] = {}
    for line in found.volumes.modes:
        number, _, volume = line.partition(bulk.SEPARATOR)
        # nearly always one
        modes[volume] = (
            f'{modes[volume]} {number}' if volume in modes else number
        )
    mapped = [one for one in choice.mapped if one in choice.stale]
    for cell in found.cells:
        mine = (
            mapped
            if len(found.cells) == 1
            else [one for one in mapped if choice.mapped[one][0][0] == cell]
        )
        for start in range(0, len(mine), BATCH):
            batch = mine[start : start + BATCH]
            yield _mappings(found.layout, cell, batch, choice)
            yield _volumes(found.layout, cell, batch, choice, modes)
    # Unmapped volumes have no cell; in Essex they are in the only one.
    nowhere = '' if found.layout.name != 'L0' else min(found.cells)
    unmapped = [one for one in choice.stale if one not in choice.mapped]
    for start in range(0, len(unmapped), BATCH):
        batch = unmapped[start : start + BATCH]
        yield _volumes(found.layout, nowhere, batch, choice, modes)


def _mappings(
    layout: Layout, cell: str, batch: Sequence[str], choice: Choice
) -> Item:
    rows = [
        f'{number}{bulk.SEPARATOR}{volume}'
        for volume in batch
        for _cell, number, _server in choice.mapped[volume]
    ]
    return Item(
        f'clean-mappings:{batch[0]}',
        'clean-mappings',
        f'volumes:{batch[0]}',
        f'{len(rows)} mappings of {len(batch)} volumes',
        {**_common(layout, cell), 'rows': '\n'.join(rows)},
    )


def _volumes(
    layout: Layout,
    cell: str,
    batch: Sequence[str],
    choice: Choice,
    modes: dict[str, str],
) -> Item:
    # Texts and no lists: a plan of 200,000 volumes stays a small file, and
    # is read and written at once.
    return Item(
        f'clean-volumes:{batch[0]}',
        'clean-volumes',
        f'volumes:{batch[0]}',
        f'{len(batch)} volumes',
        {
            **_common(layout, cell),
            'columns': list(layout.columns),
            'rows': '\n'.join([choice.stale[one] for one in batch]),
            'mappings': ' '.join(
                [
                    number
                    for volume in batch
                    for _cell, number, _server in choice.mapped.get(volume, ())
                ]
            ),
            'attachments': '\n'.join(
                bulk.SEPARATOR.join(parts[:4])
                for volume in batch
                for parts in choice.attached.get(volume, ())
            ),
            'modes': ' '.join(
                [modes[volume] for volume in batch if volume in modes]
            ),
        },
    )


def _common(layout: Layout, cell: str) -> dict[str, object]:
    return {'layout': layout.name, 'cell': cell}
