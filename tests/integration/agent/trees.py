# SPDX-License-Identifier: Apache-2.0

"""Trees of files as hosts have them, and worse; Python 3.6, too."""

import os
import stat
import struct

CAPABILITY = 'security.capability'
ACCESS = 'system.posix_acl_access'
DEFAULT = 'system.posix_acl_default'
REMEMBERED = 'trusted.libvirt.security.dac'
REFERENCES = 'trusted.libvirt.security.ref_dac'

#: cap_net_raw=ep, as setcap writes it.
NET_RAW = struct.pack('<IIIII', 0x02000001, 1 << 13, 0, 0, 0)

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NOBODY = 0xFFFFFFFF


def acl(users=(), groups=(), owner=6, group=4, mask=7, other=4):
    """A POSIX ACL as the kernel has it; users and groups {id: rwx}."""
    entries = [(USER_OBJ, owner, NOBODY)]
    entries += [(USER, may, who) for who, may in sorted(dict(users).items())]
    entries += [(GROUP_OBJ, group, NOBODY)]
    entries += [(GROUP, may, who) for who, may in sorted(dict(groups).items())]
    entries += [(MASK, mask, NOBODY), (OTHER, other, NOBODY)]
    return struct.pack('<I', 2) + b''.join(
        struct.pack('<HHI', *entry) for entry in entries
    )


def make(path, uid, gid, mode=0o644, kind=stat.S_IFREG):
    """One file, pipe, socket, device or directory."""
    path = os.fsencode(path)
    if kind == stat.S_IFDIR:
        os.mkdir(path)
    else:
        device = os.makedev(1, 3) if kind == stat.S_IFCHR else 0
        os.mknod(path, kind | 0o600, device)
    os.chown(path, uid, gid)
    os.chmod(path, mode)


def link(target, path, uid, gid):
    os.symlink(target, path)
    os.chown(path, uid, gid, follow_symlinks=False)


def build(top):
    """What a walk can meet on one file system, below ``top``/in.

    ``top``/out is what it must not touch.
    """
    top = os.fspath(top)
    os.makedirs(top + '/in')
    os.makedirs(top + '/out')
    inside = top + '/in/'
    make(top + '/out/target', 108, 120, 0o4755)
    make(inside + 'deep', 108, 120, 0o2770, stat.S_IFDIR)
    make(inside + 'deep/er', 112, 124, 0o1777, stat.S_IFDIR)
    make(inside + 'plain', 108, 120)
    make(inside + 'setuid', 108, 120, 0o6755)
    make(inside + 'only-group', 5, 121, 0o2755)
    make(inside + 'others', 5, 6)
    make(inside + 'chained', 112, 124, 0o600)
    make(inside + 'end-of-chain', 119, 128, 0o600)
    make(os.fsencode(inside) + b'new\nline', 108, 5)
    make(os.fsencode(inside) + b'no \xff\xfe utf-8', 108, 120)
    make(inside + 'capable', 112, 5, 0o755)
    os.setxattr(inside + 'capable', CAPABILITY, NET_RAW)
    make(inside + 'acl-only', 5, 6)
    os.setxattr(
        inside + 'acl-only', ACCESS, acl({108: 6, 112: 4, 7: 4}, {120: 4})
    )
    make(inside + 'acl-too', 108, 120, 0o4640)
    os.setxattr(inside + 'acl-too', ACCESS, acl({119: 7}, {124: 5}))
    make(inside + 'default', 5, 121, 0o3770, stat.S_IFDIR)
    os.setxattr(inside + 'default', DEFAULT, acl({112: 7}, {121: 7}))
    os.setxattr(inside + 'default', ACCESS, acl({112: 7}, owner=7, mask=7))
    make(inside + 'disk', 119, 120, 0o600)
    os.setxattr(inside + 'disk', REMEMBERED, b'+112:+124')
    os.setxattr(inside + 'disk', REFERENCES, b'1')
    make(inside + 'remembered-only', 5, 6, 0o600)
    os.setxattr(inside + 'remembered-only', REMEMBERED, b'108:+120')
    make(inside + 'pipe', 108, 120, 0o4644, stat.S_IFIFO)
    make(inside + 'socket', 112, 120, 0o600, stat.S_IFSOCK)
    make(inside + 'device', 5, 124, 0o2660, stat.S_IFCHR)
    link('../out/target', inside + 'link', 108, 120)
    link('../out', inside + 'link-to-directory', 112, 120)
    link('nowhere', inside + 'broken-link', 108, 5)
    os.link(inside + 'chained', inside + 'deep/er/hard-link')
    os.link(inside + 'setuid', inside + 'deep/hard-link')
    make(inside + 'deep/er/x', 112, 121, 0o600)
    os.chown(inside, 108, 5)


