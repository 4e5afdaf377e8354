# SPDX-License-Identifier: Apache-2.0

"""The owners of files of a compute host, and whether any was left."""

from __future__ import annotations

from collections.abc import Mapping
import secrets
from typing import Any

from nova_recovery.changes import on_host
from nova_recovery.changes.base import At, BaseChange, Look
from nova_recovery.engine.change import JSON, Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, Conflict
from nova_recovery.fleet import runs

#: The exit code of the agent where something was left.
_LEFT = 4
#: What an undo leaves alone each time: there is nothing to put back, or what
#: somebody else has put there since. It must not hold the accounts back.
_OTHERS = frozenset({'gone', 'changed-since'})


class ChangeOwners(BaseChange):
    """All old numbers below a directory become new ones, in one walk.

    It is started on the host and asked about; what outlives us, or was
    interrupted, is gone on with. Data: host, machine_id, root, uid and gid
    (OLD:NEW), leave_out (directories), lift (what is immutable, too), number
    (of this walk on the host).
    """

    kind = 'change-owners'

    def describe(self, item: Item) -> list[str]:
        data = item.data
        out = ''.join(f', without {path}' for path in data['leave_out'])
        pairs = [
            f'{kind} {" -> ".join(pair.split(":"))}'
            for kind in ('uid', 'gid')
            for pair in data[kind]
        ]
        return [f'~ owners below {data["root"]}{out}', f'  {"; ".join(pairs)}']

    def observe(self, at: At) -> Observed:
        if not at.begun:
            on_host.check_machine(at)
            return Observed.before()
        return _stands(on_host.status(at, _run(at)))

    def apply(self, at: At) -> str:
        return on_host.start(at, _run(at), 'owners change', _words(at))

    def follow(self, at: At) -> str:
        found = on_host.follow(at, _run(at))
        if found['state'] != 'done':
            found = on_host.through(at, _run(at), 'owners change', _words(at))
        return _ended(found, 'changed')

    def revert(self, at: At) -> str:
        # one that was started must not go on beside it
        on_host.follow(at, _run(at))
        found = on_host.through(
            at, f'{_run(at)}-undo', 'owners undo', _words(at, pairs=False)
        )
        if found['code'] != _LEFT:
            return _ended(found, 'restored')
        end = found['end'] or {}
        problems = end.get('problems')
        if not problems or set(problems) - _OTHERS:
            raise Conflict(runs.left(found))
        return (
            f'{end["restored"]} restored, {end["seen"]} seen; '
            f'{runs.left(found)}'
        )


class VerifyOwners(Look):
    """That nothing below a directory has an old number. Data: the same."""

    kind = 'verify-owners'

    def describe(self, item: Item) -> list[str]:
        return [f'? nothing below {item.data["root"]} has an old number']

    def apply(self, at: At) -> str:
        run = f'{_run(at)}-verify-{secrets.token_hex(4)}'
        words = _words(at, lift=False)
        return _ended(on_host.through(at, run, 'owners verify', words), 'left')


def _run(at: At) -> str:
    return f'{at.run_id}-owners-{at.data["number"]}'


def _words(at: At, pairs: bool = True, lift: bool = True) -> JSON:
    data = at.data
    words: JSON = {
        'root': data['root'],
        'leave_out': data['leave_out'],
        'state': on_host.state(at, f'owners-{data["number"]}'),
    }
    if pairs:
        words.update(uid=data['uid'], gid=data['gid'])
    if lift:
        words['lift_immutable'] = data['lift']
    return words


def _stands(found: Mapping[str, Any]) -> Observed:
    if found['state'] == 'running':
        return Observed.underway('it works')
    if found['state'] == 'done' and found['code'] == 0:
        return Observed.after(_ended(found, 'changed'))
    # killed, rebooted, something left: the same goes on
    return Observed.before()


def _ended(found: Mapping[str, Any], count: str) -> str:
    """What a walk came to.

    :raises ChangeFailed: something is left, or it could not begin
    """
    end = found['end'] or {}
    if found['code'] == 0:
        return f'{end.get(count, 0)} {count}, {end.get("seen", 0)} seen'
    if found['code'] == _LEFT:
        raise ChangeFailed(runs.left(found))
    raise ChangeFailed(str(end.get('text', f'ended with {found["code"]}')))
