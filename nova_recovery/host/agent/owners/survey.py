# SPDX-License-Identifier: Apache-2.0

"""What a change would do, and what it left. Nothing is changed here."""

import collections
import os
import stat
from typing import Any, Callable, Counter, Dict, Iterator, Optional, Tuple

from nova_recovery.host.agent import kernel, lines, mounts
from nova_recovery.host.agent.owners import attributes, change, doubts, walk
from nova_recovery.host.agent.owners import places as places_module
from nova_recovery.host.agent.owners.inodes import Index
from nova_recovery.host.agent.owners.journal import Journal
from nova_recovery.host.agent.owners.pairs import Pairs

Say = Callable[..., Any]

#: In what an old number stands.
_IN = {
    attributes.ACCESS: 'acl',
    attributes.DEFAULT: 'default_acl',
    attributes.REMEMBERED: 'remembered',
}
_TYPES = {
    stat.S_IFREG: 'file',
    stat.S_IFDIR: 'directory',
    stat.S_IFLNK: 'link',
}
#: So many directories directly below the root are counted by name.
_WHERE = 1000
#: So many of them are said.
_SAID = 10


class Survey(walk.Sink):
    """Counts, for each old number, what has it."""

    def __init__(self, tree: walk.Tree, pairs: Pairs, say: Say) -> None:
        self._tree, self._pairs, self._say = tree, pairs, say
        self._problems = change.Problems(say)
        self._progress = change.Progress(say)
        self._path = b''
        self.entries = 0
        olds = [('uid', old) for old in pairs.uids]
        olds += [('gid', old) for old in pairs.gids]
        #: (kind, old number) -> what -> how often
        self._counts: Dict[Tuple[str, int], Counter[str]] = {
            old: collections.Counter() for old in olds
        }
        self._where: Dict[Tuple[str, int], Counter[bytes]] = {
            old: collections.Counter() for old in olds
        }

    def run(self) -> Dict[str, Any]:
        """Look at everything; say what was counted; for a result."""
        walking = walk.Walk(self._tree, self._pairs, self)
        walking.run()
        self._progress.tell(walking.seen, 1.0, 0, now=True)
        for (kind, old), counts in sorted(self._counts.items()):
            new = getattr(self._pairs, kind + 's')[old]
            where = self._where[kind, old].most_common(_SAID)
            self._say(
                'count',
                kind=kind,
                old=old,
                new=new,
                where=[
                    dict(lines.path_fields(path), entries=count)
                    for path, count in where
                ],
                **counts,
            )
        return {
            'seen': walking.seen,
            'entries': self.entries,
            'problems': dict(self._problems.counts),
            'left_out': change.left_out(self._tree),
        }

    def directory(self, device: int, inode: int, path: bytes) -> None:
        self._path = path

    def found(
        self, name: bytes, status: os.stat_result, found: list, owned: bool
    ) -> None:
        self.entries += 1
        kind = _TYPES.get(stat.S_IFMT(status.st_mode), 'other')
        top = self._path.split(b'/', 1)[0] or b'.'
        for old, what in _numbers(status, found):
            if old not in self._counts:
                continue
            counts, where = self._counts[old], self._where[old]
            counts[what] += 1
            if what == 'owner':
                counts[kind] += 1
                if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
                    counts['setuid_setgid'] += 1
                if any(name == attributes.CAPABILITY for name, _v in found):
                    counts['capabilities'] += 1
            if top in where or len(where) < _WHERE:
                where[top] += 1

    def problem(self, code: str, path: bytes, text: str) -> None:
        self._problems.add(code, path, text)

    def tick(self, seen: int, share: float, path: bytes) -> None:
        self._progress.tell(seen, share, 0, path)


def show(tree: walk.Tree, pairs: Pairs, say: Say) -> int:
    """Say what a change would change; the exit code."""
    result = Survey(tree, pairs, say).run()
    say('result', state='left' if result['problems'] else 'done', **result)
    return 4 if result['problems'] else 0


