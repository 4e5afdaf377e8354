# SPDX-License-Identifier: Apache-2.0

"""Chains of a host's packet filter, set by the host on trial."""

from __future__ import annotations

from collections.abc import Mapping
import time
from typing import Any

from nova_recovery.changes import on_host
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.exceptions import ChangeFailed, Conflict, OutcomeUnknown
from nova_recovery.fleet import answer, fleet
from nova_recovery.fleet import runs as fleet_runs
from nova_recovery.host import packet_filter
from nova_recovery.host.agent import rules
from nova_recovery.host.agent.rules import chains

#: Seconds for the word that it can be reached.
_PATIENCE = 15


class RestoreRules(BaseChange):
    """All chains of the item, as one; the rules of others stay in them.

    Data: host, machine_id, home, seconds (until the host takes it back), and
    chains: name -> as it was seen, as it is wanted (None: there is none).
    """

    kind = 'restore-rules'

    def describe(self, item: Item) -> list[str]:
        lines = []
        for name, (seen, wanted) in item.data['chains'].items():
            sign = '+' if seen is None else '-' if wanted is None else '~'
            lines.append(f'{sign} {name}')
            difference = packet_filter.difference(
                chains.own(seen), chains.own(wanted)
            )
            lines += [f'    {line}' for line in difference]
        return lines

    def observe(self, at: At) -> Observed:
        if at.begun:
            state = on_host.status(at, _last(at, _run(at)))['state']
            if state == 'running':
                return Observed.underway('the host waits for a word')
            if state == 'lost':
                # it was killed, and nobody has confirmed anything
                return Observed.before()
        now, why = _now(at)
        if why:
            return Observed.unknown(why)
        seen, wanted = _sides(at.data['chains'])
        if _own(now) == wanted:
            return Observed.after('as saved')
        if _own(now) == seen or (at.begun and _mixed(now, seen, wanted)):
            return Observed.before({'chains': now})
        return Observed.neither('somebody changed a chain since')

    def apply(self, at: At) -> str:
        return _start(at, _run(at), at.data['chains'])

    def follow(self, at: At) -> str:
        run = _run(at)
        found = _follow(at, _last(at, run))
        return _through(at, run, at.data['chains'], found)

    def revert(self, at: At) -> str:
        # the trial must not end beside it
        on_host.follow(at, _last(at, _run(at)))
        now, why = _now(at)
        if why:
            raise OutcomeUnknown(f'{at.data["host"]}: {why}')
        back = {
            name: [wanted, at.image['chains'][name]]
            for name, (_seen, wanted) in at.data['chains'].items()
        }
        wanted, before = _sides(back)
        if _own(now) == before:
            return 'they are as they were'
        if not _mixed(now, before, wanted):
            raise Conflict('somebody changed a chain since')
        run = f'{_run(at)}-undo'
        return _through(at, run, back)


def _run(at: At) -> str:
    return f'{at.run_id}-rules'


def _last(at: At, run: str) -> str:
    """The name under which it was started last, see :func:`_start`."""
    return str(at.notes.get(run, run))


def _now(at: At) -> tuple[Mapping[str, Any], str]:
    """The chains as they are, and why that is not known."""
    names = list(at.data['chains'])
    found = on_host.ask(at, 'rules list', {'chain': names})
    tools = {name.partition(':')[0] for name in names}
    why = [f'{tool}: {said}' for tool, said in found['why'].items()
           if tool in tools]  # fmt: skip
    return found['chains'], '; '.join(why)


def _own(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: chains.own(chain) for name, chain in found.items()}


