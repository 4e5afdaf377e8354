# SPDX-License-Identifier: Apache-2.0

"""A snapshot of the cloud is taken, which belongs to the run."""

from __future__ import annotations

import os

from nova_recovery.changes.base import At, OneWay
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed
from nova_recovery.snapshot import store, taking
from nova_recovery.snapshot.reading import Snapshot
from nova_recovery.snapshot.taking import Request


class TakeSnapshot(OneWay):
    """Whole, or none at all. Its file is named after the run.

    Data: directory.
    """

    kind = 'take-snapshot'

    def describe(self, item: Item) -> list[str]:
        return [f'+ a snapshot in {item.data["directory"]}']

    def observe(self, at: At) -> Observed:
        path = store.of_run(at.data['directory'], at.run_id)
        if os.path.exists(path):
            return Observed.after(path)
        return Observed.before()

    def apply(self, at: At) -> str:
        path = store.of_run(at.data['directory'], at.run_id)
        try:
            os.makedirs(at.data['directory'], mode=0o700, exist_ok=True)
        except OSError as error:
            raise ChangeFailed(
                f"{at.data['directory']}: can't be made: {error.strerror}"
            ) from error
        taking.take(at.cloud, Request(path), lambda section, rows: None)
        with Snapshot(path) as snapshot:
            missing = [
                f'{part.section} of {part.source}: {part.detail}'
                for part in snapshot.unknown
            ]
        if missing:
            os.remove(path)
            raise ChangeFailed(f'it has holes: {"; ".join(missing[:3])}')
        return path

    def no_way_back(self, item: Item) -> str:
        return 'the snapshot stays; delete its file when it is not needed'
