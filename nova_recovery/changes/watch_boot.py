# SPDX-License-Identifier: Apache-2.0

"""Watch a guest come up on its serial console. Changes nothing."""

from __future__ import annotations

import time

from nova_recovery.changes import console
from nova_recovery.changes.base import At, Look
from nova_recovery.changes.console import Seen
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed

#: Seconds between two looks: at first, and at most.
FIRST, SLOWEST = 1.0, 10.0
#: Lines of the log that are asked for: of a whole boot with its services.
LINES = 1000
#: Seconds after which an empty log stays empty: most systems don't write to
#: a serial console at all.
EMPTY = 30.0
#: These won't come up by themselves, if it stays with that for so long: the
#: firmware may try another disk, and a kernel that panicked starts anew.
STAYS = 5.0
_OVER = frozenset({console.PANIC, console.NO_DEVICE, console.EMERGENCY})
_WHAT_TO_DO = {
    console.DISK: 'see that its volumes are attached and that its host '
    'reaches their storage',
    console.EMERGENCY: 'log in on its console (openstack console url show '
    '{uuid})',
    console.FSCK: 'leave it alone while it checks; where it asks for an '
    'answer, give it on its console (openstack console url show {uuid})',
    console.NO_DEVICE: 'see that its boot volume is attached and has what '
    'it should',
    console.PANIC: 'see that its disks are there; its console has the rest '
    '(openstack console log show {uuid})',
}


class WatchBoot(Look):
    """Wait until the guest has booted, or tell why it doesn't.

    It is never restarted for that.

    Data: uuid, host, seconds (how long it may take), and quiet, where others
    wait for it (after so many seconds without new text it is silent, unless
    the text tells of trouble). The subject is ``boot:UUID``, so that what is
    done to the server goes on without it.
    """

    kind = 'watch-boot'

    def describe(self, item: Item) -> list[str]:
        line = f'? comes up within {item.data["seconds"]} s, by its console'
        if 'quiet' in item.data:
            line += f', unless that rests for {item.data["quiet"]} s'
        return [line]

    def apply(self, at: At) -> str:
        seen = self._watch(at)
        at.note(console=seen.what)
        if seen.what == console.BOOTED:
            return seen.what
        if seen.what == console.SILENT:
            last = f': {seen.line}' if seen.line else ''
            return f'{seen.what}{last}'
        todo = _WHAT_TO_DO[seen.what].format(uuid=at.data['uuid'])
        raise ChangeFailed(f'{seen.what}: {seen.line}; {todo}')

    def _watch(self, at: At) -> Seen:
        began, pause = time.monotonic(), FIRST
        seconds = float(at.data['seconds'])
        quiet = float(at.data.get('quiet', seconds))
        before: Seen | None = None
        since = written = began
        last = ''
        while True:
            text = at.cloud.compute.console(at.data['uuid'], LINES)
            if text is None:
                return Seen(console.SILENT, 'nova keeps no log of it')
            seen = console.classify(text)
            now = time.monotonic()
            if seen != before:
                before, since = seen, now
            stays = seen.what in _OVER and now - since >= STAYS
            if seen.what == console.BOOTED or stays:
                return seen
            if text != last:
                last, written = text, now
            left = began + seconds - now
            if seen.what == console.SILENT:
                left = min(left, written + quiet - now)
            if not text.strip():
                left = min(left, began + EMPTY - now)
            if left <= 0:
                return seen
            at.progress(f'{seen.what}: {seen.line}')
            at.wait(min(pause, left))
            pause = min(2 * pause, SLOWEST)