def _sides(both: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(as it was seen, as it is wanted), without the rules of others."""
    return (
        _own({name: seen for name, (seen, _wanted) in both.items()}),
        _own({name: wanted for name, (_seen, wanted) in both.items()}),
    )


def _mixed(
    now: Mapping[str, Any], one: Mapping[str, Any], other: Mapping[str, Any]
) -> bool:
    """Whether each chain is one of the two: it was killed in between."""
    return all(
        chain in (one[name], other[name]) for name, chain in _own(now).items()
    )


def _start(at: At, run: str, wanted: Mapping[str, Any]) -> str:
    """Start it; under the next name where it was kept, and is gone again.

    The host was rebooted since: what ended well is not begun once more.
    """
    for number in range(on_host.STARTS):
        name = f'{run}-{number}' if number else run
        if name != _last(at, run):
            # before it is sent: it is what is followed after a crash
            at.note(**{run: name})
        words = {
            'wanted': rules.pack(dict(wanted)),
            'state': on_host.state(at, name),
            'seconds': at.data['seconds'],
        }
        found = on_host.ask(at, fleet.starting(name, 'rules apply'), words)
        if found['started']:
            return 'set, on trial'
        if found['state'] != 'done' or _is_set(at, wanted):
            return f'it is {found["state"]}'
    raise OutcomeUnknown(f'{at.data["host"]} lost it {on_host.STARTS} times')


def _is_set(at: At, wanted: Mapping[str, Any]) -> bool:
    """:raises OutcomeUnknown: the host does not show it"""
    now, why = _now(at)
    if why:
        raise OutcomeUnknown(f'{at.data["host"]}: {why}')
    return _own(now) == _sides(wanted)[1]


def _through(
    at: At,
    run: str,
    wanted: Mapping[str, Any],
    found: Mapping[str, Any] | None = None,
) -> str:
    """Have it done to its end, again where the host was rebooted under it.

    :param found: what came of it so far, where it was started
    """
    for _ in range(on_host.STARTS):
        if found is not None and found['state'] == 'done':
            return _ended(at, found)
        _start(at, run, wanted)
        found = _follow(at, _last(at, run))
    if found is not None and found['state'] == 'done':
        return _ended(at, found)
    raise OutcomeUnknown(f'{at.data["host"]} was interrupted too often')


def _follow(at: At, run: str) -> Mapping[str, Any]:
    """Confirm by a new connection as soon as it is set, and see its end.

    :returns: the agent's ``status``, no longer running; with ``why`` nobody
        could confirm
    :raises OutcomeUnknown: the host says nothing any more
    """
    # by the clock: to ask a host that is silent takes long by itself
    heard, why, said = time.monotonic(), '', ''
    while True:
        at.wait(fleet_runs.POLL)
        try:
            found = on_host.status(at, run)
        except OutcomeUnknown as error:
            if time.monotonic() - heard > fleet_runs.SILENCE:
                raise
            at.progress(f'waiting for an answer: {error}')
            continue
        heard = time.monotonic()
        if found['state'] != 'running':
            return {**found, 'why': why}
        token = (found['progress'] or {}).get('token')
        # of one that was begun again, it may be that of before
        if token and token != said:
            why = _confirm(at, run, token)
            said = '' if why else token
            at.progress(why or 'confirmed by a new connection')


def _confirm(at: At, run: str, token: str) -> str:
    """Say by a new connection that it can be reached; why that failed."""
    words = {'state': on_host.state(at, run), 'token': token}
    found = at.cloud.fleet.run(
        at.data['host'], 'rules confirm', words, _PATIENCE, anew=True
    )
    return '' if found.state == answer.DONE else str(found.detail)


def _ended(at: At, found: Mapping[str, Any]) -> str:
    """:raises ChangeFailed: the host has taken it back"""
    end = found['end'] or {}
    if found['code'] == 0:
        return 'kept: the host was reached by a new connection'
    if 'kept' in end:
        raise ChangeFailed(
            f'taken back by {at.data["host"]}: nobody confirmed within '
            f'{at.data["seconds"]} s'
            + (f'; {found["why"]}' if found.get('why') else '')
        )
    raise ChangeFailed(str(end.get('text', f'ended with {found["code"]}')))
