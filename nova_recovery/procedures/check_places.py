# SPDX-License-Identifier: Apache-2.0

"""Files and folders that ``config check`` looks at: may they be used?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import os
import pathlib
import pwd
import shlex
import shutil
import stat

from openstack.config import loader
from oslo_config import cfg

from nova_recovery.engine.findings import Finding
from nova_recovery.engine.journal import location
from nova_recovery.exceptions import JournalError
from nova_recovery.procedures.configured import (
    OK,
    seen,
    UNKNOWN,
    UNUSED,
    WARNING,
    WRONG,
)

#: What a disk should have for journals and snapshots, MiB: a snapshot of
#: 100,000 servers takes some 130.
ROOM = 256
#: Options of ``[fleet]`` that name a file with a password, or a program.
_PASSWORDS = (
    'become_password_file',
    'connection_password_file',
    'vault_password_file',
)


def kept(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """Where the journal and the snapshots are, or will be; nothing is made."""
    yield _journal(conf.journal.connection)
    yield _folder('snapshots', pathlib.Path(conf.snapshot.directory))


def passwords(conf: cfg.ConfigOpts) -> Iterator[Finding]:
    """The files of ours that hold passwords, where there are any."""
    own = (*conf.default_config_files, *_inside(conf.default_config_dirs))
    if own:
        yield private('nova-recovery.conf', own)
    named = [
        os.path.expanduser(path)
        for name in _PASSWORDS
        if (path := getattr(conf.fleet, name))
    ]
    gone = [path for path in named if not os.path.exists(path)]
    if gone:
        yield seen(
            '[fleet]',
            WRONG,
            f'a file with a password is not there: {", ".join(gone)}',
        )
    elif named:
        # a program prints the password, and has none in it
        files = [path for path in named if not _is_program(path)]
        yield (
            private('[fleet]', files)
            if files
            else seen('[fleet]', OK, ', '.join(named))
        )
    clouds = [
        path
        for path in (
            # openstack/config/loader.py: before all others
            os.environ.get('OS_CLIENT_CONFIG_FILE', ''),
            os.environ.get('OS_CLIENT_SECURE_FILE', ''),
            *loader.CONFIG_FILES,
            *loader.SECURE_FILES,
        )
        if os.path.exists(path)
    ]
    if clouds:
        yield private('clouds.yaml', list(dict.fromkeys(clouds)))


def private(what: str, files: Iterable[str]) -> Finding:
    """Whether only those may read files with passwords who have to."""
    files = list(files)
    open_to_all = [
        name for name in files if os.stat(name).st_mode & stat.S_IROTH
    ]
    if open_to_all:
        return seen(
            what,
            WARNING,
            f'all users may read its passwords: {", ".join(open_to_all)}',
            fix=shlex.join(['chmod', 'o-rwx', *open_to_all]),
        )
    if files:
        return seen(what, OK, ', '.join(files))
    return seen(what, UNUSED, 'no such file in the usual places')


def _is_program(path: str) -> bool:
    """As Ansible judges a file that is to have a password."""
    return bool(
        os.stat(path).st_mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    )


def _inside(folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        yield from map(str, sorted(pathlib.Path(folder).glob('*.conf')))


def _journal(url: str) -> Finding:
    try:
        path = location.file(url)
    except JournalError as error:
        return seen('journal', WRONG, str(error))
    if path is None:
        try:
            return seen('journal', OK, location.ask(url))
        except JournalError as error:
            return seen('journal', UNKNOWN, str(error))
    found = _folder('journal', path.parent)
    if found.severity == WRONG or not os.path.exists(path):
        return found
    about = path.stat()
    if about.st_uid != os.geteuid():
        return seen(
            'journal',
            WRONG,
            f'{path} belongs to {_account(about.st_uid)}, and only that '
            'account may use it: run all commands as that one',
        )
    if about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return seen(
            'journal',
            WARNING,
            f'{path}: others than its account may look into it',
            fix=shlex.join(['chmod', '0600', str(path)]),
        )
    return found


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f'uid {uid}'


def _folder(what: str, folder: pathlib.Path) -> Finding:
    # what may not be looked at is not there for us
    above = next(
        one for one in (folder, *folder.parents) if os.path.exists(one)
    )
    if not above.is_dir():
        return seen(what, WRONG, f'{above} is no directory')
    if not os.access(above, os.W_OK | os.X_OK):
        account = _account(os.geteuid())
        return seen(
            what,
            WRONG,
            f'{account} may not write in {above}: run as the account that '
            'may, or let root make it for this one',
            fix=shlex.join(
                [*'install -d -m 0700 -o'.split(), account, str(folder)]
            ),
        )
    free = shutil.disk_usage(above).free >> 20
    if free < ROOM:
        return seen(what, WARNING, f'{folder}: only {free} MiB are free')
    if above != folder:
        return seen(what, OK, f'{folder}: made when it is needed')
    if folder.stat().st_mode & stat.S_IRWXO:
        return seen(
            what,
            WARNING,
            f'{folder}: all users may look into it',
            fix=shlex.join(['chmod', 'o-rwx', str(folder)]),
        )
    return seen(what, OK, f'{folder}: {free} MiB are free')
