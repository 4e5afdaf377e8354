# SPDX-License-Identifier: Apache-2.0

"""The accounts of nova and libvirt on this host, and who uses a number."""

import collections
import os
import re
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Set,
    Tuple,
)

from nova_recovery.host.agent import files, nss
from nova_recovery.host.agent.lines import AgentError

PASSWD, GROUP = '/etc/passwd', '/etc/group'
#: What each is called by one distribution or another.
USERS = {'nova': ('nova',), 'qemu': ('libvirt-qemu', 'qemu')}
GROUPS = {
    'nova': ('nova',),
    'qemu': ('libvirt-qemu', 'qemu'),
    'libvirt': ('libvirt', 'libvirtd'),
    'kvm': ('kvm',),
}
#: systemd hands these out to services with DynamicUser=, see
#: https://systemd.io/UIDS-GIDS
DYNAMIC = range(61184, 65520)
_DYNAMIC_LIVE = '/run/systemd/dynamic-uid'
_CONFIG = ('/etc', '/run', '/usr/local/lib', '/usr/lib')
#: How many processes are named for one number.
_NAMED = 5

#: which (uid or gid) -> number -> who uses it: ``[{kind, who}]``
Uses = Dict[str, Dict[int, List[Dict[str, str]]]]
Note = Callable[[str, int, str, str], None]


class User(NamedTuple):
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


class Group(NamedTuple):
    """A line of /etc/group."""

    name: str
    gid: int
    members: List[str]


def users() -> List[User]:
    """The lines of /etc/passwd, in order.

    :raises AgentError: it can't be read
    """
    return [
        User(row[0], int(row[2]), int(row[3]), row[5], row[6])
        for row in _rows(PASSWD, 7)
    ]


def groups() -> List[Group]:
    """The lines of /etc/group, in order.

    :raises AgentError: it can't be read
    """
    return [
        Group(row[0], int(row[2]), [n for n in row[3].split(',') if n])
        for row in _rows(GROUP, 4)
    ]


def _rows(path: str, fields: int) -> Iterator[List[str]]:
    try:
        rows = [line.split(':') for line in files.read(path)]
    except OSError as error:
        raise AgentError('{}: {}'.format(path, error.strerror)) from None
    for row in rows:
        # lines of NIS (+, -) have no number
        if len(row) == fields and row[2].isdigit():
            if path == GROUP or row[3].isdigit():
                yield row


def show(
    uids: Collection[int] = (), gids: Collection[int] = ()
) -> Dict[str, Any]:
    """The accounts, side by side with who uses their numbers.

    :param uids: numbers to look up as well
    :returns: ``users`` and ``groups`` by name; ``missing``; ``uses`` (``uid``
        and ``gid`` -> number -> ``[{kind, who}]``); ``unknown``: what could
        not be asked, without which no number counts as free
    """
    passwd, group = users(), groups()
    names = [n for some in USERS.values() for n in some]
    group_names = [n for some in GROUPS.values() for n in some]
    by_name, unknown = nss.lookup('passwd', names)
    groups_by_name, more = nss.lookup('group', group_names)
    found = {
        name: _user(name, passwd, by_name[name])
        for name in names
        if by_name[name] or any(user.name == name for user in passwd)
    }
    found_groups = {
        name: _group(name, group, groups_by_name[name])
        for name in group_names
        if groups_by_name[name] or any(some.name == name for some in group)
    }
    uses, and_more = used(
        {user['uid'] for user in found.values()} | set(uids),
        {some['gid'] for some in found_groups.values()} | set(gids),
    )
    return {
        'users': found,
        'groups': found_groups,
        'missing': sorted(
            [
                'user ' + '|'.join(some)
                for some in USERS.values()
                if not any(name in found for name in some)
            ]
            + [
                'group ' + '|'.join(some)
                for some in GROUPS.values()
                if not any(name in found_groups for name in some)
            ]
        ),
        'uses': uses,
        'unknown': sorted(set(unknown + more + and_more)),
    }


def _user(
    name: str, passwd: List[User], elsewhere: List[Tuple[str, str, int]]
) -> Dict[str, Any]:
    for user in passwd:
        if user.name == name:
            return {
                'uid': user.uid,
                'gid': user.gid,
                'home': user.home,
                'shell': user.shell,
                'source': 'passwd',
                'shared_with': [
                    other.name
                    for other in passwd
                    if other.uid == user.uid and other.name != name
                ],
            }
    service, _name, uid = elsewhere[0]
    # usermod can't change it: it isn't this host's
    return {'uid': uid, 'source': service, 'shared_with': []}


def _group(
    name: str, group: List[Group], elsewhere: List[Tuple[str, str, int]]
) -> Dict[str, Any]:
    for some in group:
        if some.name == name:
            return {
                'gid': some.gid,
                'members': some.members,
                'source': 'group',
                'shared_with': [
                    other.name
                    for other in group
                    if other.gid == some.gid and other.name != name
                ],
            }
    service, _name, gid = elsewhere[0]
    return {'gid': gid, 'source': service, 'shared_with': []}


