# SPDX-License-Identifier: Apache-2.0

"""One entry between its before-image and what it becomes.

All goes through a descriptor of exactly the inode that was seen: by its name
it would be a race, since who may write the directory can put another file
there between a look and a change.
"""

import os
import stat
from typing import Dict, List, Optional, Tuple

from nova_recovery.host.agent import kernel
from nova_recovery.host.agent.owners import attributes
from nova_recovery.host.agent.owners.journal import Entry
from nova_recovery.host.agent.owners.pairs import Pairs

#: A descriptor of an inode, whatever it is, that opens nothing.
EXACTLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
SPECIAL = stat.S_ISUID | stat.S_ISGID


class Gone(Exception):
    """It isn't there: another inode, or none, has its name."""


class Changed(Exception):
    """Somebody changed it since."""


def plain(entry: Entry) -> bool:
    """Whether a chown is all there is to do."""
    return not entry.attributes and (
        not entry.mode & SPECIAL or stat.S_IFMT(entry.mode) == stat.S_IFDIR
    )


def bring(
    descriptor: int,
    entry: Entry,
    pairs: Pairs,
    back: bool = False,
    lenient: bool = False,
) -> bool:
    """Make an entry what it becomes, or what it was.

    Every part of it must be as it was or as it becomes.

    :param back: to what it was
    :param lenient: what a chown takes away may be missing, since a change of
        it may have been killed half-way
    :returns: whether there was something to do
    :raises Gone: that is another inode
    :raises Changed: a part of it is neither
    :raises OSError: the kernel or the file system refuses
    """
    status = os.fstat(descriptor)
    kind = stat.S_IFMT(entry.mode)
    if status.st_ino != entry.inode or stat.S_IFMT(status.st_mode) != kind:
        raise Gone()
    before = entry.uid, entry.gid
    after = pairs.ids(*before)
    now = status.st_uid, status.st_gid
    if now not in (before, after):
        raise Changed('its owner is %d:%d now' % now)
    if status.st_mode != entry.mode and not (
        lenient and status.st_mode | (entry.mode & SPECIAL) == entry.mode
    ):
        raise Changed('its mode is %o now' % stat.S_IMODE(status.st_mode))
    path = '/proc/self/fd/%d' % descriptor
    # a link has no attributes that name anybody, and could not be asked
    has = {} if kind == stat.S_IFLNK else _attributes(path, entry, kind)
    wanted: List[Tuple[str, bytes]] = []
    for name, value in entry.attributes:
        becomes = attributes.mapped(name, value, pairs)
        if has[name] not in (value, becomes) and not (
            lenient and name == attributes.CAPABILITY and has[name] is None
        ):
            raise Changed('its %s is another now' % name)
        wanted.append((name, value if back else becomes))
    if has.get(attributes.CAPABILITY) and not any(
        name == attributes.CAPABILITY for name, _value in entry.attributes
    ):
        if before != after:
            raise Changed('it has file capabilities now')
    owner = before if back else after
    did = _chown(descriptor, now, owner)
    for name, value in wanted:
        lost = did and name == attributes.CAPABILITY
        if lost or has[name] != value:
            os.setxattr(path, name, value)
            did = True
    special = entry.mode & SPECIAL and kind not in (stat.S_IFDIR, stat.S_IFLNK)
    if (did and special) or status.st_mode != entry.mode:
        os.chmod(path, stat.S_IMODE(entry.mode))
        did = True
    return did


def became(descriptor: int, entry: Entry, pairs: Pairs) -> bool:
    """Whether the attributes of an entry are as they become."""
    path = '/proc/self/fd/%d' % descriptor
    has = _attributes(path, entry, stat.S_IFMT(entry.mode))
    return all(
        has[name] == attributes.mapped(name, value, pairs)
        for name, value in entry.attributes
    )


def _attributes(
    path: str, entry: Entry, kind: int
) -> Dict[str, Optional[bytes]]:
    names = {name for name, _value in entry.attributes}
    if kind == stat.S_IFREG:
        names.add(attributes.CAPABILITY)
    found: Dict[str, Optional[bytes]] = {}
    for name in names:
        try:
            found[name] = os.getxattr(path, name)
        except OSError:
            # ENODATA, or a file system without
            found[name] = None
    return found


def _chown(
    descriptor: int, now: Tuple[int, int], owner: Tuple[int, int]
) -> bool:
    if now == owner:
        return False
    if kernel.fchownat(descriptor, b'', *owner, kernel.AT_EMPTY_PATH):
        raise kernel.failed()
    return True


def replaced(descriptor: int, written: int) -> bool:
    """Whether an inode was made after its before-image was written down.

    Then its number was given again, to another file. Where nobody keeps when
    an inode was made, the number is believed.
    """
    born = kernel.born(descriptor)
    return born is not None and born > written
