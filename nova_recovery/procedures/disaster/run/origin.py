# SPDX-License-Identifier: Apache-2.0

"""The snapshot that a plan was made with, and no other.

Every gate and every step looks into it: one that was put in its place tells
of another cloud.
"""

from __future__ import annotations

import hashlib

from nova_recovery.exceptions import RecoveryError, Refused
from nova_recovery.procedures.disaster.request import Request


def checksum(path: str) -> str:
    """The SHA-256 of the file.

    :raises RecoveryError: it can't be read
    """
    try:
        with open(path, 'rb') as file:
            return hashlib.file_digest(file, 'sha256').hexdigest()
    except OSError as error:
        raise RecoveryError(
            f"snapshot {path}: can't be read: {error.strerror or error}"
        ) from error


def require(request: Request) -> None:
    """Return if the plan's snapshot is there as it was.

    :raises Refused: it is gone, or another one
    """
    path, was = request.snapshot, request.snapshot_sha256
    if not path or not was:
        return
    try:
        now = checksum(path)
    except RecoveryError as error:
        found = str(error)
    else:
        if now == was:
            return
        found = f'snapshot {path}: it is another file by now'
    raise Refused(
        f'{found}. The plan was made with one of sha256 {was[:12]}…: put it '
        'back there, or make a new plan'
    )