#: A chain in both, whose numbers are in ``build``.
CHAIN = [
    '--uid', '108:112', '--uid', '112:119', '--uid', '119:64055',
    '--gid', '120:124', '--gid', '124:125', '--gid', '121:126',
]  # fmt: skip
SWAP = ['--uid', '108:112', '--uid', '112:108', '--gid', '120:124']
PLAIN = ['--uid', '108:162', '--uid', '119:163', '--gid', '120:162']


def numbers(words):
    """({old: new} of users, {old: new} of groups) of such words."""
    maps = {'--uid': {}, '--gid': {}}
    for kind, pair in zip(words[::2], words[1::2]):
        old, new = pair.split(':')
        maps[kind][int(old)] = int(new)
    return maps['--uid'], maps['--gid']


def snapshot(top):
    """{path: what must be the same}: owner, mode, link, all attributes."""
    found = {}
    top = os.fsencode(os.fspath(top))
    paths = [top]
    for directory, inner, files in os.walk(top):
        paths += [os.path.join(directory, name) for name in inner + files]
    for path in paths:
        status = os.lstat(path)
        attributes = {}
        if not stat.S_ISLNK(status.st_mode):
            attributes = {
                name: os.getxattr(path, name)
                for name in sorted(os.listxattr(path))
            }
        found[path[len(top) :]] = (
            status.st_ino,
            status.st_uid,
            status.st_gid,
            oct(status.st_mode),
            status.st_mtime_ns,
            status.st_nlink,
            attributes,
        )
    return found


def expected(before, words):
    """What a snapshot becomes, computed another way than the agent does."""
    uids, gids = numbers(words)
    after = {}
    for path, was in before.items():
        inode, uid, gid, mode, time, links, attributes = was
        if path == b'/in' or path.startswith(b'/in/'):
            uid, gid = uids.get(uid, uid), gids.get(gid, gid)
            attributes = {
                name: _attribute(name, value, uids, gids)
                for name, value in attributes.items()
            }
        after[path] = (inode, uid, gid, mode, time, links, attributes)
    return after


def _attribute(name, value, uids, gids):
    if name == REMEMBERED:
        words = []
        for word, ids in zip(value.decode().split(':'), (uids, gids)):
            number = ids.get(int(word), int(word))
            words.append(('+' if word.startswith('+') else '') + str(number))
        return ':'.join(words).encode()
    if name not in (ACCESS, DEFAULT):
        return value
    entries = []
    for at in range(4, len(value), 8):
        tag, may, who = struct.unpack_from('<HHI', value, at)
        ids = {USER: uids, GROUP: gids}.get(tag, {})
        entries.append((tag, ids.get(who, who), may))
    return value[:4] + b''.join(
        struct.pack('<HHI', tag, may, who) for tag, who, may in sorted(entries)
    )


def difference(one, other):
    """What two snapshots don't have in common, to be read."""
    return {
        path: (one.get(path), other.get(path))
        for path in sorted(set(one) | set(other))
        if one.get(path) != other.get(path)
    }