def used(
    uids: Collection[int], gids: Collection[int]
) -> Tuple[Uses, List[str]]:
    """Who uses these numbers.

    :returns: (uses, unknown) as in :func:`show`. Kinds: ``passwd``,
        ``group``, ``primary`` (of a user), ``nss``, ``process``, ``subid``,
        ``dynamic`` (a service of systemd), ``dynamic-range`` (may be given to
        one), ``tmpfiles.d`` and ``sysusers.d`` (a line with the number)
    """
    uses = {
        'uid': {number: [] for number in sorted(uids)},
        'gid': {number: [] for number in sorted(gids)},
    }  # type: Uses

    def note(which: str, number: int, kind: str, who: str) -> None:
        if number in uses[which]:
            uses[which][number].append({'kind': kind, 'who': who})

    for user in users():
        note('uid', user.uid, 'passwd', user.name)
        note('gid', user.gid, 'primary', user.name)
    for group in groups():
        note('gid', group.gid, 'group', group.name)
    unknown = []  # type: List[str]
    for which, database in (('uid', 'passwd'), ('gid', 'group')):
        found, more = nss.lookup(database, sorted(uses[which]))
        unknown += more
        for number, answers in found.items():
            for service, name, _number in answers:
                note(
                    which, int(number), 'nss', '{} ({})'.format(name, service)
                )
    _processes(uses)
    for which, path in (('uid', '/etc/subuid'), ('gid', '/etc/subgid')):
        _delegated(which, path, uses, note)
    for which in uses:
        _dynamic(which, uses, note)
    _configured(note)
    return uses, unknown


def processes(
    uids: Collection[int] = (), gids: Collection[int] = ()
) -> List[Tuple[int, str]]:
    """The processes that run with one of the numbers: [(pid, name)].

    All four uids and gids count, and supplementary groups.
    """
    return [
        (pid, name)
        for pid, name, its_uids, its_gids in _running()
        if its_uids & set(uids) or its_gids & set(gids)
    ]


def _running() -> Iterator[Tuple[int, str, Set[int], Set[int]]]:
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            with open('/proc/{}/status'.format(entry), 'rb') as file:
                text = file.read().decode('utf-8', 'replace')
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = dict(
            line.split(':\t', 1) for line in text.splitlines() if ':\t' in line
        )
        if fields.get('State', '').startswith('Z'):
            continue
        yield (
            int(entry),
            fields['Name'],
            {int(word) for word in fields['Uid'].split()},
            {
                int(word)
                for word in (
                    fields['Gid'] + ' ' + fields.get('Groups', '')
                ).split()
            },
        )


def _processes(uses: Uses) -> None:
    seen = collections.defaultdict(list)  # type: Dict[Tuple[str, int], List[str]]
    for pid, name, its_uids, its_gids in _running():
        for which, numbers in (('uid', its_uids), ('gid', its_gids)):
            for number in numbers & set(uses[which]):
                seen[which, number].append('{} ({})'.format(name, pid))
    for (which, number), found in seen.items():
        who = ', '.join(found[:_NAMED])
        if len(found) > _NAMED:
            who += ' and {} more'.format(len(found) - _NAMED)
        uses[which][number].append({'kind': 'process', 'who': who})


def _delegated(which: str, path: str, uses: Uses, note: Note) -> None:
    for line in files.read(path):
        name, _colon, rest = line.partition(':')
        match = re.match(r'(\d+):(\d+)$', rest.strip())
        if match:
            first, count = int(match.group(1)), int(match.group(2))
            for number in uses[which]:
                if first <= number < first + count:
                    note(which, number, 'subid', name)


def _dynamic(which: str, uses: Uses, note: Note) -> None:
    for number in uses[which]:
        if number in DYNAMIC:
            note(which, number, 'dynamic-range', 'DynamicUser= of systemd')
            path = os.path.join(_DYNAMIC_LIVE, str(number))
            for name in files.read(path)[:1] or (
                ['?'] if os.path.exists(path) else []
            ):
                note(which, number, 'dynamic', name)


def _configured(note: Note) -> None:
    for where, text in _lines_of('tmpfiles.d'):
        words = text.split()
        for which, place in (('uid', 3), ('gid', 4)):
            # a colon before it: only for what is new, see tmpfiles.d(5)
            number = words[place].lstrip(':') if len(words) > place else ''
            if number.isdigit():
                note(which, int(number), 'tmpfiles.d', where + ': ' + text)
    for where, text in _lines_of('sysusers.d'):
        words = text.split()
        if len(words) < 3 or words[0].rstrip('!') not in ('u', 'g'):
            continue
        first, _colon, second = words[2].partition(':')
        group = words[0] == 'g'
        # "u NAME 108" makes a group with that number, too
        for which, number in (
            ('gid' if group else 'uid', first),
            ('gid', second or ('' if group else first)),
        ):
            if number.isdigit():
                note(which, int(number), 'sysusers.d', where + ': ' + text)


def _lines_of(folder: str) -> Iterator[Tuple[str, str]]:
    """(file:line, text) of the files in force, see tmpfiles.d(5)."""
    paths = {}  # type: Dict[str, str]
    for base in reversed(_CONFIG):
        directory = os.path.join(base, folder)
        if os.path.isdir(directory):
            for name in os.listdir(directory):
                if name.endswith('.conf'):
                    paths[name] = os.path.join(directory, name)
    for _name, path in sorted(paths.items()):
        for number, line in enumerate(files.read(path), 1):
            if line.strip() and not line.startswith('#'):
                yield '{}:{}'.format(path, number), ' '.join(line.split())
