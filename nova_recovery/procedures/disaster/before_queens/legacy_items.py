# SPDX-License-Identifier: Apache-2.0


"""What is stale, cut into items: a batch of volumes, in two halves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nova_recovery.cloud.db import bulk
from nova_recovery.cloud.db.old_volumes import Layout
from nova_recovery.engine.plan import Item
from nova_recovery.procedures.disaster.before_queens.legacy_choice import (
    Choice,
)
from nova_recovery.procedures.disaster.before_queens.legacy_read import Found

#: Volumes an item: what Galera takes in a transaction, and locks that
#: nobody has to wait for long. MariaDB makes a table of a list of 1000.
BATCH = 900


def items(found: Found, choice: Choice) -> Iterator[Item]:
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
