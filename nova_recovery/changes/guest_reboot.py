# SPDX-License-Identifier: Apache-2.0

"""Reboot a guest from inside, once, proved by its boot_id."""

from __future__ import annotations

import time

from nova_recovery.changes import once
from nova_recovery.changes.base import At, OneWay
from nova_recovery.engine.change import Observed, State
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

    Data: uuid, address, user, options (see ssh.Way), identity (must the
    machine tell the server's UUID), and seconds: connect, answer
    (for one ssh), reach (to be reachable at first), settle (after which a
    guest that answers and isn't stopping was not rebooted), patience (to
    come back).
    """

    kind = 'reboot-guest'
    once = True
    method = 'reboot inside'
    starts = stops = True

    def describe(self, item: Item) -> list[str]:
        data = item.data
        user = f'{data["user"]}@' if data['user'] else ''
        return [
            f'> shutdown -r now in {user}{data["address"]} ({data["why"]}), '
            'once'
        ]

    def observe(self, at: At) -> Observed:
        if not at.begun:
            return self._first_look(at)
        settled = time.monotonic() + at.data['settle']
        while True:
            seen = _standing(at)
            if seen.state is not State.BEFORE:
                return seen
            if time.monotonic() > settled:
                break
            at.progress('making sure that nothing is on its way')
            at.wait(POLL)
        if at.notes.get('accepted'):
            return Observed.neither(_not_rebooted(at, seen.detail))
        return Observed.before(at.image)

    def apply(self, at: At) -> str:
        said = boot.reboot(_way(at), at.image['boot_id'])
        if said.code == 0:
            at.note(accepted=True)
            return f'told to reboot (boot {at.image["boot_id"]})'
        if said.code == boot.OTHER_BOOT:
            return 'not sent: it was rebooted just now by somebody else'
        if said.code is not None and 0 < said.code < 128:
            raise ChangeFailed(f'shutdown was refused: {said.problem}')
        raise OutcomeUnknown(
            f'the connection was lost while it was told to reboot: '
            f'{said.problem}'
        )

    def follow(self, at: At) -> str:
        began = time.monotonic()
        deadline = began + at.data['patience']
        same_since: float | None = None
        while True:
            seen = _standing(at)
            now = time.monotonic()
            if seen.state is State.AFTER:
                return seen.detail
            if seen.state is not State.BEFORE:
                same_since = None
            elif now - (same_since or now) > at.data['settle']:
                raise ChangeFailed(_not_rebooted(at, seen.detail))
            else:
                same_since = same_since or now
            if now > deadline:
                raise OutcomeUnknown(
                    f'it did not come back within {at.data["patience"]} s; '
                    f'{at.data["address"]}: {seen.detail}'
                )
            at.progress(f'waiting for its new boot: {seen.detail}')
            at.wait(min(POLL + (now - began) / 20, SELDOM))

    def no_way_back(self, item: Item) -> str:
        return f'the guest of {item.label} was rebooted; nothing to take back'

    def _first_look(self, at: At) -> Observed:
        """The guest may be starting still."""
        deadline = time.monotonic() + at.data['reach']
        while True:
            try:
                now = boot.look(_way(at))
                break
            except NoAnswer as error:
                if error.hopeless or time.monotonic() > deadline:
                    return Observed.unknown(f'{at.data["address"]}: {error}')
                at.progress(f'waiting for it to be reachable: {error}')
            at.wait(POLL)
        stranger = _stranger(at, now)
        if stranger:
            return Observed.neither(stranger)
        if now.stopping:
            return Observed.underway('somebody else shuts it down just now')
        return Observed.before({'boot_id': now.boot_id})


def _way(at: At) -> Way:
    data = at.data
    return Way(
        address=data['address'],
        user=data['user'],
        options=tuple(data['options']),
        # of whoever carries it out, whatever the plan says: an ssh_config
        # runs programs
        config_file=at.cloud.conf.guests.config_file,
        connect=data['connect'],
        limit=data['answer'],
    )


def _standing(at: At) -> Observed:
    """One look at a guest that may have been told to reboot.

    BEFORE: it still is the same boot, and doesn't shut down.
    """
    try:
        now = boot.look(_way(at))
    except NoAnswer as error:
        # down, on its way up, or gone: only waiting tells
        return Observed.underway(str(error))
    stranger = _stranger(at, now)
    if stranger:
        return Observed.unknown(stranger)
    if now.boot_id != at.image['boot_id']:
        return Observed.after(
            f'rebooted: boot {at.image["boot_id"]} -> {now.boot_id}'
        )
    if now.stopping:
        return Observed.underway('it shuts down')
    return Observed.before(detail=f'still boot {now.boot_id}')


def _stranger(at: At, now: Boot) -> str:
    """Why this machine isn't proved to be the server, '' if it is.

    Networks of several tenants may have the same addresses, and an address
    may have been given to another server since.
    """
    where = at.data['address']
    if now.machine and now.machine != at.data['uuid'].lower():
        return f'{where} is another machine: its UUID is {now.machine}'
    if not now.machine and at.data['identity']:
        return (
            f'{where} does not tell its UUID, so it may be another machine: '
            'log in as root or with sudo, or see [guests] require_identity'
        )
    return ''


def _not_rebooted(at: At, seen: str) -> str:
    return (
        f'it answers and did not reboot within {at.data["settle"]} s: '
        f'{seen}; {once.again(at)}'
    )
