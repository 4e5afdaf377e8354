# SPDX-License-Identifier: Apache-2.0

"""Directories opened from a root downwards, never through a link."""

import os
from typing import List, Optional

from nova_recovery.host.agent import lines

OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: So many descriptors stay open on the way down.
_KEPT = 200


class Descent:
    """Where we are below a root, with the descriptors on the way there."""

    def __init__(self, root: int) -> None:
        self._names: List[bytes] = []
        self._open: List[Optional[int]] = [root]
        self._root = root
        self._oldest = 1

    def enter(self, depth: int, name: bytes) -> int:
        """Go into a directory of the one that is ``depth`` below the root.

        :returns: its descriptor, which is not to be closed
        :raises OSError: it can't be opened (ENOTDIR, ELOOP: it is no
            directory any more)
        """
        self.leave(depth)
        parent = self._descriptor(depth)
        descriptor = open_directory(name, parent)
        self._names.append(name)
        self._open.append(descriptor)
        if len(self._open) - self._oldest > _KEPT:
            oldest = self._open[self._oldest]
            if oldest is not None:
                os.close(oldest)
                self._open[self._oldest] = None
            self._oldest += 1
        return descriptor

    def to(self, path: bytes) -> int:
        """Go to a path relative to the root; b'' is the root."""
        names = path.split(b'/') if path else []
        depth = 0
        for mine, wanted in zip(self._names, names):
            if mine != wanted:
                break
            depth += 1
        self.leave(depth)
        descriptor = self._descriptor(depth)
        for name in names[depth:]:
            descriptor = self.enter(depth, name)
            depth += 1
        return descriptor

    def leave(self, depth: int) -> None:
        """Go up until we are ``depth`` below the root."""
        while len(self._names) > depth:
            self._names.pop()
            descriptor = self._open.pop()
            if descriptor is not None:
                os.close(descriptor)
        self._oldest = min(self._oldest, len(self._open))
        self._oldest = max(self._oldest, 1)

    @property
    def path(self) -> bytes:
        return b'/'.join(self._names)

    def _descriptor(self, depth: int) -> int:
        descriptor = self._open[depth]
        if descriptor is None:
            # closed on the way down, which was long
            descriptor = os.dup(self._root)
            try:
                for name in self._names[:depth]:
                    inner = open_directory(name, descriptor)
                    os.close(descriptor)
                    descriptor = inner
            except OSError:
                os.close(descriptor)
                raise
            self._open[depth] = descriptor
            self._oldest = min(self._oldest, depth)
        return descriptor


def open_directory(name: bytes, parent: int) -> int:
    """Open one component; its time of access stays where that is allowed."""
    try:
        return os.open(name, OPEN | os.O_NOATIME, dir_fd=parent)
    except PermissionError:
        return os.open(name, OPEN, dir_fd=parent)


def open_root(path: bytes) -> int:
    """Open an absolute path, where no component may be a link.

    :raises lines.AgentError: one is, or it is no directory
    """
    descriptor = os.open(b'/', OPEN)
    for name in [part for part in path.split(b'/') if part]:
        try:
            inner = open_directory(name, descriptor)
        except OSError as error:
            raise lines.AgentError(
                '--root %s: %s' % (os.fsdecode(path), error.strerror)
            ) from error
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor
