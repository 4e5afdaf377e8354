# SPDX-License-Identifier: Apache-2.0

"""Whether any file has an old number still: what ``find`` would show."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent import futures
import dataclasses
import secrets
import time
from typing import Any, TYPE_CHECKING

from nova_recovery import exit_codes
from nova_recovery.engine import findings
from nova_recovery.engine.findings import Assessment, Finding
from nova_recovery.engine.plan import Plan
from nova_recovery.exceptions import RecoveryError, UsageError
from nova_recovery.fleet import runs
from nova_recovery.procedures.uid import facts, numbers

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

_COLUMNS = (
    ('Host', lambda one: one.host),
    ('Below', lambda one: one.label),
    ('Seen', lambda one: one.cause),
)


@dataclasses.dataclass(frozen=True)
class Check:
    """One walk on one host.

    :ivar uid: OLD:NEW of those that nobody should own
    :ivar gid: the same
    :ivar state: where the before-images lie that tell old from new numbers
        where they were exchanged; '' if there are none
    """

    host: str
    root: str
    uid: tuple[str, ...]
    gid: tuple[str, ...]
    leave_out: tuple[str, ...] = ()
    state: str = ''
    machine_id: str = ''


def of_run(
    plan: Plan, run_id: str, hosts: Sequence[str], undone: Collection[str] = ()
) -> list[Check]:
    """What a run changed.

    Before-images know nothing of files that were made between a change and
    its undo: those have the number that was taken back, and nobody owns them.

    :param hosts: of these only; () is all
    :param undone: ids of items that were: there the new numbers are looked
        for, as far as they were no old ones
    :raises UsageError: it changed no owners there, or all that it gave were
        exchanged, and can't be told from the old ones once they are back
    """
    items = [
        item
        for item in plan.items()
        if item.kind == 'change-owners'
        and (not hosts or item.data['host'] in hosts)
    ]
    if not items:
        raise UsageError(f'run {run_id} changes no owners of files there')
    found = []
    for item in items:
        data = item.data
        check = Check(
            data['host'],
            data['root'],
            tuple(data['uid']),
            tuple(data['gid']),
            tuple(data['leave_out']),
            f'{data["home"]}/uid-{run_id}/owners-{data["number"]}',
            data['machine_id'],
        )
        if item.id in undone:
            uid, gid = _turned(check.uid), _turned(check.gid)
            check = dataclasses.replace(check, uid=uid, gid=gid, state='')
        if check.uid or check.gid:
            found.append(check)
    if not found:
        raise UsageError(
            f'what run {run_id} changed there was undone, and all its numbers '
            'had been exchanged: a file that was made meanwhile looks like '
            'any other'
        )
    return found


def _turned(pairs: Sequence[str]) -> tuple[str, ...]:
    """NEW:OLD, without what was an old number of another pair."""
    split = [pair.split(':') for pair in pairs]
    olds = {old for old, _new in split}
    return tuple(f'{new}:{old}' for old, new in split if new not in olds)


def of_numbers(
    cloud: Cloud, hosts: Sequence[str], was: numbers.Goal, roots: Sequence[str]
) -> list[Check]:
    """That the files of accounts have the numbers that these have now.

    :param was: the numbers that nobody should own
    :raises RecoveryError: a host doesn't say what its accounts have, or one
        of them has the number still
    """
    made = []
    for host in facts.read(cloud, hosts).hosts:
        if host.problem:
            raise RecoveryError(f'{host.name}: {host.problem}')
        pairs: dict[str, list[str]] = {'uid': [], 'gid': []}
        for (kind, role), old in was.items():
            now = numbers.number_on(host, kind, role)
            if now == old:
                raise RecoveryError(
                    f'{host.name}: {kind} {old} is what '
                    f'{numbers.name_on(host, kind, role)} has there: give it '
                    'its new number first, or leave this host out'
                )
            if now is not None:
                pairs[kind].append(f'{old}:{now}')
        if any(pairs.values()):
            made += [
                Check(
                    host.name,
                    root,
                    tuple(pairs['uid']),
                    tuple(pairs['gid']),
                    machine_id=host.machine_id,
                )
                for root in roots
            ]
    return made


def assess(
    cloud: Cloud,
    checks: Sequence[Check],
    wait: Callable[[float], None] = time.sleep,
) -> Assessment:
    """Walk all of them, the hosts side by side; a finding for each."""
    by_host: dict[str, list[Check]] = {}
    for check in checks:
        by_host.setdefault(check.host, []).append(check)
    if not by_host:
        return Assessment((), (), _COLUMNS)
    cloud.fleet.identify(by_host)
    with futures.ThreadPoolExecutor(len(by_host)) as pool:
        made = [
            finding
            for some in pool.map(
                lambda own: [_walked(cloud, one, wait) for one in own],
                by_host.values(),
            )
            for finding in some
        ]
    return Assessment(
        checks,
        tuple(made),
        _COLUMNS,
        ends={
            findings.STALE: exit_codes.PARTLY,
            findings.UNKNOWN: exit_codes.PARTLY,
        },
    )


def _walked(
    cloud: Cloud, check: Check, wait: Callable[[float], None]
) -> Finding:
    try:
        found = _status(cloud, check, wait)
    except RecoveryError as error:
        return _finding(check, findings.UNKNOWN, str(error))
    end: Mapping[str, Any] = found['end'] or {}
    if found['state'] == 'done' and found['code'] == 0:
        return _finding(
            check,
            findings.GOOD,
            f'nothing has an old number, of {end.get("seen", 0)}',
        )
    if found['state'] == 'done' and found['code'] == exit_codes.PARTLY:
        return _finding(check, findings.STALE, runs.left(found))
    why = end.get('text') or f'the walk is {found["state"]}'
    return _finding(check, findings.UNKNOWN, str(why))


def _status(
    cloud: Cloud, check: Check, wait: Callable[[float], None]
) -> Mapping[str, Any]:
    fleet = cloud.fleet
    name = f'verify-{secrets.token_hex(4)}'
    known = fleet.identity(check.host)
    if known is not None and known.machine_id != check.machine_id:
        raise RecoveryError(f'{check.host} is another machine by now')
    words = {
        'root': check.root,
        'uid': check.uid,
        'gid': check.gid,
        'leave_out': check.leave_out,
        'state': check.state or None,
    }
    fleet.start(check.host, name, 'owners verify', words).need()
    return runs.follow(fleet, check.host, name, wait, lambda text: None)


def _finding(check: Check, severity: str, seen: str) -> Finding:
    code = {
        findings.GOOD: 'FILES-RIGHT',
        findings.STALE: 'FILES-LEFT',
        findings.UNKNOWN: 'FILES-UNKNOWN',
    }[severity]
    return Finding(
        code,
        severity,
        f'files:{check.host}:{check.root}',
        seen,
        label=check.root,
        host=check.host,
    )
