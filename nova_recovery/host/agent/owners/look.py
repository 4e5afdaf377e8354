# SPDX-License-Identifier: Apache-2.0

"""The half of a change that looks: a process of its own, on its own core.

It sends batches, as they will stand in the journal, down a pipe to the half
that writes, and begins another pass when it is told to.
"""

import json
import os
import stat
import struct
import tempfile
import traceback
from typing import Any, Dict, List, Optional

from nova_recovery.host.agent import kernel, lines, mounts
from nova_recovery.host.agent.owners import attributes, doubts, walk
from nova_recovery.host.agent.owners import journal as journal_module
from nova_recovery.host.agent.owners import places as places_module
from nova_recovery.host.agent.owners.inodes import Index, Inodes
from nova_recovery.host.agent.owners.pairs import Pairs

#: kind, length of what follows, entries seen so far, share that is done
HEAD = struct.Struct('<cIQd')
#: Kinds: a batch; where we are (a path); a problem (JSON); the end of a pass;
#: what went wrong for good (text).
BATCH, TICK, PROBLEM, END, CRASH = b'B', b'T', b'P', b'E', b'C'
#: Answers: look again, or be gone.
AGAIN, ENOUGH = b'a', b'e'

_pack = journal_module.pack_entry

#: So many entries, or so many bytes, are written down and then changed.
MOST = 8192
MOST_BYTES = 1 << 20


class Known:
    """What an earlier run left, for telling old numbers from new ones."""

    def __init__(
        self,
        began: int,
        finished: Optional[int],
        places: places_module.Places,
        in_doubt: doubts.Doubts,
    ) -> None:
        #: When the change began, which was perhaps long before this run.
        self.began = began
        #: When it was whole the first time; None: it wasn't yet.
        self.finished = finished
        self.places = places
        self.doubts = in_doubt
        #: device -> inodes that are in the journal and were found by name
        self.inodes: Dict[int, Inodes] = {}
        #: The same of those that have their old numbers still.
        self.old: Dict[int, Inodes] = {}
        #: Those that were not, to be looked for.
        self.lost = Index()


