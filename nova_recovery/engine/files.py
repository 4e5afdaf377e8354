# SPDX-License-Identifier: Apache-2.0

"""Files that are written for people to keep: whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
import os
import stat
import tempfile

from nova_recovery.exceptions import RecoveryError


def write(path: str, chunks: Iterable[str | bytes]) -> None:
    """Put a file there, mode 0600, on disk when this returns.

    A file that is there already is replaced at once; what isn't a regular
    file (such as ``/dev/stdout``) is left alone.

    :raises RecoveryError: it can't be written
    """
    path = os.path.realpath(path)
    try:
        if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            raise RecoveryError(f'{path}: not a regular file')
        _replace(path, chunks)
    except OSError as error:
        raise RecoveryError(
            f"{path}: can't be written: {error.strerror}"
        ) from error


def _replace(path: str, chunks: Iterable[str | bytes]) -> None:
    folder, name = os.path.split(path)
    handle, temporary = tempfile.mkstemp(prefix=f'.{name[:32]}-', dir=folder)
    try:
        with os.fdopen(handle, 'wb') as file:
            for chunk in chunks:
                if isinstance(chunk, str):
                    chunk = chunk.encode()
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
