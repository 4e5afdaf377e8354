# SPDX-License-Identifier: Apache-2.0

"""What Python has since 3.10 and 3.11, for the 3.9 of EL 9 too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import datetime
import hashlib
from importlib import metadata
import itertools
import sys
from typing import BinaryIO, TypeVar

_A = TypeVar('_A')
_B = TypeVar('_B')
_NOTHING = object()
_SOME = 1 << 20


def pairs(
    first: Iterable[_A], second: Iterable[_B]
) -> Iterator[tuple[_A, _B]]:
    """``zip(first, second, strict=True)``.

    :raises ValueError: one of them is shorter
    """
    both = itertools.zip_longest(first, second, fillvalue=_NOTHING)
    for one, other in both:
        if one is _NOTHING or other is _NOTHING:
            raise ValueError('one of the two is shorter than the other')
        # mypy can't know that what fills was excluded
        yield one, other  # type: ignore[misc]


def entry_points(group: str) -> Iterable[metadata.EntryPoint]:
    """``metadata.entry_points(group=group)``."""
    if sys.version_info >= (3, 10):
        return metadata.entry_points(group=group)
    else:
        return metadata.entry_points().get(group, ())


def utc(text: str) -> datetime.datetime:
    """``datetime.fromisoformat``, in UTC without a zone.

    :raises ValueError: it is no time
    """
    found = datetime.datetime.fromisoformat(text.replace('Z', '+00:00'))
    if found.tzinfo is None:
        return found
    return found.astimezone(datetime.timezone.utc).replace(tzinfo=None)


def sha256(file: BinaryIO) -> str:
    """``hashlib.file_digest(file, 'sha256').hexdigest()``: of its rest."""
    digest = hashlib.sha256()
    while some := file.read(_SOME):
        digest.update(some)
    return digest.hexdigest()
