# SPDX-License-Identifier: Apache-2.0

"""Other numbers for the users and groups of a compute host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_recovery.changes import on_host
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import JSON, Observed, State
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import Conflict

#: As the options of the agent are called.
_KINDS = {'uid': 'users', 'gid': 'groups'}


class SetAccounts(BaseChange):
    """By usermod and groupmod, the files left alone.

    Data: host, machine_id, uid and gid: name -> [as it is, as it shall be].
    """

    kind = 'set-accounts'

    def describe(self, item: Item) -> list[str]:
        return [
            f'~ {word} {name}  {was} -> {shall}'
            for kind, word in (('uid', 'user'), ('gid', 'group'))
            for name, (was, shall) in sorted(item.data[kind].items())
        ]

    def observe(self, at: At) -> Observed:
        if at.begun:
            data = {'state': on_host.state(at, 'accounts')}
            found = on_host.ask(at, 'accounts stands', data)
            stands = found['stands']
            if stands == 'after':
                return Observed.after(_told(found))
            if stands == 'neither':
                return Observed.neither(
                    f'somebody else changed them: {_told(found)}'
                )
            if stands in ('before', 'half'):
                return Observed.before()
            # it was not sent, or did not begin
        return self._first(at)

    def apply(self, at: At) -> str:
        return _told(on_host.stopped_first(at, 'accounts set', _wanted(at)))

    def revert(self, at: At) -> str:
        data = {'state': on_host.state(at, 'accounts')}
        found = on_host.stopped_first(at, 'accounts undo', data)
        if not found.get('accounts') and self._first(at).state is State.AFTER:
            raise Conflict(
                f'{at.data["host"]} does not remember how its accounts were; '
                'give them their numbers by hand, or by another run'
            )
        return _told(found) or 'never begun'

    def _first(self, at: At) -> Observed:
        """Beside what the plan saw."""
        found = on_host.ask(at, 'accounts show')
        states = set()
        for kind, word in _KINDS.items():
            for name, (was, shall) in at.data[kind].items():
                now = found[word].get(name, {}).get(kind)
                if now not in (was, shall):
                    return Observed.neither(
                        f'{kind} of {name} is {now}, it was {was}'
                    )
                states.add(now == shall)
        if states == {True}:
            return Observed.after('they have these numbers already')
        return Observed.before(
            {
                kind: {n: pair[0] for n, pair in at.data[kind].items()}
                for kind in _KINDS
            }
        )


def _wanted(at: At) -> JSON:
    return {
        **{
            kind: [
                f'{name}:{shall}'
                for name, (_was, shall) in sorted(at.data[kind].items())
            ]
            for kind in _KINDS
        },
        'state': on_host.state(at, 'accounts'),
    }


def _told(found: Mapping[str, Any]) -> str:
    return ', '.join(
        f'{row["kind"]} {row["name"]} {row["is"]}'
        for row in found.get('accounts', ())
    )
