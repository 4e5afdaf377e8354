# SPDX-License-Identifier: Apache-2.0

"""Before-images in files: what is too large for the journal, or secret.

The journal's row has the name of the file and its SHA-256. The file is on
disk before the row is, and is read only as it was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import secrets
import socket
from typing import Any, BinaryIO

from nova_recovery.compat import sha256
from nova_recovery.engine import files
from nova_recovery.exceptions import RecoveryError

#: Where an image has what is known of its file.
KEY = 'file'


class ImageLost(RecoveryError):
    """The file of a before-image isn't there any more, or not as it was."""


@dataclasses.dataclass(frozen=True)
class Images:
    """A folder for its owner alone, beside the journal; a folder a run."""

    folder: pathlib.Path

    def write(
        self, run_id: str, number: int, chunks: Iterable[bytes]
    ) -> dict[str, Any]:
        """Keep the image of an item; it is on disk when this returns.

        :returns: path (in the folder), sha256, size (bytes) and machine
        :raises RecoveryError: it can't be written
        """
        digest, size = hashlib.sha256(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        # each attempt has its own: the row before may still name the last one
        path = f'{run_id}/{number}-{secrets.token_hex(4)}'
        self.put(run_id, path, counted())
        return {
            'path': path,
            'sha256': digest.hexdigest(),
            'size': size,
            'machine': socket.gethostname(),
        }

    def put(self, run_id: str, path: str, chunks: Iterable[bytes]) -> None:
        """The same for an image that has its name already.

        :raises RecoveryError: it can't be written, or is no name of an image
        """
        if not is_of(path, run_id):
            raise RecoveryError(f'{path!r} is no before-image of run {run_id}')
        place = self.folder / path
        try:
            _make(place.parent)
        except OSError as error:
            raise RecoveryError(
                f"{place.parent}: can't be made: {error.strerror}"
            ) from error
        files.write(str(place), chunks)

    @contextlib.contextmanager
    def open(self, kept: dict[str, Any]) -> Iterator[BinaryIO]:
        """The file of an image, to be read.

        :param kept: what ``write`` gave
        :raises ImageLost: it isn't there, or was changed
        """
        place = self.folder / kept['path']
        try:
            file = open(place, 'rb')
        except OSError as error:
            raise ImageLost(
                f"the before-image {place} can't be read: {error.strerror}; "
                f'it was written on {kept["machine"]}, from where "run '
                'export" and "run import" bring it here'
            ) from error
        with file:
            found = sha256(file)
            if found != kept['sha256']:
                raise ImageLost(
                    f'the before-image {place} is not what was written: its '
                    'checksum is wrong'
                )
            # the same open file: what was checked is what is read
            file.seek(0)
            yield file


def is_of(path: str, run_id: str) -> bool:
    """Whether it is the name of an image of a run, and leads nowhere else."""
    return bool(re.fullmatch(rf'{re.escape(run_id)}/\d+-[0-9a-f]+', path))


def _make(folder: pathlib.Path) -> None:
    """A folder and those above it, each on disk."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
