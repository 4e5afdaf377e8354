# SPDX-License-Identifier: Apache-2.0

"""Small files that must outlive a power cut, and locks that mustn't."""

import argparse
import contextlib
import fcntl
import json
import os
import time
from typing import Any, Iterator, List

from nova_recovery.host.agent.lines import AgentError, Refused


def typed(text: str) -> str:
    """A path of the command line.

    An empty one comes of a variable that isn't set, and would be wherever
    who types happens to be.
    """
    if not text:
        raise argparse.ArgumentTypeError('it is empty: give a path')
    return text


def read(path: str) -> List[str]:
    """The lines of a text file with what they mean; [] where there is none.

    :raises OSError: it is there and can't be read
    """
    try:
        with open(path, 'rb') as file:
            text = file.read().decode('utf-8', 'surrogateescape')
    except FileNotFoundError:
        return []
    return text.splitlines()


def folder(path: str) -> str:
    """Make a directory that only we can read."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def save(path: str, value: Any) -> None:
    """Write a JSON file that is there as a whole or not at all."""
    folder(os.path.dirname(path))
    put(path, json.dumps(value, sort_keys=True), 0o600)


def put(path: str, text: str, mode: int) -> None:
    """Write a file that is there as a whole or not at all.

    :param path: in a directory that is there
    """
    beside = '{}.{}'.format(path, os.getpid())
    with open(beside, 'w') as file:
        os.chmod(beside, mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(beside, path)
    sync(os.path.dirname(path))


def sync(directory: str) -> None:
    """Have the names of a directory on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(path: str) -> Any:
    """A JSON file that :func:`save` wrote; None where there is none.

    :raises AgentError: it isn't what was written
    """
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise AgentError(
            '{} is damaged: put a copy of it there that is whole'.format(path)
        ) from error


@contextlib.contextmanager
def locked(path: str, seconds: float = 2.0) -> Iterator[None]:
    """Hold a lock for as long as the block, and this process, lasts.

    :param seconds: for which to try: who only asks whether it is held holds
        it for a moment
    :raises Refused: somebody else holds it
    """
    folder(os.path.dirname(path))
    deadline = time.monotonic() + seconds
    with open(path, 'w') as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Refused(
                        '{}: another agent is at work'.format(path)
                    ) from None
                time.sleep(0.05)
        yield


def is_locked(path: str) -> bool:
    """Whether somebody holds the lock."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
