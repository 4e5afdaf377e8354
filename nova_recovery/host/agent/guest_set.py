# SPDX-License-Identifier: Apache-2.0

"""A guest's console and DHCPSERVER: as it runs, is defined, and old nova had.

Three places: ``config`` (the XML that its next start takes), ``live`` (what
it runs with) and ``file`` (``libvirt.xml`` of its directory, which novas
before Ocata wrote, and those before Grizzly started it from).
"""

import contextlib
import os
import re
import socket
import stat
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from nova_recovery.host.agent import guest_xml, nova_conf, virsh
from nova_recovery.host.agent.lines import AgentError, Refused

_NAME = 'libvirt.xml'
_ASIDE = '.libvirt.xml.nova-recovery'
#: More than any guest's.
_LONGEST = 1 << 20
#: What nova called it: (section, option); Kilo and Ocata renamed it.
_LISTEN = (
    ('vnc', 'server_listen'),
    ('vnc', 'vncserver_listen'),
    ('DEFAULT', 'vncserver_listen'),
)

#: What a console may listen on, and what no XML ends at.
_ADDRESS = re.compile('[A-Za-z0-9_.:%-]{1,255}')

#: place, what (as of guest_xml), as it was, as it shall be
Edit = Tuple[str, str, str, str]


def show(
    found: Dict[str, Any], word: str, listen: Optional[str], whole: bool
) -> Dict[str, Any]:
    """What is known of a guest.

    :param word: its UUID, or the name of its domain
    :param listen: an address that its console may get; ``host``: nova's own
    :param whole: with ``xml``: place -> all of it, without what is secret
    :returns: ``guest``: its row of :func:`virsh.domains` with ``persistent``
        (False: it is gone when it ends), ``config``, ``live`` (None where it
        does not run), ``file`` (None where there is none), each as
        :func:`guest_xml.values`, and ``path`` of the file; None where there
        is no such guest. ``listen`` and ``listen_from``: see
        :func:`listens`; ``bindable``: whether this host has the address
    """
    by_nova, where = listens(found['nova_conf'])
    wanted = by_nova if listen == 'host' else listen
    said: Dict[str, Any] = {
        'listen': by_nova,
        'listen_from': where,
        'bindable': None if wanted is None else bindable(wanted),
        'guest': None,
    }
    for row in virsh.domains(found):
        if word in (row['uuid'], row['name']):
            said['guest'] = dict(row, **_shown(found, row, whole))
    return said


def _shown(
    found: Dict[str, Any], row: Dict[str, Any], whole: bool
) -> Dict[str, Any]:
    with _file(found, row) as (path, folder):
        texts = _texts(found, row, path, folder)
    shown: Dict[str, Any] = {
        place: None if text is None else _values(text, place, row, path)
        for place, text in texts.items()
    }
    shown.update(persistent=_persistent(found, row['uuid']), path=path)
    if whole:
        shown['xml'] = {
            place: text.decode('utf-8', 'backslashreplace')
            for place, text in texts.items()
            if text is not None and place != 'live'
        }
    return shown


def _persistent(found: Dict[str, Any], uuid: str) -> bool:
    """Whether it stays defined when it ends."""
    return uuid in virsh.run(found, 'list --all --persistent --uuid').split()


def _values(
    text: bytes, place: str, row: Dict[str, Any], path: Optional[str]
) -> Dict[str, str]:
    """As :func:`guest_xml.values`; a power loss may have left no XML."""
    try:
        return guest_xml.values(text)
    except AgentError as error:
        if place != 'file':
            raise
        raise AgentError(
            '{}: {}; put it right, such as by: virsh dumpxml --inactive {} '
            '> {}'.format(path, error, row['uuid'], path)
        ) from None


def _texts(
    found: Dict[str, Any],
    row: Dict[str, Any],
    path: Optional[str],
    folder: Optional[int],
) -> Dict[str, Optional[bytes]]:
    config = virsh.run(found, 'dumpxml --inactive {}'.format(row['uuid']))
    live = None
    if row['active']:
        live = _bytes(virsh.run(found, 'dumpxml {}'.format(row['uuid'])))
    return {
        'config': _bytes(config),
        'live': live,
        'file': None if folder is None else _read(str(path), folder),
    }


def _bytes(text: str) -> bytes:
    return text.encode('utf-8', 'surrogateescape')


def _text(text: bytes) -> str:
    return text.decode('utf-8', 'surrogateescape')


def change(
    found: Dict[str, Any], uuid: str, edits: Sequence[Edit]
) -> Dict[str, Any]:
    """Exchange values of a guest; what has its value already stays.

    :returns: ``guest`` as of :func:`show`, afterwards
    :raises Refused: one is neither as it was nor as it shall be: nothing was
        changed
    :raises AgentError: some of it may have been changed
    """
    row = next((r for r in virsh.domains(found) if r['uuid'] == uuid), None)
    if row is None:
        raise Refused('{}: libvirt has no such guest'.format(uuid))
    if not _persistent(found, uuid):
        # to define it would bring back what somebody has undefined
        raise Refused('{}: it is gone when it ends'.format(uuid))
    with _file(found, row) as (path, folder):
        texts = _texts(found, row, path, folder)
        seen = {
            place: None if text is None else _values(text, place, row, path)
            for place, text in texts.items()
        }
        for edit in edits:
            _check(seen, edit)
        _define(found, uuid, edits)
        if texts['live'] is not None:
            _update(found, uuid, texts['live'], edits)
        if texts['file'] is not None and folder is not None:
            text = _all(texts['file'], 'file', edits)
            if text != texts['file']:
                _replace(folder, text)
        texts = _texts(found, row, path, folder)
    for edit in edits:
        place, what, _was, shall = edit
        now = texts[place]
        if now is not None and guest_xml.values(now).get(what) != shall:
            raise AgentError(
                '{}: {} of {} is not {}'.format(uuid, what, place, shall)
            )
    return {'guest': dict(row, **_shown(found, row, False))}


