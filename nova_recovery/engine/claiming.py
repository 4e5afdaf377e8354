# SPDX-License-Identifier: Apache-2.0

"""Who works on what: the items of a plan that claim, and give back.

Two operators never work on the same thing: what a run works on it claims in
the cloud first (``cloud.claims``), and gives it back in the end. Here is
what such items look like, for those who plan them and those who read them
from a plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from typing import Any, TYPE_CHECKING

from nova_recovery.engine.plan import Item, Plan, Step

if TYPE_CHECKING:
    from nova_recovery.engine.records import ItemRecord

HOST, SERVER = 'claim-host', 'claim-server'
#: What gives back -> what it gives back.
RELEASES = {'release-host': HOST, 'release-server': SERVER}
#: A lock is one against the members of the project.
GIVES_BACK = {**RELEASES, 'unlock-server': 'lock-server'}
_BACK = {claim: release for release, claim in RELEASES.items()}
KINDS = frozenset({*RELEASES, *_BACK})


def host(
    name: str,
    cell: str,
    service_id: int,
    seen: dict[str, Any],
    report_count: int | None = None,
) -> Item:
    """The claim on a host: on its nova-compute.

    :param seen: columns of ``services`` as they are: disabled and
        disabled_reason, and of a live host forced_down
    :param report_count: of a host that is claimed because it is dead: where
        its count stands still. It stays out of service when the claim is
        given back. None: it may be alive; then it gets back what was seen.
    """
    data = {'cell': cell, 'host': name, 'service_id': service_id, 'seen': seen}
    if report_count is not None:
        data['report_count'] = report_count
    return Item(f'{HOST}:{name}', HOST, f'host:{name}', name, data)


def server(
    uuid: str,
    label: str,
    cell: str,
    follows: tuple[str, ...] = (),
    source: str = '',
) -> Item:
    """The claim on a server.

    :param source: the dead host that it is moved off, where that has no
        nova-compute in the database to be claimed: one that appears there
        means that the host came back
    """
    data = {'uuid': uuid, 'cell': cell}
    if source:
        data['source'] = source
    return Item(
        f'{SERVER}:{uuid}', SERVER, f'server:{uuid}', label, data, follows
    )


def release(claim: Item, follows: tuple[str, ...] = ()) -> Item:
    """What gives a claim back.

    :param follows: subjects of which nothing may be left to be done
    """
    kind = _BACK[claim.kind]
    data = {**claim.data}
    if silent(claim):
        # it isn't as it was any more, and shan't be
        del data['seen'], data['report_count']
    return dataclasses.replace(
        claim,
        id=claim.id.replace(claim.kind, kind, 1),
        kind=kind,
        data=data,
        follows=follows,
    )


def around(
    claims: Sequence[Item],
    steps: Iterable[Step],
    releases: Iterable[Item] = (),
    titles: tuple[str, str] = ('claim', 'give the claims back'),
) -> tuple[Step, ...]:
    """Steps between claims and their release.

    :param releases: None given: as soon as all steps of a subject are over
    """
    return (
        Step('claim', titles[0], tuple(claims)),
        *steps,
        Step('release', titles[1], tuple(releases or map(release, claims))),
    )


def claims(plan: Plan) -> dict[str, Item]:
    """What a plan claims: subject -> the item that claims it."""
    return {item.subject: item for item in plan.items() if item.kind in _BACK}


def held(states: Mapping[str, str], plan: Plan) -> list[Item]:
    """What claims the hosts and servers that a run has not given back.

    :param states: item id -> its state
    """
    given = {
        item.subject
        for item in plan.items()
        if item.kind in RELEASES and states.get(item.id) in ('done', 'already')
    }
    return [
        item
        for item in claims(plan).values()
        if states.get(item.id) == 'done' and item.subject not in given
    ]


def touched(items: Iterable[ItemRecord]) -> frozenset[str]:
    """The subjects that a run has begun with, for the gates of its rest.

    A claim is the first thing, and changes nothing of what gates look at but
    who works on it: see ``changed``.
    """
    begun = [item for item in items if item.begun]
    subjects = {item.subject for item in begun}
    more = {item.subject for item in begun if item.kind not in KINDS}
    return frozenset(
        {*subjects, *(f'{_CLAIMED}{subject}' for subject in subjects - more)}
    )


def changed(touched: frozenset[str]) -> frozenset[str]:
    """Those of ``touched`` that were not claimed alone."""
    return frozenset(
        subject for subject in touched if f'{_CLAIMED}{subject}' not in touched
    )


_CLAIMED = 'claimed:'


def silent(item: Item) -> bool:
    """Whether a claim is on a host that has to stay silent."""
    return 'report_count' in item.data


def restores(item: Item) -> bool:
    """Whether a host gets back what was seen, with its claim.

    Of plans of before, too: those had the claims of dead hosts only.
    """
    return not silent(item) and 'seen' in item.data
