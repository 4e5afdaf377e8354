# SPDX-License-Identifier: Apache-2.0

"""Whether a snapshot still is what was written, and all of it."""

from __future__ import annotations

import hashlib

from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot import writing
from nova_recovery.snapshot.reading import Snapshot


def problems(snapshot: Snapshot) -> list[str]:
    """What is damaged; empty when every row is as it was written.

    :raises RecoveryError: it is damaged so that it can't be read at all
    """
    found: list[str] = []
    with snapshot.reading():
        if snapshot.meta.get('checksum') != writing.checksum(snapshot.file):
            found.append('what it says of itself was changed')
        for (answer,) in snapshot.file.execute('PRAGMA quick_check(3)'):
            if answer != 'ok':
                # the rest of its first line is the name of the database
                found.append(' '.join(str(answer).split()))
    for name in format_module.SECTIONS:
        found += _of_section(snapshot, name)
    return found


def _of_section(snapshot: Snapshot, name: str) -> list[str]:
    parts = {p.source: p for p in snapshot.parts if p.section == name}
    hashes = {source: hashlib.sha256() for source in parts}
    counts = dict.fromkeys(parts, 0)
    with snapshot.reading():
        cursor = snapshot.file.execute(
            f'SELECT * FROM {name} ORDER BY rowid'  # nosec B608
        )
        while batch := cursor.fetchmany(writing.BATCH):
            for row in batch:
                if row[0] not in parts:
                    return [f'{name}: rows of {row[0]}, which is not listed']
                counts[row[0]] += 1
                hashes[row[0]].update(writing.fingerprint([row]))
    found = []
    for source, part in parts.items():
        if counts[source] != part.rows:
            found.append(
                f'{name} of {source}: {counts[source]} rows, not {part.rows}'
            )
        elif hashes[source].hexdigest() != part.sha256:
            found.append(f'{name} of {source}: rows were changed')
    return found
