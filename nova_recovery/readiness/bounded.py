# SPDX-License-Identifier: Apache-2.0

"""Asking many things at once, none of which may hold the others up."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
import queue
import threading
import time
from typing import TypeVar

from nova_recovery.cloud import secrets
from nova_recovery.cloud.api import words as api_words
from nova_recovery.exceptions import RecoveryError

K = TypeVar('K', bound=Hashable)
V = TypeVar('V')


def each(
    asks: Mapping[K, Callable[[], V]], seconds: float, workers: int = 16
) -> dict[K, V | BaseException]:
    """Ask side by side; what was answered, raised, or not answered in time.

    Never waits longer, whatever hangs: a thread that doesn't return is left
    behind, and doesn't keep the program from ending.

    :returns: in the order of *asks*; ``TimeoutError`` where no answer came
    """
    waiting: queue.SimpleQueue[K] = queue.SimpleQueue()
    for key in asks:
        waiting.put(key)
    answers: queue.SimpleQueue[tuple[K, V | BaseException]] = (
        queue.SimpleQueue()
    )
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                key = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                answers.put((key, asks[key]()))
            except Exception as error:  # what it is, the caller judges
                answers.put((key, error))

    for number in range(min(workers, len(asks))):
        threading.Thread(
            target=work, name=f'ask-{number}', daemon=True
        ).start()
    found: dict[K, V | BaseException] = {}
    deadline = time.monotonic() + seconds
    while len(found) < len(asks):
        try:
            key, answer = answers.get(
                timeout=max(0.0, deadline - time.monotonic())
            )
        except queue.Empty:
            break
        found[key] = answer
    over.set()
    return {
        key: found.get(key, TimeoutError(f'no answer within {seconds:g} s'))
        for key in asks
    }


def words(error: BaseException) -> str:
    """What went wrong, in one line and without secrets."""
    if isinstance(error, (RecoveryError, TimeoutError)) and str(error):
        return secrets.mask_text(' '.join(str(error).split()))
    told = api_words.plain(error)
    text = secrets.mask_text(' '.join(str(error).split()))
    if told != text:
        return told
    # nothing that is known: where it comes from may tell more
    return f'{type(error).__name__}: {text}'
