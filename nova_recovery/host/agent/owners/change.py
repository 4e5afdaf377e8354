# SPDX-License-Identifier: Apache-2.0

"""The half of a change that writes: down, and then the owners.

The other half looks (``look``). A batch is in the journal, and on disk,
before the first of its entries is changed.
"""

import collections
import fcntl
import os
import signal
import stat
import time
from typing import Any, Callable, Counter, Dict, List, Optional

from nova_recovery.host.agent import kernel, lines, mounts
from nova_recovery.host.agent.owners import descent, doubts, image, look, walk
from nova_recovery.host.agent.owners import journal as journal_module
from nova_recovery.host.agent.owners import places as places_module
from nova_recovery.host.agent.owners.inodes import Inodes
from nova_recovery.host.agent.owners.pairs import Pairs

#: So many problems are told one by one, the others counted.
_TOLD = 100
#: Passes after the first: each looks where something came meanwhile.
_PASSES = 9
_F_SETPIPE_SZ = 1031
_ONE_LOG = frozenset(['ext3', 'ext4', 'xfs'])

Say = Callable[..., Any]


class Problems:
    """What could not be done, told and counted."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.counts: Counter[str] = collections.Counter()

    def add(self, code: str, path: bytes, text: str) -> None:
        self.add_fields(dict(lines.path_fields(path), code=code, text=text))

    def add_fields(self, fields: Dict[str, Any]) -> None:
        self.counts[fields['code']] += 1
        if self.counts[fields['code']] <= _TOLD:
            self._say('problem', **fields)

    def add_error(self, path: bytes, error: OSError) -> None:
        if isinstance(error, places_module.Immutable):
            self.add(
                str(error.strerror),
                path,
                'chattr protects it: --lift-immutable changes it and puts'
                ' the flag back',
            )
        else:
            self.add(lines.code(error), path, error.strerror or str(error))


class Progress:
    """A line now and then, with a rate and an estimate."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._began = self._last = time.monotonic()
        self._path = b''

    def tell(
        self,
        seen: int,
        share: float,
        changed: int,
        path: Optional[bytes] = None,
        now: bool = False,
    ) -> None:
        if path is not None:
            self._path = path
        moment = time.monotonic()
        if not now and moment - self._last < 1:
            return
        self._last = moment
        seconds = moment - self._began
        fields: Dict[str, Any] = lines.path_fields(self._path)
        if 0.01 < share < 1:
            fields['left_seconds'] = round(seconds * (1 - share) / share, 1)
        self._say(
            'progress',
            seen=seen,
            changed=changed,
            share=round(min(share, 1.0), 3),
            rate=int(seen / max(seconds, 0.001)),
            seconds=round(seconds, 2),
            **fields,
        )


class Change:
    """One change, from wherever the journal says that it stands."""

    def __init__(
        self,
        tree: walk.Tree,
        pairs: Pairs,
        journal: journal_module.Journal,
        state: str,
        say: Say,
        lift: bool,
    ) -> None:
        self._tree, self._pairs, self._journal = tree, pairs, journal
        self._state, self._say, self._lift = state, say, lift
        self._problems = Problems(say)
        self._progress = Progress(say)
        self._places = places_module.Places(tree, journal)
        self._doubts = doubts.Doubts(state)
        self._doubts.look(tree)
        self._known = look.Known(
            journal.began, journal.finished, self._places, self._doubts
        )
        #: Batches of which some entries have to be looked for.
        self._open: List[int] = []
        self.changed = self.vanished = self.seen = 0

    def run(self) -> int:
        """Carry it out, or on; the exit code."""
        began = time.monotonic()
        for number in range(len(self._journal.batches)):
            self._catch_up(number)
        resumed = self.changed
        passes = self._passes()
        for number in self._open:
            self._journal.mark(number)
        sync(self._tree, self._journal, self._problems)
        # first: what comes after the end has its number by the new meaning,
        # but for these
        self._doubts.save()
        self._journal.finish(self._tree.next_tick())
        counts = dict(self._problems.counts)
        self._say(
            'result',
            state='left' if counts else 'done',
            seen=self.seen,
            changed=self.changed,
            resumed=resumed,
            vanished=self.vanished,
            problems=counts,
            passes=passes,
            seconds=round(time.monotonic() - began, 2),
            journal=self._journal.path,
            batches=len(self._journal.batches),
            bytes=self._journal.end,
            digest=self._journal.digest,
            left_out=left_out(self._tree),
        )
        return 4 if counts else 0

    # -- what an earlier run left --------------------------------------------

    def _catch_up(self, number: int) -> None:
        """Carry out a batch that may be carried out in part.

        What fails here still has an old number, and the walk finds it. With
        chains it is also learned what was done, since the walk can't see it.
        """
        done = self._journal.done(number)
        if done and not self._pairs.chained:
            return
        lost = False
        boot = self._journal.batches[number].boot
        for _path, directory, entry, descriptor in self._places.entries(
            number
        ):
            device = self._places.device(boot, directory.device)
            if (
                descriptor is None
                or device is None
                or not self._again(descriptor, device, entry, done)
            ):
                lost = True
                self._known.lost.add(
                    entry.inode, number, entry.place, directory.device
                )
        if done:
            return
        if lost:
            self._open.append(number)
        else:
            self._journal.mark(number)

    def _again(
        self,
        descriptor: int,
        device: int,
        entry: journal_module.Entry,
        done: bool,
    ) -> bool:
        """Finish one; whether it is the one that was written down."""
        try:
            if not done and places_module.settle(
                descriptor,
                entry,
                self._pairs,
                self._journal,
                lenient=True,
                lift=self._lift,
            ):
                self.changed += 1
        except image.Gone:
            return False
        except (image.Changed, OSError):
            # the walk tells of it, if its number is an old one still
            pass
        return self._was_done(descriptor, device, entry)

    def _was_done(
        self, descriptor: int, device: int, entry: journal_module.Entry
    ) -> bool:
        """Take note of how one stands; whether it is there."""
        status = os.fstat(descriptor)
        if status.st_ino != entry.inode:
            return False
        now, before = (status.st_uid, status.st_gid), (entry.uid, entry.gid)
        after = self._pairs.ids(*before)
        if now == after and (
            after != before or image.became(descriptor, entry, self._pairs)
        ):
            self._remember(self._known.inodes, device, entry.inode)
        elif now == before:
            # it resisted, and has its old numbers for certain
            self._remember(self._known.old, device, entry.inode)
        return True

    def _remember(
        self, where: Dict[int, Inodes], device: int, inode: int
    ) -> None:
        if self._pairs.chained:
            where.setdefault(device, Inodes()).add(inode)

    # -- passes --------------------------------------------------------------

    def _passes(self) -> int:
        """All passes; how many there were."""
        frames, answers, child = self._looker()
        passes, before = 1, self.changed
        try:
            while True:
                head = frames.read(look.HEAD.size)
                if len(head) < look.HEAD.size:
                    raise lines.AgentError(
                        'the process that looks was killed: type the same'
                        ' again to go on'
                    )
                kind, size, seen, share = look.HEAD.unpack(head)
                body = frames.read(size)
                self.seen = max(self.seen, seen)
                if kind == look.BATCH:
                    self._batch(body)
                elif kind == look.PROBLEM:
                    self._problem(lines.loads(body))
                elif kind == look.CRASH:
                    raise lines.AgentError(body.decode('utf-8', 'replace'))
                elif kind == look.END:
                    if passes > 1 and self.changed == before:
                        break
                    if passes > _PASSES:
                        break
                    passes, before = passes + 1, self.changed
                    os.write(answers, look.AGAIN)
                path = body if kind == look.TICK else None
                self._progress.tell(seen, share, self.changed, path)
            os.write(answers, look.ENOUGH)
        finally:
            frames.close()
            os.close(answers)
            os.waitpid(child, 0)
        self._progress.tell(self.seen, 1.0, self.changed, now=True)
        return passes

    def _looker(self) -> Any:
        frames, pipe = os.pipe()
        reading, answers = os.pipe()
        try:
            # a few batches ahead
            fcntl.fcntl(pipe, _F_SETPIPE_SZ, 1 << 20)
        except OSError:
            # all that a user may have is taken; 64 KB will do
            pass
        child = os.fork()
        if not child:
            try:
                kernel.die_with_parent()
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                os.close(frames)
                os.close(answers)
                look.look(
                    self._tree,
                    self._pairs,
                    self._known,
                    self._journal,
                    self._state,
                    pipe,
                    reading,
                )
            finally:
                os._exit(0)
        os.close(pipe)
        os.close(reading)
        return os.fdopen(frames, 'rb', 1 << 18), answers, child

    def _problem(self, fields: Dict[str, Any]) -> None:
        self._problems.add_fields(fields)
        if 'inode' in fields:
            self._doubts.add(fields)

    # -- a batch -------------------------------------------------------------

    def _batch(self, body: bytes) -> None:
        number = self._journal.batch(body)
        self._carry_out(body, self._journal.batches[number])
        self._journal.mark(number)

    def _carry_out(self, body: bytes, batch: journal_module.Batch) -> None:
        """Change the entries of a batch that is written down.

        The plain ones in line here: there may be hundreds of thousands.
        """
        base = batch.end - len(body)
        at, end = batch.start - base, len(body)
        uids, gids = self._pairs.uids, self._pairs.gids
        unpack = journal_module.ENTRY.unpack_from
        size = journal_module.ENTRY.size
        fchownat, empty = kernel.fchownat, kernel.AT_EMPTY_PATH
        opened, fstat, close = os.open, os.fstat, os.close
        exactly, special = image.EXACTLY, image.SPECIAL
        directory: Any = None
        parent: Optional[int] = None
        changed = 0
        while at < end:
            if body[at] == 68:  # D
                directory, at = journal_module.unpack_directory(body, at)
                parent = self._places.directory(directory, batch.boot)
                continue
            _kind, inode, uid, gid, mode, length, count = unpack(body, at)
            if count or mode & special and not stat.S_ISDIR(mode):
                entry, at = journal_module.unpack_entry(body, at, base)
                self._one(directory, parent, entry)
                continue
            start, at = at, at + size + length
            name = body[start + size : at]
            try:
                if parent is None:
                    raise FileNotFoundError
                descriptor = opened(name, exactly, dir_fd=parent)
            except OSError:
                self._vanished(directory, name, uid, gid)
                continue
            status = fstat(descriptor)
            if (
                status[1] == inode
                and status[0] == mode
                and status[4] == uid
                and status[5] == gid
                and not fchownat(
                    descriptor,
                    b'',
                    uids.get(uid, uid),
                    gids.get(gid, gid),
                    empty,
                )
            ):
                changed += 1
                close(descriptor)
                continue
            close(descriptor)
            # refused, or another one now
            entry = journal_module.unpack_entry(body, start, base)[0]
            self._one(directory, parent, entry)
        self.changed += changed

    def _vanished(
        self, directory: Any, name: bytes, uid: int, gid: int
    ) -> None:
        """One isn't there any more by the name under which it was seen.

        Renamed, it is found again, unless what has its number may have been
        changed already: then it takes the journal to tell, at the next start.
        """
        self.vanished += 1
        pairs = self._pairs
        certain = pairs.certain('uid', uid) or pairs.certain('gid', gid)
        if pairs.chained and not certain:
            self._problems.add(
                'changed-meanwhile',
                mounts.join(directory.path, name),
                'renamed or removed since it was looked at: type the same'
                ' again',
            )

    def _one(
        self,
        directory: Any,
        parent: Optional[int],
        entry: journal_module.Entry,
    ) -> None:
        """Change one entry that is more than an owner, or that resisted."""
        path = mounts.join(directory.path, entry.name)
        try:
            if parent is None:
                raise image.Gone()
            descriptor = os.open(entry.name, image.EXACTLY, dir_fd=parent)
        except (OSError, image.Gone):
            self._vanished(directory, entry.name, entry.uid, entry.gid)
            return
        try:
            if places_module.settle(
                descriptor,
                entry,
                self._pairs,
                self._journal,
                lenient=bool(self._known.lost),
                lift=self._lift,
            ):
                self.changed += 1
        except image.Gone:
            self._vanished(directory, entry.name, entry.uid, entry.gid)
        except image.Changed as error:
            self._problems.add('changed-meanwhile', path, str(error))
        except OSError as error:
            self._problems.add_error(path, error)
        finally:
            os.close(descriptor)


def sync(
    tree: walk.Tree, journal: journal_module.Journal, problems: Problems
) -> None:
    """See to it that what was changed is on disk when the journal is.

    Where the file system has one log for all (ext4_fsync_journal,
    xfs_log_force_seq), the journal's next fdatasync brings all changes along
    that were before it. Anywhere else what others wrote is waited for, too.
    """
    way = descent.Descent(tree.descriptor)
    for region in tree.plan.regions:
        try:
            descriptor = way.to(region.path)
            one_log = region.mount.type in _ONE_LOG
            if not one_log or os.fstat(descriptor).st_dev != journal.device:
                kernel.sync_file_system(descriptor)
        except OSError as error:
            problems.add_error(region.path, error)


def left_out(tree: walk.Tree) -> List[Dict[str, str]]:
    """What was not looked at, for a result."""
    return [
        dict(
            lines.path_fields(mounts.join(tree.path, path)), type=kind, why=why
        )
        for path, kind, why in tree.plan.left_out
    ]
