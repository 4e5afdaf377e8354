# SPDX-License-Identifier: Apache-2.0

"""Files that are written for people to keep: whole, or not at all.

They hold what an attacker would like to read or forge, and are written by
root. So they are 0600, never written through a link, and not into a folder
where somebody else decides what a name means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import contextlib
import json
import os
import re
import secrets
import stat
from typing import Any, TextIO

from nova_recovery.exceptions import RecoveryError

_SURROGATE = re.compile(r'\\u[dD][89a-fA-F]')
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write(
    path: str, chunks: Iterable[str | bytes], replace: bool = True
) -> None:
    """Put a file there, mode 0600, on disk when this returns.

    It is written beside and renamed; what isn't a regular file (such as a
    link, or ``/dev/stdout``) is left alone.

    :param replace: take the place of a file that is there already
    :raises RecoveryError: it can't be written
    """
    with _reported(path), _folder(path) as folder:
        name = os.path.basename(path)
        _check_free(path, name, folder, replace)
        temporary = f'.{name[:32]}-{secrets.token_hex(4)}'
        handle = os.open(temporary, _NEW, 0o600, dir_fd=folder)
        try:
            with os.fdopen(handle, 'wb') as file:
                for chunk in chunks:
                    if isinstance(chunk, str):
                        chunk = chunk.encode(errors='backslashreplace')
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.replace(
                    temporary, name, src_dir_fd=folder, dst_dir_fd=folder
                )
            else:
                # unlike a rename, it never replaces what came in between
                os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
        os.fsync(folder)


def parsed(text: str) -> Any:
    """JSON as we write it ourselves, of a file that anybody may have made.

    :raises ValueError: it is none, or what no database or terminal can hold
    """

    def none(word: str) -> Any:
        raise ValueError(f'{word} is no number')

    try:
        value = json.loads(text, parse_constant=none)
    except RecursionError:
        raise ValueError('it is nested too deeply') from None
    if _SURROGATE.search(text):
        # half a character, which json.loads lets pass: UnicodeEncodeError
        json.dumps(value, ensure_ascii=False).encode()
    return value


def append(path: str) -> TextIO:
    """A file of our own, mode 0600, opened for more lines, such as a log.

    :raises RecoveryError: it can't be opened, or isn't ours
    """
    with _reported(path), _folder(path) as folder:
        return os.fdopen(
            private(path, os.O_WRONLY | os.O_APPEND, folder),
            'a',
            encoding='utf-8',
            errors='backslashreplace',
        )


def private(path: str, flags: int, folder: int | None = None) -> int:
    """Open a regular file, made if it isn't there, with the mode 0600.

    :param folder: descriptor of the folder that it is in
    :returns: its descriptor
    :raises OSError: it can't be opened
    :raises RecoveryError: it is something else, a link, or of somebody else
    """
    name = path if folder is None else os.path.basename(path)
    wanted = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    if os.path.islink(path):
        raise RecoveryError(f'{path}: it is a link; name the file itself')
    handle = os.open(name, flags | wanted, 0o600, dir_fd=folder)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise RecoveryError(f'{path}: not a regular file')
        if found.st_uid != os.geteuid():
            raise RecoveryError(
                f'{path}: it belongs to another account (uid {found.st_uid})'
            )
        if found.st_mode & 0o077:
            os.fchmod(handle, 0o600)
    except BaseException:
        os.close(handle)
        raise
    return handle


def check_folder(path: str) -> None:
    """Refuse a folder in which others decide what a name means.

    :raises RecoveryError: naming its owner
    :raises OSError: there is none
    """
    _check_folder(path, os.stat(path))


def _check_folder(path: str, found: os.stat_result) -> None:
    # whose home it is that root writes into by sudo
    ours = {0, os.geteuid(), _invoker()}
    if found.st_uid not in ours:
        raise RecoveryError(
            f'{path}: the folder belongs to another account (uid '
            f'{found.st_uid}), which could put another file there; write '
            'into one of your own'
        )
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise RecoveryError(
            f'{path}: everybody may write into the folder; write into one of '
            'your own'
        )


def _invoker() -> int:
    """Who typed sudo; ourselves without it."""
    told = os.environ.get('SUDO_UID', '')
    if os.geteuid() == 0 and told.isascii() and told.isdigit():
        return int(told)
    return os.geteuid()


def _check_free(path: str, name: str, folder: int, replace: bool) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not replace:
        raise RecoveryError(f'{path} exists; it was left as it is')
    if stat.S_ISLNK(found.st_mode):
        raise RecoveryError(f'{path}: it is a link; name the file itself')
    if not stat.S_ISREG(found.st_mode):
        raise RecoveryError(f'{path}: not a regular file')


@contextlib.contextmanager
def _folder(path: str) -> Iterator[int]:
    """The descriptor of the folder: it is the same one to the end."""
    name = os.path.dirname(path) or '.'
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check_folder(name, os.fstat(folder))
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def _reported(path: str) -> Iterator[None]:
    if '\0' in path:
        raise RecoveryError(f'{path!r} is no name of a file')
    try:
        yield
    except OSError as error:
        raise RecoveryError(
            f"{path}: can't be written: {error.strerror}"
        ) from error
