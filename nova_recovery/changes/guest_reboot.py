# SPDX-License-Identifier: Apache-2.0

"""Reboot a guest from inside, once, proved by its boot_id."""

from __future__ import annotations

import time

from nova_recovery.changes import once
from nova_recovery.changes.base import OneWay
from nova_recovery.engine.change import (
    Context,
    Interrupted,
    JSON,
    Observed,
    Past,
    State,
)
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, OutcomeUnknown
from nova_recovery.guests import boot
from nova_recovery.guests.boot import Boot, NoAnswer
from nova_recovery.guests.ssh import Way

#: Seconds between two looks at a guest, and between those at one that is
#: long gone: failed logins get addresses banned.
POLL = 2
SELDOM = 15


class RebootGuest(OneWay):
    """``shutdown -r now`` over ssh, for the boot that was seen and no other.

    The guest itself compares (see guests.boot), so a request that arrives
    late, or was sent again, never ends a second boot. A request is proven
    not to have come through if the guest answers as the same boot, without
    shutting down, for as long as ``settle`` says.

    Data: uuid, address, user, options, config_file (see ssh.Way), identity
    (must the machine tell the server's UUID), and seconds: connect, answer
    (for one ssh), reach (to be reachable at first), settle (after which a
    guest that answers and isn't stopping was not rebooted), patience (to
    come back).
    """

    kind = 'reboot-guest'
    once = True

    def describe(self, item: Item) -> list[str]:
        data = item.data
        user = f'{data["user"]}@' if data['user'] else ''
        return [
            f'> shutdown -r now in {user}{data["address"]} ({data["why"]}), '
            'once'
        ]

    def observe(
        self, item: Item, context: Context, past: Past | None
    ) -> Observed:
        if past is None:
            return self._first_look(item, context)
        settled = time.monotonic() + item.data['settle']
        while True:
            seen = _standing(item, past.image)
            if seen.state is not State.BEFORE:
                return seen
            if time.monotonic() > settled:
                break
            context.progress('making sure that nothing is on its way')
            if context.stopping.wait(POLL):
                raise Interrupted
        if past.notes.get('accepted'):
            return Observed(State.NEITHER, _not_rebooted(item, seen.detail))
        return Observed(State.BEFORE, image=past.image)

    def apply(self, item: Item, context: Context, image: JSON) -> str:
        said = boot.reboot(_way(item), image['boot_id'])
        if said.code == 0:
            context.note(accepted=True)
            return f'told to reboot (boot {image["boot_id"]})'
        if said.code == boot.OTHER_BOOT:
            return 'not sent: it was rebooted just now by somebody else'
        if said.code is not None and 0 < said.code < 128:
            raise ChangeFailed(f'shutdown was refused: {said.problem}')
        raise OutcomeUnknown(
            f'the connection was lost while it was told to reboot: '
            f'{said.problem}'
        )

    def follow(self, item: Item, context: Context, past: Past) -> str:
        began = time.monotonic()
        deadline = began + item.data['patience']
        same_since: float | None = None
        while True:
            seen = _standing(item, past.image)
            now = time.monotonic()
            if seen.state is State.AFTER:
                return seen.detail
            if seen.state is not State.BEFORE:
                same_since = None
            elif now - (same_since or now) > item.data['settle']:
                raise ChangeFailed(_not_rebooted(item, seen.detail))
            else:
                same_since = same_since or now
            if now > deadline:
                raise OutcomeUnknown(
                    f'it did not come back within {item.data["patience"]} s; '
                    f'{item.data["address"]}: {seen.detail}'
                )
            context.progress(f'waiting for its new boot: {seen.detail}')
            if context.stopping.wait(min(POLL + (now - began) / 20, SELDOM)):
                raise Interrupted

    def no_way_back(self, item: Item) -> str:
        return f'the guest of {item.label} was rebooted; nothing to take back'

    def _first_look(self, item: Item, context: Context) -> Observed:
        """The guest may be starting still."""
        deadline = time.monotonic() + item.data['reach']
        while True:
            try:
                now = boot.look(_way(item))
                break
            except NoAnswer as error:
                if error.hopeless or time.monotonic() > deadline:
                    return Observed(
                        State.UNKNOWN, f'{item.data["address"]}: {error}'
                    )
                context.progress(f'waiting for it to be reachable: {error}')
            if context.stopping.wait(POLL):
                raise Interrupted
        stranger = _stranger(item, now)
        if stranger:
            return Observed(State.NEITHER, stranger)
        if now.stopping:
            return Observed(
                State.UNDERWAY, 'somebody else shuts it down just now'
            )
        return Observed(State.BEFORE, image={'boot_id': now.boot_id})


def _way(item: Item) -> Way:
    data = item.data
    return Way(
        address=data['address'],
        user=data['user'],
        options=tuple(data['options']),
        config_file=data['config_file'],
        connect=data['connect'],
        limit=data['answer'],
    )


def _standing(item: Item, image: JSON) -> Observed:
    """One look at a guest that may have been told to reboot.

    BEFORE: it still is the same boot, and doesn't shut down.
    """
    try:
        now = boot.look(_way(item))
    except NoAnswer as error:
        # down, on its way up, or gone: only waiting tells
        return Observed(State.UNDERWAY, str(error))
    stranger = _stranger(item, now)
    if stranger:
        return Observed(State.UNKNOWN, stranger)
    if now.boot_id != image['boot_id']:
        return Observed(
            State.AFTER, f'rebooted: boot {image["boot_id"]} -> {now.boot_id}'
        )
    if now.stopping:
        return Observed(State.UNDERWAY, 'it shuts down')
    return Observed(State.BEFORE, f'still boot {now.boot_id}')


def _stranger(item: Item, now: Boot) -> str:
    """Why this machine isn't proved to be the server, '' if it is.

    Networks of several tenants may have the same addresses, and an address
    may have been given to another server since.
    """
    where = item.data['address']
    if now.machine and now.machine != item.data['uuid'].lower():
        return f'{where} is another machine: its UUID is {now.machine}'
    if not now.machine and item.data['identity']:
        return (
            f'{where} does not tell its UUID, so it may be another machine: '
            'log in as root or with sudo, or see [guests] require_identity'
        )
    return ''


def _not_rebooted(item: Item, seen: str) -> str:
    return (
        f'it answers and did not reboot within {item.data["settle"]} s: '
        f'{seen}; {once.again(item)}'
    )
