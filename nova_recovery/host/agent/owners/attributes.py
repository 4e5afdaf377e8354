# SPDX-License-Identifier: Apache-2.0

"""Extended attributes that name users and groups by number.

* POSIX ACLs, access and default: linux/posix_acl_xattr.h.
* What libvirt remembers of a file's owner while a guest has it, and gives it
  back to at the guest's end: "+UID:+GID" as text, without an end byte
  (virSecurityDACRememberLabel in src/security/security_dac.c, 5.1 and later;
  virParseOwnershipIds reads it again, which takes names and numbers without
  a plus, too). Its reference count, ref_dac, names nobody.
* File capabilities name nobody either, but a chown takes them away.
"""

import os
import re
import struct
from typing import Dict, Iterator, List, Tuple

from nova_recovery.host.agent.owners.pairs import Pairs

ACCESS = 'system.posix_acl_access'
DEFAULT = 'system.posix_acl_default'
REMEMBERED = 'trusted.libvirt.security.dac'
CAPABILITY = 'security.capability'
#: Their places are their numbers in the journal: only ever add at the end.
ALL = (ACCESS, DEFAULT, REMEMBERED, CAPABILITY)

Attribute = Tuple[str, bytes]
_HEAD = struct.Struct('<I')
_ENTRY = struct.Struct('<HHI')  # tag, permissions, id
_VERSION = 2
_USER, _GROUP = 0x02, 0x08
_OWNERSHIP = re.compile(
    rb'(\+?)([0-9]{1,10}):(\+?)([0-9]{1,10})(\0?)', re.DOTALL
)


def read(name: bytes, names: List[str], owned: bool, pairs: Pairs) -> list:
    """The attributes of a file that a change has to do with.

    :param name: of the file, in the working directory; never a link
    :param names: what ``os.listxattr`` says of it
    :param owned: whether its owner or group changes, too
    :returns: [(attribute, value)]
    :raises OSError: one can't be read
    """
    found = []
    for attribute in ALL:
        if attribute not in names:
            continue
        if attribute == CAPABILITY and not owned:
            # no chown, so it stays
            continue
        value = os.getxattr(name, attribute, follow_symlinks=False)
        if attribute == CAPABILITY or mapped(attribute, value, pairs) != value:
            found.append((attribute, value))
    return found


def mapped(attribute: str, value: bytes, pairs: Pairs) -> bytes:
    """The attribute as it is after the change."""
    if attribute == REMEMBERED:
        match = _OWNERSHIP.fullmatch(value)
        if not match:
            return value
        plus, uid, other_plus, gid, end = match.groups()
        new = pairs.ids(int(uid), int(gid))
        if new == (int(uid), int(gid)):
            return value
        return b'%s%d:%s%d%s' % (plus, new[0], other_plus, new[1], end)
    if attribute == CAPABILITY or _version(value) != _VERSION:
        return value
    return _mapped_acl(value, pairs)


def ids(attribute: str, value: bytes) -> Iterator[Tuple[str, int]]:
    """Each ('uid' or 'gid', number) that an attribute names."""
    if attribute == REMEMBERED:
        match = _OWNERSHIP.fullmatch(value)
        if match:
            yield 'uid', int(match.group(2))
            yield 'gid', int(match.group(4))
    elif attribute != CAPABILITY and _version(value) == _VERSION:
        for tag, _permissions, number in _entries(value):
            if tag == _USER:
                yield 'uid', number
            elif tag == _GROUP:
                yield 'gid', number


def _mapped_acl(value: bytes, pairs: Pairs) -> bytes:
    """The ACL with new numbers, each of them once.

    Where the new number has an entry already, the two become one that may
    what either might, as its files become those of one owner. libacl refuses
    an ACL that names somebody twice, and keeps them sorted.
    """
    merged: Dict[Tuple[int, int], int] = {}
    ours = False
    for tag, permissions, number in _entries(value):
        new = number
        if tag == _USER:
            new = pairs.uids.get(number, number)
        elif tag == _GROUP:
            new = pairs.gids.get(number, number)
        ours = ours or new != number
        merged[tag, new] = merged.get((tag, new), 0) | permissions
    if not ours:
        return value
    return value[: _HEAD.size] + b''.join(
        _ENTRY.pack(tag, permissions, number)
        for (tag, number), permissions in sorted(merged.items())
    )


def _entries(value: bytes) -> Iterator[Tuple[int, int, int]]:
    last = len(value) - _ENTRY.size
    for place in range(_HEAD.size, last + 1, _ENTRY.size):
        yield _ENTRY.unpack_from(value, place)


def _version(value: bytes) -> int:
    if len(value) < _HEAD.size:
        return 0
    return int(_HEAD.unpack_from(value)[0])
