# SPDX-License-Identifier: Apache-2.0

"""The entries of a journal, found again where they were seen."""

import os
from typing import Dict, Iterator, Optional, Tuple

from nova_recovery.host.agent import kernel, mounts
from nova_recovery.host.agent.owners import descent, image, walk
from nova_recovery.host.agent.owners import journal as journal_module
from nova_recovery.host.agent.owners.pairs import Pairs

#: path, record of its directory, entry, descriptor (None: it is gone)
Found = Tuple[
    bytes, journal_module.Directory, journal_module.Entry, Optional[int]
]


class Immutable(OSError):
    """chattr's +i or +a; ``strerror`` says which."""


class Places:
    """Opens what records speak of, and nothing else."""

    def __init__(
        self, tree: walk.Tree, journal: journal_module.Journal
    ) -> None:
        self._descent = descent.Descent(tree.descriptor)
        self._journal = journal
        # numbers of devices change with a boot or a mount: (boot, then) ->
        # now, as learned from the inodes of directories
        self._devices: Dict[Tuple[bytes, int], int] = {}

    def entries(self, number: int) -> Iterator[Found]:
        """Those of one batch; a descriptor is closed after its turn."""
        batch = self._journal.batches[number]
        for directory, entries in self._journal.directories(number):
            parent = self.directory(directory, batch.boot)
            for entry in entries:
                path = mounts.join(directory.path, entry.name)
                descriptor = None
                if parent is not None:
                    descriptor = _opened(entry.name, parent)
                if descriptor is None:
                    yield path, directory, entry, None
                    continue
                try:
                    if image.replaced(descriptor, batch.time):
                        yield path, directory, entry, None
                    else:
                        yield path, directory, entry, descriptor
                finally:
                    os.close(descriptor)

    def directory(
        self, record: journal_module.Directory, boot: bytes
    ) -> Optional[int]:
        """The descriptor of a directory; None if it isn't there any more."""
        try:
            descriptor = self._descent.to(record.path)
        except OSError:
            return None
        status = os.fstat(descriptor)
        if status.st_ino != record.inode:
            return None
        known = self._devices.setdefault((boot, record.device), status.st_dev)
        return descriptor if known == status.st_dev else None

    def device(self, boot: bytes, then: int) -> Optional[int]:
        """What a device of a record is now; None: nobody knows."""
        same = then if boot == self._journal.boot else None
        return self._devices.get((boot, then), same)


def _opened(name: bytes, parent: int) -> Optional[int]:
    try:
        return os.open(name, image.EXACTLY, dir_fd=parent)
    except OSError:
        return None


def settle(
    descriptor: int,
    entry: journal_module.Entry,
    pairs: Pairs,
    journal: journal_module.Journal,
    back: bool = False,
    lenient: bool = False,
    lift: bool = False,
) -> bool:
    """``image.bring``, and chattr's flags out of the way and back.

    :param lift: whether they may be lifted; what an earlier run lifted was
        allowed
    :raises Immutable: they are in the way
    """
    flags = journal.lifted.get(entry.place)
    if flags is None:
        try:
            return image.bring(descriptor, entry, pairs, back, lenient)
        except PermissionError as error:
            flags = kernel.flags(descriptor)
            if not flags:
                raise
            if not lift:
                immutable = flags & kernel.IMMUTABLE
                raise Immutable(
                    error.errno, 'immutable' if immutable else 'append-only'
                ) from error
            journal.lift(entry.place, flags)
    if os.fstat(descriptor).st_ino != entry.inode:
        raise image.Gone()
    found = kernel.flags(descriptor)
    if lenient:
        # killed in between: they were these
        restored = flags
    else:
        restored = found
    if found:
        kernel.set_flags(descriptor, 0)
    try:
        return image.bring(descriptor, entry, pairs, back, lenient)
    finally:
        if restored:
            kernel.set_flags(descriptor, restored)