class Verify(Survey):
    """Counts what a change left.

    A number that is an old one and a new one is right where the journal says
    that it is the new one, on what came to it after the change (libvirt gives
    its directories their owner each time it starts), and where somebody said
    so (``doubts``).
    """

    def __init__(
        self,
        tree: walk.Tree,
        pairs: Pairs,
        say: Say,
        journal: Optional[Journal],
        in_doubt: Optional[doubts.Doubts],
    ) -> None:
        super().__init__(tree, pairs, say)
        self._journal, self._doubts = journal, in_doubt
        self._index = Index()
        self._told = 0
        self.doubt = 0
        if journal is not None and pairs.chained:
            self._places = places_module.Places(tree, journal)
            for number, batch in enumerate(journal.batches):
                for directory, entries in journal.directories(number):
                    # learns which device is which now
                    self._places.directory(directory, batch.boot)
                    for entry in entries:
                        self._index.add(
                            entry.inode, number, entry.place, directory.device
                        )

    def found(
        self, name: bytes, status: os.stat_result, found: list, owned: bool
    ) -> None:
        if self._pairs.chained and not self._left(name, status, found):
            return
        self._told += 1
        if self._told <= 100:
            self._say(
                'left',
                uid=status.st_uid,
                gid=status.st_gid,
                **lines.path_fields(mounts.join(self._path, name)),
            )
        super().found(name, status, found, owned)

    def _left(self, name: bytes, status: os.stat_result, found: list) -> bool:
        numbers = [number for number, _what in _numbers(status, found)]
        if any(self._pairs.certain(*number) for number in numbers):
            return True
        journal = self._journal
        if journal is None:
            self.doubt += 1
            return True
        known = self._was_changed(journal, status, found)
        if known:
            return False
        finished, in_doubt = journal.finished, self._doubts
        doubted = in_doubt is not None and in_doubt.has(status.st_ino)
        came: Optional[int] = status.st_ctime_ns
        if doubted or known is not None:
            # unless it is another file, it was there before
            came = kernel.born(kernel.AT_FDCWD, name)
        if came is not None and finished is not None and came >= finished:
            # it came to that number after the change, by its new meaning
            return False
        path = mounts.join(self._path, name)
        return in_doubt is None or not in_doubt.settled(path, status.st_ino)

    def _was_changed(
        self, journal: Journal, status: os.stat_result, found: list
    ) -> Optional[bool]:
        """Whether it is as the change left it; None: it changed no such."""
        known = None
        for record in self._index.get(status.st_ino):
            boot = journal.batches[record.batch].boot
            if self._places.device(boot, record.device) != status.st_dev:
                continue
            entry = journal.entry(record.place)
            after = self._pairs.ids(entry.uid, entry.gid)
            becomes = {
                attribute: attributes.mapped(attribute, value, self._pairs)
                for attribute, value in entry.attributes
            }
            if (status.st_uid, status.st_gid) == after and all(
                becomes.get(attribute) == value
                for attribute, value in found
                if attribute != attributes.CAPABILITY
            ):
                return True
            known = False
        return known


def verify(
    tree: walk.Tree,
    pairs: Pairs,
    say: Say,
    journal: Optional[Journal],
    in_doubt: Optional[doubts.Doubts],
) -> int:
    """Say what a change left; the exit code."""
    survey = Verify(tree, pairs, say, journal, in_doubt)
    result = survey.run()
    left = bool(survey.entries or result['problems'])
    if survey.doubt:
        say(
            'doubt',
            entries=survey.doubt,
            text='their numbers are old and new ones: --state with the'
            ' before-images tells which',
        )
    say('result', state='left' if left else 'done', **result)
    return 4 if left else 0


def _numbers(
    status: os.stat_result, found: list
) -> Iterator[Tuple[Tuple[str, int], str]]:
    """Each number of an entry, and in what it stands."""
    yield ('uid', status.st_uid), 'owner'
    yield ('gid', status.st_gid), 'owner'
    for attribute, value in found:
        if attribute in _IN:
            for number in attributes.ids(attribute, value):
                yield number, _IN[attribute]
