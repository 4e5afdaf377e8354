# SPDX-License-Identifier: Apache-2.0

"""Save the relations between servers and volumes, before they are changed.

The first step of the guide: a snapshot of everything as it is now, and
beside it the guide's own file ``volume instance mountpoint``. Both are named
by the run and are none of the snapshots that expire.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from nova_recovery.changes.base import At, BaseChange, OneWay
from nova_recovery.compat import sha256
from nova_recovery.engine import files
from nova_recovery.engine.change import JSON, Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed
from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot import mapfile, reading
from nova_recovery.snapshot.reading import Snapshot

#: Without these a relation could be lost.
_OF_A_CELL = frozenset({'servers', 'devices'})
_OF_CINDER = frozenset({'volumes', 'attachments'})


class RecordRelations(BaseChange):
    """Data: cells (those that must be whole in it), servers (how many ran).

    wanted and marks are there for whoever reads the plan or the journal:
    the servers that ran, and the highest id of ``instance_actions`` of each
    cell before the outage.
    """

    kind = 'record-relations'

    def describe(self, item: Item) -> list[str]:
        return [
            '+ a snapshot of the cloud as it is now, and its map file '
            '(volume instance mountpoint)',
            f'= servers that ran before: {len(item.data["wanted"])}',
        ]

    def observe(self, at: At) -> Observed:
        if not at.begun:
            return Observed.before()
        notes = at.notes
        if notes.get('map') and all(
            os.path.exists(notes[name]) for name in ('snapshot', 'map')
        ):
            return Observed.after(_told(notes))
        return Observed.before(at.image)

    def apply(self, at: At) -> str:
        conf = at.cloud.conf.snapshot
        stem = os.path.join(conf.directory, f'disaster-{at.run_id}')
        snapshot, map_file = f'{stem}.snapshot', f'{stem}.map'
        # A killed run may have left it: it stands under its name only when
        # it is whole.
        if not os.path.exists(snapshot):
            _take(at, snapshot)
        sources = {f'cell:{cell}' for cell in at.data['cells']}
        with Snapshot(snapshot) as found:
            _require(found, sources)
            files.write(map_file, mapfile.lines(found, sources))
        notes = {
            'snapshot': snapshot,
            'snapshot_sha256': _checksum(snapshot),
            'map': map_file,
            'map_sha256': _checksum(map_file),
        }
        at.note(**notes)
        return _told(notes)

    def revert(self, at: At) -> str:
        return 'the record is kept'


class TakeSnapshot(OneWay):
    """Of a cloud that is well, before a drill. Whole, or none at all.

    Data: cells (those that must be whole in it). Its file is named after the
    run, and its path is what came of it.
    """

    kind = 'take-snapshot'

    def describe(self, item: Item) -> list[str]:
        return ['+ a snapshot of the cloud']

    def observe(self, at: At) -> Observed:
        path = self._path(at)
        if not os.path.exists(path):
            return Observed.before()
        with Snapshot(path) as found:
            # killed before it was looked through
            holes = _holes(found, self._cells(at))
        return Observed.before() if holes else Observed.after(path)

    def apply(self, at: At) -> str:
        path = self._path(at)
        # one with holes
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        _take(at, path)
        with Snapshot(path) as found:
            _require(found, self._cells(at))
        return path

    def _cells(self, at: At) -> set[str]:
        return {f'cell:{cell}' for cell in at.data['cells']}

    def no_way_back(self, item: Item) -> str:
        return 'the snapshot stays; delete its file when it is not needed'

    def _path(self, at: At) -> str:
        return os.path.join(
            at.cloud.conf.snapshot.directory, f'drill-{at.run_id}.snapshot'
        )


def _take(at: At, path: str) -> None:
    # Imported here: it brings the clients of the APIs, and whoever only
    # shows a plan waits for them.
    from nova_recovery.snapshot import taking
    from nova_recovery.snapshot.taking import Request

    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    except OSError as error:
        raise ChangeFailed(
            f"{os.path.dirname(path)}: can't be made: {error.strerror}"
        ) from error
    taking.take(
        at.cloud,
        Request(path=path),
        lambda section, rows: at.progress(f'{section}: {rows} rows'),
    )


def _require(found: Snapshot, sources: set[str]) -> None:
    """Refuse a record with holes, and take it away so that it can be anew.

    :raises ChangeFailed: naming them
    """
    holes = _holes(found, sources)
    if holes:
        os.unlink(found.path)
        raise ChangeFailed(f'the record is not whole: {"; ".join(holes[:5])}')


def _holes(found: Snapshot, sources: set[str]) -> list[str]:
    """What a record lacks, a line each."""
    holes = [
        f'{part.section} of {part.source}: {part.detail}'
        for part in found.unknown
        if (part.section in _OF_A_CELL and part.source in sources)
        or (part.section in _OF_CINDER and part.source == 'cinder')
    ]
    missing = sources - {
        part.source
        for part in found.parts
        if part.section == 'devices' and part.state != format_module.UNKNOWN
    }
    holes += [f'{source} is not in it' for source in sorted(missing)]
    return holes + reading.problems(found)


def _told(notes: JSON) -> str:
    return (
        f'{notes["snapshot"]} (sha256 {notes["snapshot_sha256"][:12]}…), '
        f'{notes["map"]} (sha256 {notes["map_sha256"][:12]}…)'
    )


def _checksum(path: str) -> Any:
    with open(path, 'rb') as file:
        return sha256(file)
