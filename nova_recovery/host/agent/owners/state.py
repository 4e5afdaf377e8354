# SPDX-License-Identifier: Apache-2.0

"""The directory in which the before-images lie, and its lock."""

import fcntl
import os
import stat
import time
from typing import Any, Dict, Optional

from nova_recovery.host.agent import lines
from nova_recovery.host.agent.owners import doubts, walk
from nova_recovery.host.agent.owners.journal import Journal
from nova_recovery.host.agent.owners.pairs import Pairs

_VERSION = 1


class State:
    """Taken by one process at a time, as long as that lives."""

    def __init__(self, path: str) -> None:
        """Make it if it isn't there, and lock it.

        :raises lines.Refused: another one has it
        :raises lines.AgentError: others could write into it
        """
        self.path = os.path.abspath(path)
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        check(self.path)
        self.journal_path = journal_path(self.path)
        self._lock = os.open(
            os.path.join(self.path, 'owners.lock'),
            os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
            0o600,
        )
        # of this process alone: a child that outlives it holds nothing
        for _ in range(20):
            try:
                fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                # one that is being killed may need a moment
                time.sleep(0.05)
        else:
            raise lines.Refused(
                'another change, or undo, works with %s: wait for its end'
                % self.path
            )
        self._sync()

    def close(self) -> None:
        os.close(self._lock)

    def journal(self, tree: walk.Tree, pairs: Pairs) -> Journal:
        """The journal of this change, begun now or earlier.

        :raises lines.Refused: it is of another one
        """
        journal = self.opened()
        if journal.undone:
            # that is over; its before-images stay readable until the next
            journal.close()
            os.rename(self.journal_path, self.journal_path + '.undone')
            self._sync()
            journal = self.opened()
        if journal.head is None:
            if os.path.exists(doubts.path(self.path)):
                os.unlink(doubts.path(self.path))
            journal.begin(
                dict(
                    pairs.as_json(),
                    version=_VERSION,
                    root=os.fsdecode(tree.path),
                    began=tree.next_tick(),
                )
            )
        compare(journal, tree, pairs)
        if journal.undo_began:
            raise lines.Refused(
                'an undo of this change has begun: type the undo again, it'
                ' goes on'
            )
        seen = {
            os.fsdecode(region.mount.target): region.mount.type
            for region in tree.plan.regions
        }
        if seen.items() - journal.mounts.items():
            journal.see(seen)
        return journal

    def opened(self) -> Journal:
        """The journal as it is; empty at first."""
        return Journal.open(self.journal_path)

    def _sync(self) -> None:
        for path in (self.path, os.path.dirname(self.path)):
            directory = os.open(path, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)


def journal_path(path: str) -> str:
    return os.path.join(os.path.abspath(path), 'owners.journal')


def check(path: str) -> None:
    """That nobody else could have written what lies there.

    :raises lines.AgentError: somebody could
    """
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        raise lines.Usage('--state %s is a link' % path)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise lines.AgentError(
            '--state %s: others may write there: give one that only %d may'
            ' write' % (path, os.geteuid())
        )


def compare(
    journal: Journal, tree: walk.Tree, pairs: Optional[Pairs]
) -> Pairs:
    """Whether a journal is of this change; its pairs.

    :param pairs: None takes those of the journal
    :raises lines.Refused: it isn't
    """
    head: Dict[str, Any] = journal.head or {}
    if head.get('version') != _VERSION:
        raise lines.Refused(
            '%s is of another release: use that one' % journal.path
        )
    mine = Pairs.from_json(head)
    root = os.fsencode(head['root'])
    if root != tree.path or (pairs is not None and pairs != mine):
        raise lines.Refused(
            '%s has the before-images of another change: --root %s %s. Give'
            ' that, or another --state' % (journal.path, head['root'], mine)
        )
    return mine
