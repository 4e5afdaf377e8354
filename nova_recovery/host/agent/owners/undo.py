# SPDX-License-Identifier: Apache-2.0

"""Everything as it was before a change, unless somebody changed it since."""

import os
import time
from typing import Any, Callable, Dict

from nova_recovery.host.agent import mounts
from nova_recovery.host.agent.owners import change, image, walk
from nova_recovery.host.agent.owners import journal as journal_module
from nova_recovery.host.agent.owners import places as places_module
from nova_recovery.host.agent.owners.inodes import Index, Inodes
from nova_recovery.host.agent.owners.pairs import Pairs

Say = Callable[..., Any]

_IN_MEMORY = frozenset({'tmpfs', 'devtmpfs'})
_GONE = 'gone', 'removed, moved away or replaced since'
_AWAY = (
    'mounts-changed',
    'its file system is not mounted there any more: mount it, then type the'
    ' same again',
)


class Undo(walk.Sink):
    """One undo, from wherever it was killed."""

    def __init__(
        self,
        tree: walk.Tree,
        pairs: Pairs,
        journal: journal_module.Journal,
        say: Say,
        lift: bool,
    ) -> None:
        self._tree, self._pairs, self._journal = tree, pairs, journal
        self._say, self._lift = say, lift
        self._problems = change.Problems(say)
        self._progress = change.Progress(say)
        self._places = places_module.Places(tree, journal)
        self._lost = Index()
        #: Records that were found under another name.
        self._moved = Inodes()
        #: device -> inodes that are as they were
        self._back: Dict[int, Inodes] = {}
        self._lenient = False
        self.restored = self.seen = 0

    def run(self) -> int:
        """Undo it, or go on; the exit code."""
        began = time.monotonic()
        # killed in an undo: what a chown takes away may be missing anywhere
        self._lenient = self._journal.undo_began and not self._journal.undone
        self._journal.begin_undo()
        count = len(self._journal.batches)
        # the newest first: one inode may have several before-images
        for number in reversed(range(count)):
            self._batch(number)
            self._progress.tell(
                self.seen, (count - number) / count, self.restored
            )
        if len(self._lost):
            self.wanted = self._lost
            walk.Walk(self._tree, self._pairs, self).run()
            self._tell_of_lost()
        change.sync(self._tree, self._journal, self._problems)
        self._journal.end_undo()
        counts = dict(self._problems.counts)
        self._progress.tell(self.seen, 1.0, self.restored, now=True)
        self._say(
            'result',
            state='left' if counts else 'done',
            seen=self.seen,
            restored=self.restored,
            problems=counts,
            seconds=round(time.monotonic() - began, 2),
            journal=self._journal.path,
            batches=count,
            bytes=self._journal.end,
            digest=self._journal.digest,
        )
        return 4 if counts else 0

    def _batch(self, number: int) -> None:
        batch = self._journal.batches[number]
        for path, directory, entry, descriptor in self._places.entries(number):
            self.seen += 1
            device = self._places.device(batch.boot, directory.device)
            if (
                descriptor is None
                or device is None
                or not self._restore(descriptor, device, path, number, entry)
            ):
                self._lost.add(
                    entry.inode, number, entry.place, directory.device
                )

    def _restore(
        self,
        descriptor: int,
        device: int,
        path: bytes,
        number: int,
        entry: journal_module.Entry,
    ) -> bool:
        """Restore one; whether it is the one that was written down."""
        try:
            if places_module.settle(
                descriptor,
                entry,
                self._pairs,
                self._journal,
                back=True,
                lenient=self._lenient or not self._journal.done(number),
                lift=self._lift,
            ):
                self.restored += 1
            self._back.setdefault(device, Inodes()).add(entry.inode)
        except image.Gone:
            return False
        except image.Changed as error:
            self._problems.add('changed-since', path, str(error))
        except OSError as error:
            self._problems.add_error(path, error)
        return True

    # -- what isn't where it was ---------------------------------------------

    def directory(self, device: int, inode: int, path: bytes) -> None:
        self._path = path

    def asked_for(self, name: bytes, status: os.stat_result) -> bool:
        for record in self._lost.get(status.st_ino):
            batch = self._journal.batches[record.batch]
            device = self._places.device(batch.boot, record.device)
            if device != status.st_dev:
                continue
            entry = self._journal.entry(record.place)
            path = mounts.join(self._path, name)
            descriptor = os.open(name, image.EXACTLY)
            try:
                if not image.replaced(
                    descriptor, batch.time
                ) and self._restore(
                    descriptor, device, path, record.batch, entry
                ):
                    self._moved.add(record.place)
            finally:
                os.close(descriptor)
        return True

    def problem(self, code: str, path: bytes, text: str) -> None:
        self._problems.add(code, path, text)

    def _tell_of_lost(self) -> None:
        """Those that are nowhere below the root any more."""
        missing = set()
        for inode, record in self._lost.rows():
            boot = self._journal.batches[record.batch].boot
            device = self._places.device(boot, record.device)
            back = None if device is None else self._back.get(device)
            # one that is back has another record, under its newer name
            if record.place not in self._moved and (
                back is None or inode not in back
            ):
                missing.add((record.batch, record.place))
        for number in sorted({number for number, _place in missing}):
            for directory, entries in self._journal.directories(number):
                lost = [e for e in entries if (number, e.place) in missing]
                away = lost and self._is_away(directory.path)
                code, text = _AWAY if away else _GONE
                for entry in lost:
                    path = mounts.join(directory.path, entry.name)
                    self._problems.add(code, path, text)

    def _is_away(self, inside: bytes) -> bool:
        """Whether another file system is seen there than in the change.

        Nobody knows then what became of its files. Those of one that lies in
        memory are gone with it: of a user who logged out, or by a boot.
        """
        path = mounts.join(self._tree.path, inside)
        known = self._journal.mounts
        over = [t for t in known if mounts.under(path, os.fsencode(t))]
        then = max(over, key=len, default='')
        if not over or known[then] in _IN_MEMORY:
            return False
        now = self._tree.table.mount_of(path)
        return now is None or (os.fsdecode(now.target), now.type) != (
            then,
            known[then],
        )
