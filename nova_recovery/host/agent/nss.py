# SPDX-License-Identifier: Apache-2.0

"""Accounts as the machine resolves them, each source asked by itself.

getent and the module pwd can't tell "nobody has it" from "the directory did
not answer"; the C library can, if one asks a single service.
"""

import ctypes
import errno
import glob
import json
import os
import re
from typing import Any, Dict, List, Sequence, Tuple, Union

from nova_recovery.host.agent import files

Key = Union[str, int]

NSSWITCH = '/etc/nsswitch.conf'
#: Without one of these SSSD has no domain.
_SSSD = ('/etc/sssd/sssd.conf', '/etc/sssd/conf.d/*.conf')
#: What the files on this host say is read from the files themselves.
_LOCAL = ('files', 'compat')


class Passwd(ctypes.Structure):
    """struct passwd, see getpwnam_r(3)."""

    _fields_ = [
        ('name', ctypes.c_char_p),
        ('password', ctypes.c_char_p),
        ('uid', ctypes.c_uint32),
        ('gid', ctypes.c_uint32),
        ('gecos', ctypes.c_char_p),
        ('home', ctypes.c_char_p),
        ('shell', ctypes.c_char_p),
    ]


class Group(ctypes.Structure):
    """struct group, see getgrnam_r(3)."""

    _fields_ = [
        ('name', ctypes.c_char_p),
        ('password', ctypes.c_char_p),
        ('gid', ctypes.c_uint32),
        ('members', ctypes.POINTER(ctypes.c_char_p)),
    ]


_KINDS = {  # type: Dict[str, Tuple[Any, str, str, str]]
    'passwd': (Passwd, 'uid', 'getpwnam_r', 'getpwuid_r'),
    'group': (Group, 'gid', 'getgrnam_r', 'getgrgid_r'),
}


def services(database: str) -> List[str]:
    """The services beside the local files, in the order they are asked."""
    found = ['files']
    for line in files.read(NSSWITCH):
        name, colon, rest = line.partition('#')[0].partition(':')
        if colon and name.strip() == database:
            found = re.sub(r'\[[^]]*\]', ' ', rest).split()
    return [name for name in found if name not in _LOCAL]


def lookup(
    database: str, keys: Sequence[Key]
) -> Tuple[Dict[Key, List[Tuple[str, str, int]]], List[str]]:
    """What each service knows of names and numbers.

    :param database: ``passwd`` or ``group``
    :param keys: names (str) and numbers (int)
    :returns: (found, unknown): found is ``{key: [(service, name, number)]}``,
        unknown says which service could not answer and why
    """
    found = {key: [] for key in keys}  # type: Dict[Key, List[Tuple[str, str, int]]]
    unknown = []
    for service in services(database):
        if not _installed(service):
            # named in nsswitch.conf and not there: the C library skips it
            continue
        for key, answer in zip(keys, _asked(database, service, keys)):
            if isinstance(answer, int):
                unknown.append(
                    'NSS: {} of {} does not answer: {}'.format(
                        service, database, errno.errorcode.get(answer, answer)
                    )
                )
                break
            if answer is not None:
                found[key].append((service, answer[0], answer[1]))
    return found, unknown


def _installed(service: str) -> bool:
    if service == 'sss' and not any(map(glob.glob, _SSSD)):
        # as RHEL installs it; without a domain it never starts
        return False
    try:
        ctypes.CDLL('libnss_{}.so.2'.format(service))
    except OSError:
        return False
    return True


def _asked(database: str, service: str, keys: Sequence[Key]) -> List[Any]:
    """Ask in a child: which service is asked can be set once a process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            answers = _child(database, service, keys)
            with os.fdopen(writing, 'w') as file:
                json.dump(answers, file)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.waitpid(child, 0)
    # a module that brought the child down has told nothing
    return json.loads(text) if text else [errno.EIO] * len(keys)


def _child(database: str, service: str, keys: Sequence[Key]) -> List[Any]:
    library = ctypes.CDLL(None, use_errno=True)
    library.__nss_configure_lookup(database.encode(), service.encode())
    return [_one(library, database, key) for key in keys]


def _one(library: Any, database: str, key: Key) -> Any:
    """(name, number), None where there is none, or an errno."""
    kind, number, by_name, by_number = _KINDS[database]
    function = getattr(library, by_name if isinstance(key, str) else by_number)
    asked = (
        ctypes.c_char_p(os.fsencode(key))
        if isinstance(key, str)
        else ctypes.c_uint32(key)
    )  # type: Any
    size = 4096
    while True:
        record = kind()  # type: Any
        result = ctypes.POINTER(kind)()  # type: Any
        space = ctypes.create_string_buffer(size)
        code = function(
            asked,
            ctypes.byref(record),
            space,
            ctypes.c_size_t(size),
            ctypes.byref(result),
        )
        if code == errno.ERANGE and size < 1 << 24:
            size *= 4
            continue
        if code:
            return code
        if not result:
            return None
        return [os.fsdecode(record.name), getattr(record, number)]