def _check(seen: Dict[str, Optional[Dict[str, str]]], edit: Edit) -> None:
    place, what, was, shall = edit
    values = seen[place]
    if values is None:
        if place == 'live':
            # it has ended: its next start takes what is defined
            return
        raise Refused('there is no {} any more'.format(_NAME))
    now = values.get(what)
    if now not in (was, shall):
        raise Refused(
            '{} of {} is {}, it was {}'.format(what, place, now, was)
        )


def _all(text: bytes, place: str, edits: Sequence[Edit]) -> bytes:
    for where, what, was, shall in edits:
        if where == place:
            text = guest_xml.exchanged(text, what, was, shall)
    return text


def _define(found: Dict[str, Any], uuid: str, edits: Sequence[Edit]) -> None:
    """With the passwords, which a define would take away otherwise."""
    printed = virsh.order(
        found, 'dumpxml', '--inactive', '--security-info', uuid
    )
    was = _bytes(printed)
    text = _all(was, 'config', edits)
    if text != was:
        virsh.order(found, 'define', virsh.INPUT, text=_text(text))


def _update(
    found: Dict[str, Any], uuid: str, live: bytes, edits: Sequence[Edit]
) -> None:
    """An interface of a guest that runs: its rules are made anew."""
    for place, mac, was, shall in edits:
        if place == 'live':
            text = guest_xml.exchanged(live, mac, was, shall)
            if text != live:
                virsh.order(
                    found,
                    *('update-device', uuid, virsh.INPUT, '--live'),
                    text=_text(guest_xml.interface(text, mac)),
                )


@contextlib.contextmanager
def _file(
    found: Dict[str, Any], row: Dict[str, Any]
) -> Iterator[Tuple[Optional[str], Optional[int]]]:
    """The path of its libvirt.xml, and the directory, which nova owns.

    Novas before Folsom called the directory as the domain.
    """
    for name in (row['uuid'], row['name']):
        directory = os.path.join(found['instances'], name)
        path = os.path.join(directory, _NAME)
        try:
            folder = os.open(
                directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            )
        except OSError:
            continue
        try:
            if os.path.basename(path) in os.listdir(folder):
                yield path, folder
                return
        finally:
            os.close(folder)
    yield None, None


def _read(path: str, folder: int) -> bytes:
    """:raises AgentError: it is something else than a file"""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(_NAME, flags, dir_fd=folder)
    except OSError as error:
        # ELOOP: it is a link
        raise AgentError('{}: {}'.format(path, error.strerror)) from None
    with open(descriptor, 'rb') as file:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode) or seen.st_nlink > 1:
            raise AgentError('{}: not a plain file'.format(path))
        if seen.st_size > _LONGEST:
            raise AgentError('{}: {} bytes'.format(path, seen.st_size))
        return file.read(_LONGEST)


def _replace(folder: int, text: bytes) -> None:
    """Put it in the place of the old one, with its owner and mode."""
    seen = os.stat(_NAME, dir_fd=folder, follow_symlinks=False)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_ASIDE, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(os.open(_ASIDE, flags, 0o600, dir_fd=folder), 'wb') as file:
        file.write(text)
        os.fchown(file.fileno(), seen.st_uid, seen.st_gid)
        os.fchmod(file.fileno(), stat.S_IMODE(seen.st_mode))
        file.flush()
        os.fsync(file.fileno())
    os.rename(_ASIDE, _NAME, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def listens(paths: Sequence[str]) -> Tuple[Optional[str], str]:
    """Where nova has consoles listen: the address, and what decides.

    The address is None where that can't be told. Nova's own default is
    127.0.0.1 (nova/conf/vnc.py).
    """
    if not nova_conf.expanded(paths):
        return None, 'there is no nova.conf'
    try:
        for section, name in _LISTEN:
            text, path = nova_conf.value(paths, name, section)
            if text is None:
                continue
            where = '[{}] {} of {}'.format(section, name, path)
            if text in ('$my_ip', '${my_ip}'):
                text = nova_conf.value(paths, 'my_ip')[0]
            if not text or '$' in text:
                return None, where
            return text, where
    except OSError as error:
        return None, '{}: {}'.format(error.filename, error.strerror)
    return '127.0.0.1', 'the default of [vnc] server_listen'


def bindable(address: str) -> bool:
    """Whether this host has an address."""
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    try:
        with socket.socket(family) as one:
            one.bind((address, 0))
    except OSError:
        return False
    return True


def edits(words: Sequence[str]) -> List[Edit]:
    """What ``PLACE,WHAT,WAS,SHALL`` says.

    :raises Refused: it makes no sense
    """
    made = []
    for word in words:
        parts = word.split(',')
        if len(parts) != 4 or parts[0] not in ('config', 'live', 'file'):
            raise Refused('--edit {}: PLACE,WHAT,WAS,SHALL'.format(word))
        place, what, was, shall = parts
        # what is planned is an address; what is set back may be a name
        if not _ADDRESS.fullmatch(shall):
            raise Refused('{}: no address'.format(shall))
        made.append((place, what, was, shall))
    return made
