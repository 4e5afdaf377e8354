# SPDX-License-Identifier: Apache-2.0

"""Claim a host or a server, in the cloud, for as long as a run works on it.

And what becomes of all claims of a run at once, when it is handed over or
was taken back.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING

from nova_recovery.changes import cell
from nova_recovery.changes.base import At, BaseChange
from nova_recovery.cloud import claims
from nova_recovery.cloud.db.databases import divide
from nova_recovery.engine import claiming
from nova_recovery.engine.change import JSON, Observed
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.exceptions import ClaimLost, Conflict, DatabaseUnavailable

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.db.database import Database


class ClaimHost(BaseChange):
    """Disable the service, with who works on it as the reason.

    Data: see ``engine.claiming.host``. A dead host has to be as silent as
    the plan saw it; a live one stays alive, and only gets no new servers.
    """

    kind = claiming.HOST

    def describe(self, item: Item) -> list[str]:
        return ['~ nova-compute disabled, claimed by this run']

    def observe(self, at: At) -> Observed:
        row = _service(at)
        reason = row['disabled_reason']
        if reason == at.marker:
            return Observed.after('claimed by this run')
        seen = at.data['seen']
        changed = cell.differences({**seen, **_silence(at)}, row)
        if changed and claims.holder(reason):
            return Observed.neither(f'claimed by another run: {reason}')
        if changed:
            return Observed.neither(cell.tell(changed))
        return Observed.before(dict(seen))

    def apply(self, at: At) -> str:
        try:
            _set(at, {**at.image, **_silence(at)}, _claimed(at))
        except Conflict as error:
            reason = _service(at)['disabled_reason']
            if claims.holder(reason):
                raise ClaimLost(f'claimed by another run: {reason}') from error
            raise
        return 'claimed'

    def revert(self, at: At) -> str:
        status = _status(at.image)
        if not cell.differences(status, _service(at)):
            return 'already as it was'
        _set(at, {'disabled_reason': at.marker}, status)
        return 'claim given back'


class ReleaseHost(BaseChange):
    """Give the claim back, and to a live host what it had before.

    A dead one must stay disabled and forced down until its nova-compute has
    restarted and cleaned up after itself. Data: see
    ``engine.claiming.release``.
    """

    kind = 'release-host'

    def describe(self, item: Item) -> list[str]:
        if claiming.restores(item):
            return [f'~ claim given back; {_told(item)}']
        return ['~ claim given back; stays disabled and forced down']

    def observe(self, at: At) -> Observed:
        row = _service(at)
        if row['disabled_reason'] == at.marker:
            return Observed.before({'disabled_reason': at.marker})
        if not cell.differences(_given_back(at.item, at.run_id), row):
            return Observed.after()
        if claims.holder(row['disabled_reason']) is None:
            # as the end of a run advises when the host is back
            return Observed.after('not claimed any more: it was put to use')
        return Observed.neither(
            f'the claim is gone: {row["disabled_reason"]!r}'
        )

    def apply(self, at: At) -> str:
        _set(at, at.image, _given_back(at.item, at.run_id), 1)
        if not claiming.restores(at.item):
            return 'stays disabled and forced down until it has cleaned up'
        seen = at.data['seen'].get('forced_down')
        now = _service(at)['forced_down']
        if seen is not None and bool(now) != bool(seen):
            # Not ours: whoever did it has seen it die, or come back.
            down = 'forced down' if now else 'no longer forced down'
            return f'{_told(at.item)}; {down} by somebody since'
        return _told(at.item)

    def revert(self, at: At) -> str:
        if _service(at)['disabled_reason'] == at.marker:
            return 'already claimed'
        _set(at, _given_back(at.item, at.run_id), _claimed(at), -1)
        return 'claimed again'


class ClaimServer(BaseChange):
    """Data: cell, uuid."""

    kind = claiming.SERVER

    def describe(self, item: Item) -> list[str]:
        return ['+ claimed, while this run works on it']

    def observe(self, at: At) -> Observed:
        held = _holder(at)
        if held == at.marker:
            return Observed.after('claimed by this run')
        if held:
            return Observed.neither(f'claimed by another run: {held}')
        return Observed.before()

    def apply(self, at: At) -> str:
        claims.claim_server(cell.database(at), at.data['uuid'], at.marker)
        return 'claimed'

    def revert(self, at: At) -> str:
        return _release(at)


class ReleaseServer(BaseChange):
    """Data: cell, uuid."""

    kind = 'release-server'

    def describe(self, item: Item) -> list[str]:
        return ['- claim given back']

    def observe(self, at: At) -> Observed:
        if _holder(at) != at.marker:
            return Observed.after('not claimed by us')
        return Observed.before()

    def apply(self, at: At) -> str:
        return _release(at, 1)

    def revert(self, at: At) -> str:
        # What is taken back next is done under the claim again.
        claims.claim_server(
            cell.database(at), at.data['uuid'], at.marker, (at.run_id, -1)
        )
        return 'claimed again'


def _service(at: At) -> JSON:
    return claims.service_row(cell.database(at), at.data['service_id'])


def _set(at: At, seen: JSON, values: JSON, more: int = 0) -> None:
    """:param more: see ``claims.Counted``"""
    claims.set_service(
        cell.database(at),
        at.data['service_id'],
        seen,
        values,
        (at.run_id, more) if more else None,
    )


def _silence(at: At) -> JSON:
    """What has to stay as it is besides, of a host that is dead."""
    if claiming.silent(at.item):
        return {'report_count': at.data['report_count']}
    return {}


def _claimed(at: At) -> JSON:
    return {'disabled': 1, 'disabled_reason': at.marker}


def _status(seen: JSON) -> JSON:
    """The columns that a claim writes, as they were seen."""
    return {name: seen[name] for name in ('disabled', 'disabled_reason')}


def _given_back(item: Item, run_id: str) -> JSON:
    """What the service of a host is without our claim."""
    if claiming.restores(item):
        return _status(item.data['seen'])
    return {
        'disabled_reason': (
            f'recovered by nova-recovery (run {run_id}); start its '
            'nova-compute and let it clean up before it is enabled'
        )
    }


def _told(item: Item) -> str:
    seen = item.data['seen']
    if not seen['disabled']:
        return 'enabled, as it was'
    return f'disabled, as it was: {seen["disabled_reason"] or "no reason"}'


def _holder(at: At) -> str | None:
    return claims.server_holder(cell.database(at), at.data['uuid'])


def _release(at: At, more: int = 0) -> str:
    claims.release_server(
        cell.database(at),
        at.data['uuid'],
        at.marker,
        (at.run_id, more) if more else None,
    )
    return 'claim given back'


def hand_over(whole: Plan, cloud: Cloud, before: str, after: str) -> list[str]:
    """Make the claims of a run somebody else's, each by compare-and-set.

    From then on the process that had them sends nothing more: it looks at
    its claim before each change. Can be repeated.

    :param before: the marker of whoever has the run
    :param after: the marker of whoever takes it
    :returns: the hosts and servers whose claims were handed over
    :raises ClaimLost: a third party has one; those before it are handed over
    """
    handed = []
    for item in claiming.claims(whole).values():
        database = cloud.databases.cell(item.data['cell'])
        if item.kind == claiming.HOST:
            done = claims.hand_over_service(
                database, item.data['service_id'], before, after
            )
        else:
            done = claims.hand_over_server(
                database, item.data['uuid'], before, after
            )
        if done:
            handed.append(item.label)
    for database in _databases(whole, cloud):
        claims.note_taken(database, claims.run_of(after), after)
    return handed


def _databases(whole: Plan, cloud: Cloud) -> list[Database]:
    """The cells in which a plan claims something."""
    names = {item.data['cell'] for item in claiming.claims(whole).values()}
    return [cloud.databases.cell(name) for name in sorted(names)]


def give_back(
    whole: Plan, cloud: Cloud, run_id: str, marker: str
) -> list[str]:
    """Give back what an undone run still claims.

    A host keeps its claim where something stays as the run made it, such as
    servers that can't go back to it. Such a run can't be resumed, so that
    nobody else could ever work on the host. A dead one stays disabled and
    forced down.

    :returns: the hosts whose claims were given back, and how they are, a
        line each
    """
    given = []
    for item in claiming.claims(whole).values():
        database = cloud.databases.cell(item.data['cell'])
        if item.kind == claiming.SERVER:
            claims.release_server(database, item.data['uuid'], marker)
            continue
        service_id = item.data['service_id']
        reason = claims.service_row(database, service_id)['disabled_reason']
        if reason == marker:
            claims.set_service(
                database,
                service_id,
                {'disabled_reason': marker},
                _given_back(item, run_id),
            )
            how = 'stays disabled'
            if claiming.restores(item):
                how = f'is {_told(item)}'
            given.append(f'{item.label} {how}; its claim is given back.')
    return given


def ended(
    whole: Plan,
    cloud: Cloud,
    run_id: str,
    states: Mapping[str, str],
    marker: str,
) -> list[str]:
    """What another controller gave back, where it ended the run.

    By our journal such a run has claims. Whoever took it over counts in the
    cloud which it gave back at the end of what it did: one that somebody
    else took off is not among them, nor one of a run that it undid. Where
    nothing was noted (an earlier version did not), a dead host shows that it
    was given back in the run's own name.

    :param states: item id -> its state, by our journal
    :param marker: ours
    :returns: none where one of the claims was not given back so
    """
    held = claiming.held(states, whole)
    counts = collections.Counter(claim.data['cell'] for claim in held)
    notes = {
        name: claims.taken_by(cloud.databases.cell(name), run_id)
        for name in counts
    }
    taken = {k: v for k, v in notes.items() if v and v[0] != marker}
    if not taken:
        over = _given_back_by_name(held, cloud, run_id)
    else:
        over = all(
            name in taken and taken[name][1] >= count
            for name, count in counts.items()
        ) and not any(_claims(claim, cloud, run_id) for claim in held)
    return [claim.label for claim in held] if over else []


def _claims(claim: Item, cloud: Cloud, run_id: str) -> bool:
    """Whether a run has this, whoever carries it out."""
    database = cloud.databases.cell(claim.data['cell'])
    if claim.kind == claiming.SERVER:
        held = claims.server_holder(database, claim.data['uuid'])
    else:
        row = claims.service_row(database, claim.data['service_id'])
        held = row['disabled_reason']
    return claims.run_of(held) == run_id


def _given_back_by_name(
    held: Sequence[Item], cloud: Cloud, run_id: str
) -> bool:
    for claim in held:
        if not claiming.silent(claim):
            return False
        row = claims.service_row(
            cloud.databases.cell(claim.data['cell']), claim.data['service_id']
        )
        if cell.differences(_given_back(claim, run_id), row):
            return False
    return bool(held)


@dataclasses.dataclass(frozen=True)
class Abandoned:
    """What became of the claims of a run that nobody goes on with.

    :ivar told: a line for each that was taken off
    :ivar unknown: a line for each cell that may have more
    """

    told: tuple[str, ...]
    unknown: tuple[str, ...]


def abandon(
    cloud: Cloud, run_id: str, reason: str, whole: Plan | None = None
) -> Abandoned:
    """Take all claims of a run off the cloud, whoever made them.

    Found by what they say, so that it works without the run's journal. From
    then on a process that still carries it out sends nothing more. A host
    that was alive gets back what it had, where the plan tells; all others
    stay disabled.

    :param whole: its plan, where a journal has it
    """
    told: list[str] = []
    planned = claiming.claims(whole) if whole else {}
    found, unknown = _every(cloud)
    for claim in found:
        if claims.run_of(claim.marker) != run_id:
            continue
        database = cloud.databases.cell(claim.cell)
        # before: what is left undone was not brought to its end
        claims.note_taken(database, run_id, None)
        if claim.service_id is None:
            claims.release_server(database, claim.name, claim.marker)
            told.append(f'server {claim.name}: its claim is taken off')
            continue
        item = planned.get(f'host:{claim.name}')
        known = item is not None and claiming.restores(item)
        claims.set_service(
            database,
            claim.service_id,
            {'disabled_reason': claim.marker},
            _given_back(item, run_id)
            if known and item
            else _left(run_id, reason),
        )
        how = (
            f'it is {_told(item)}'
            if known and item
            else (
                'it stays disabled; when nothing of the run is left to do '
                f'there: openstack compute service set --enable {claim.name} '
                'nova-compute'
            )
        )
        told.append(f'{claim.name}: its claim is taken off, {how}')
    return Abandoned(tuple(told), tuple(map(str, unknown)))


def held_by(cloud: Cloud, run_id: str) -> list[str]:
    """What a run claims in the cells that answer, a line each."""
    return [
        f'{"server" if claim.service_id is None else "host"} {claim.name}, '
        f'{claim.marker}'
        for claim in _every(cloud)[0]
        if claims.run_of(claim.marker) == run_id
    ]


def runs(cloud: Cloud) -> dict[str, list[str]]:
    """The runs that have claims in the cloud, each with their markers.

    Of the cells that answer.
    """
    by_run: dict[str, dict[str, None]] = {}
    for claim in _every(cloud)[0]:
        run_id = claims.run_of(claim.marker)
        by_run.setdefault(run_id, {})[claim.marker] = None
    return {run_id: list(markers) for run_id, markers in by_run.items()}


def _every(
    cloud: Cloud,
) -> tuple[list[claims.Claim], list[DatabaseUnavailable]]:
    """All claims of the cells that answer, and why others don't."""
    found, unknown = divide(
        cloud.databases.each_cell(lambda cell: list(claims.every(cell)))
    )
    return [one for some in found.values() for one in some], [
        *unknown.values()
    ]


def _left(run_id: str, reason: str) -> JSON:
    text = f'abandoned by nova-recovery (run {run_id}): {reason}'
    return {'disabled_reason': text[: claims.LONGEST]}