class Looker(walk.Sink):
    """Packs what a walk finds into batches."""

    def __init__(
        self,
        pairs: Pairs,
        known: Known,
        journal: journal_module.Journal,
        pipe: int,
    ) -> None:
        self._pairs, self._known, self._journal = pairs, known, journal
        self._chained = pairs.chained
        self._pipe = pipe
        self._records: List[bytes] = []
        self._count = self._bytes = 0
        #: The youngest time of status change among them, in s.
        self._latest: float = 0
        self._directory = b''
        self._device = -1
        self._path = b''
        self._doubted: Dict[int, Inodes] = {}
        self.walk: Optional[walk.Walk] = None
        if len(known.lost):
            self.wanted = known.lost

    def directory(self, device: int, inode: int, path: bytes) -> None:
        self._device, self._path = device, path
        self._directory = journal_module.pack_directory(device, inode, path)
        self._records.append(self._directory)
        self._mine = self._known.inodes.setdefault(device, Inodes())

    def found(
        self, name: bytes, status: os.stat_result, found: list, owned: bool
    ) -> None:
        if self._chained:
            if not self._to_change(name, status, found):
                return
            self._mine.add(status.st_ino)
        if status[9] > self._latest:
            self._latest = status[9]
        self._put(
            _pack(status[1], status[4], status[5], status[0], name, found)
        )

    def asked_for(self, name: bytes, status: os.stat_result) -> bool:
        """Write down under its new name what was moved since it was.

        With the before-image that it had: it may have been changed in part.
        """
        known = self._known
        for record in known.lost.get(status.st_ino):
            batch = self._journal.batches[record.batch]
            if known.places.device(batch.boot, record.device) != status.st_dev:
                continue
            entry = self._journal.entry(record.place)
            before = entry.uid, entry.gid
            now = status.st_uid, status.st_gid
            born = kernel.born(kernel.AT_FDCWD, name)
            if (
                now not in (before, self._pairs.ids(*before))
                or stat.S_IFMT(status.st_mode) != stat.S_IFMT(entry.mode)
                or (born is not None and born > batch.time)
            ):
                continue
            self._mine.add(entry.inode)
            if now == before or not self._journal.done(record.batch):
                self._put(_pack(*entry[1:5], name, entry.attributes))
            return True
        return False

    def _to_change(
        self, name: bytes, status: os.stat_result, found: list
    ) -> bool:
        """Whether this one has old numbers, where they may be new ones.

        What the journal has was looked after. What was made or changed since
        the change began can have its number from either time: a service that
        a reboot started gives its directories the number that it has by then,
        and whoever writes to a file changes its times just as well.
        """
        pairs = self._pairs
        numbers = [('uid', status.st_uid), ('gid', status.st_gid)]
        for attribute, value in found:
            numbers += attributes.ids(attribute, value)
        chained = any(pairs.chained_number(*number) for number in numbers)
        certain = any(pairs.certain(*number) for number in numbers)
        if not chained:
            return certain
        if status.st_ino in self._mine and not certain:
            return False
        known, mine = self._known, status.st_ino in self._mine
        if not mine and (
            status.st_ctime_ns < known.began
            or status.st_ino in known.old.get(self._device, ())
        ):
            return True
        if not mine and known.finished is not None:
            came: Optional[int] = status.st_ctime_ns
            if known.doubts.has(status.st_ino):
                # unless it is another file, it was there before
                came = kernel.born(kernel.AT_FDCWD, name)
            if came is not None and came >= known.finished:
                # it came to that number after the change, by its new meaning
                return False
        path = mounts.join(self._path, name)
        if not certain and known.doubts.settled(path, status.st_ino):
            return False
        doubted = self._doubted.setdefault(self._device, Inodes())
        if doubted.add(status.st_ino):
            self._tell(doubts.told(path, status))
        return False

    def _put(self, record: bytes) -> None:
        self._records.append(record)
        self._count += 1
        self._bytes += len(record)
        if self._count >= MOST or self._bytes >= MOST_BYTES:
            self.flush()
            self._records.append(self._directory)

    def flush(self) -> None:
        """Send what was packed."""
        if self._count:
            now = kernel.now()
            if self._latest * 10**9 > now:
                # a clock that was wrong once: nothing is younger than it is
                now = (int(self._latest) + 1) * 10**9
            self._send(
                BATCH,
                journal_module.pack_batch(
                    now, self._journal.boot, self._records
                ),
            )
        self._records = []
        self._count = self._bytes = 0
        self._latest = 0

    def problem(self, code: str, path: bytes, text: str) -> None:
        self._tell(dict(lines.path_fields(path), code=code, text=text))

    def _tell(self, fields: Dict[str, Any]) -> None:
        self._send(PROBLEM, json.dumps(fields).encode('ascii'))

    def tick(self, seen: int, share: float, path: bytes) -> None:
        self._send(TICK, path)

    def end(self) -> None:
        self.flush()
        self._send(END, b'')

    def crash(self, text: str) -> None:
        self._send(CRASH, text.encode('utf-8', 'replace'))

    def _send(self, kind: bytes, body: bytes) -> None:
        seen = self.walk.seen if self.walk else 0
        share = self.walk.share if self.walk else 0.0
        view = memoryview(HEAD.pack(kind, len(body), seen, share) + body)
        try:
            while view:
                view = view[os.write(self._pipe, view) :]
        except OSError:
            # nobody writes any more, so nobody needs to look
            os._exit(1)


def look(
    tree: walk.Tree,
    pairs: Pairs,
    known: Known,
    journal: journal_module.Journal,
    state: str,
    pipe: int,
    answers: int,
) -> None:
    """Look until there is enough; in a process of its own."""
    looker = Looker(pairs, known, journal, pipe)
    try:
        with tempfile.TemporaryFile(dir=state) as spool:
            walking = walk.Walk(tree, pairs, looker, spool)
            looker.walk = walking
            since = kernel.ticked()
            walking.run()
            looker.end()
            while os.read(answers, 1) == AGAIN:
                since, before = kernel.ticked(), since
                walking.look_again(before)
                looker.end()
    except BaseException:
        looker.crash(traceback.format_exc())
