# SPDX-License-Identifier: Apache-2.0

"""One iSCSI session of a host is closed, or opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_recovery.changes import on_host
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict


class CloseSession(BaseChange):
    """By its number, if it still means that target and portal.

    Data: host, machine_id, home, session, target, portal, disks, volumes.
    Whether its disks are used the host looks again when it is told to close
    it, and from then on lets nobody mount or map them.
    """

    kind = 'close-session'

    def describe(self, item: Item) -> list[str]:
        data = item.data
        lines = [
            f'- session {data["session"]}',
            f'  {data["target"]}',
            f'  at {data["portal"]}',
        ]
        if data['disks']:
            lines.append(f'- {", ".join(data["disks"])}')
        return lines + [f'  volume {volume}' for volume in data['volumes']]

    def observe(self, at: At) -> Observed:
        there = _there(at)
        one = there.get(at.data['session'])
        if one is None:
            return Observed.after('it is closed')
        if not _is_ours(one, at):
            return Observed.neither(
                f'session {at.data["session"]} is another by now: '
                f'{one["target"]} at {one["portal"]}'
            )
        return Observed.before({'state': one['state']})

    def apply(self, at: At) -> str:
        _close(at, at.data['session'])
        return 'closed'

    def revert(self, at: At) -> str:
        number = _numbers(at)
        if number:
            return f'it is open, as session {number[0]}'
        return _open(at)


class OpenSession(BaseChange):
    """By the name of its target, at a portal.

    Data: host, machine_id, home, target, portal. The image says whether the
    host had a record of it, which goes again with the session if not.
    """

    kind = 'open-session'

    def describe(self, item: Item) -> list[str]:
        return [f'+ {item.data["target"]}', f'  at {item.data["portal"]}']

    def observe(self, at: At) -> Observed:
        words = {'target': at.data['target'], 'portal': at.data['portal']}
        found = on_host.ask(at, 'iscsi list', words)
        mine = [one for one in found['sessions'] if _is_ours(one, at)]
        if mine:
            return Observed.after(f'it is session {mine[0]["session"]}')
        return Observed.before({'record': found['record']})

    def apply(self, at: At) -> str:
        return _open(at)

    def revert(self, at: At) -> str:
        numbers = _numbers(at)
        if not numbers:
            return 'it is closed'
        _close(at, numbers[0], not at.image['record'])
        return f'session {numbers[0]} closed'


def _there(at: At) -> dict[int, Mapping[str, Any]]:
    """The sessions of the host, by number."""
    found = on_host.ask(at, 'iscsi list')['sessions']
    return {one['session']: one for one in found}


def _is_ours(one: Mapping[str, Any], at: At) -> bool:
    return bool(
        one['target'] == at.data['target']
        and one['portal'] == at.data['portal']
    )


def _numbers(at: At) -> list[int]:
    return [number for number, one in _there(at).items() if _is_ours(one, at)]


def _open(at: At) -> str:
    words = {'target': at.data['target'], 'portal': at.data['portal']}
    found = on_host.ask(at, 'iscsi create', words)
    return f'open, as session {found["session"]}'


def _close(at: At, number: int, forget: bool = False) -> None:
    """:raises Conflict: it was closed by somebody else meanwhile"""
    words = {
        'session': number,
        'target': at.data['target'],
        'portal': at.data['portal'],
        'forget': forget,
    }
    if not on_host.ask(at, 'iscsi delete', words)['deleted']:
        raise Conflict(f'session {number} is gone by now')
