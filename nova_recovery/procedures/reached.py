# SPDX-License-Identifier: Apache-2.0

"""What hosts answered, whoever asks, and the gate that they answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
import dataclasses
from typing import Any, Protocol, TYPE_CHECKING, TypeVar

from nova_recovery import program
from nova_recovery.cloud.db import cells, services
from nova_recovery.cloud.db.databases import divide
from nova_recovery.engine.findings import Finding, UNKNOWN
from nova_recovery.engine.plan import Gate
from nova_recovery.exceptions import RecoveryError
from nova_recovery.fleet import answer
from nova_recovery.fleet.script import Words

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.cloud.db.cells import Cell
    from nova_recovery.cloud.db.database import Database

T = TypeVar('T')


class Answered(Protocol):
    """What is known of any host that was asked."""

    @property
    def name(self) -> str: ...

    @property
    def problem(self) -> str: ...

    @property
    def refused(self) -> bool: ...


@dataclasses.dataclass(frozen=True)
class Reached:
    """One host, and what it answered.

    :ivar problem: why it is not known; '' if it is
    :ivar refused: the problem is a refusal; else nothing came back
    :ivar said: the results of the verbs, in their order
    """

    name: str
    machine_id: str = ''
    problem: str = ''
    refused: bool = False
    said: tuple[Mapping[str, Any], ...] = ()


def read(cloud: Cloud, names: Collection[str], *calls: Words) -> list[Reached]:
    """Ask hosts for something that changes nothing, all at once.

    :param names: exact names of nova hosts
    :param calls: verbs of the agent, each with its options; none: whether
        they answer for themselves
    :returns: one each, in their order
    :raises ConfigError: the fleet can't be reached at all
    """
    names = tuple(dict.fromkeys(names))
    fleet = cloud.fleet
    identified = fleet.identify(names)
    there = [n for n in names if identified[n].state == answer.DONE]
    asked = {}
    if calls:
        asked = fleet.each(there, lambda name: fleet.several(name, *calls))
    made = []
    for name in names:
        found = asked.get(name, identified[name])
        if found.state == answer.DONE:
            machine = identified[name].result['machine_id']
            said = tuple(found.result['answers']) if calls else ()
            made.append(Reached(name, machine, said=said))
        else:
            refused = found.state == answer.REFUSED
            made.append(Reached(name, '', found.detail, refused))
    return made


def of_cells(
    cloud: Cloud, ask: Callable[[Database], T]
) -> tuple[dict[str, T], tuple[str, ...]]:
    """What the cells answer, and why that is not all, lines.

    Of a host by itself, which has no databases, it is nothing. A cell that is
    disabled is not asked, and may have what is looked for.
    """
    try:
        databases = cloud.databases
        known, unknown = divide(databases.each_cell(ask))
    except RecoveryError as error:
        return {}, (str(error),)
    return known, (
        *map(str, unknown.values()),
        *(_not_asked(one) for one in databases.disabled),
    )


def _not_asked(cell: Cell) -> str:
    return f'{cell.name} is disabled, and not asked'


def disabled(cloud: Cloud) -> dict[str, tuple[str, str]]:
    """Cells that somebody has disabled, by what ``of_cells`` says of them.

    Where only hosts of other cells are looked at nothing of such a one is
    missing: a host is in one cell.

    :returns: the line -> the name of the cell, and what enables it
    """
    try:
        found = cloud.databases.disabled
    except RecoveryError:
        return {}
    return {
        _not_asked(one): (one.name, cells.enable(one.uuid)) for one in found
    }


def hosts_of(cloud: Cloud) -> tuple[list[str], tuple[str, ...]]:
    """All compute hosts that the cells know, and what could not be asked.

    :returns: exact names, and lines
    """
    known, unknown = divide(
        cloud.databases.each_cell(services.compute_services)
    )
    names = sorted({one.host for some in known.values() for one in some})
    return names, tuple(
        f'{error}: its hosts were not asked' for error in unknown.values()
    )


def finding(
    host: Answered,
    code: str,
    severity: str,
    cause: str,
    label: str = '',
    expected: str = '',
    fix: str = '',
    **more: Any,
) -> Finding:
    """What was seen of a host, or of something on it.

    :param label: what on it is meant; '' is the host itself
    :param expected: what is to be done, in words
    :param fix: the same, as a command
    :param more: other fields of a finding
    """
    subject = f'host:{host.name}'
    return Finding(
        code,
        severity,
        f'{subject}:{label}' if label else subject,
        cause,
        label=label or host.name,
        expected=expected,
        fix=fix,
        host=host.name,
        **more,
    )


def unknown(host: Answered) -> Finding:
    """One that did not answer, with what asks it again."""
    return finding(
        host,
        'HOST-UNKNOWN',
        UNKNOWN,
        host.problem,
        fix=program.call(f'host check {host.name}'),
    )


def gates(hosts: Sequence[Answered]) -> Iterator[Gate]:
    """Whether each host answers for itself."""
    for host in hosts:
        if host.problem:
            yield Gate(
                'host-answers',
                host.name,
                'hard',
                'refused' if host.refused else 'unknown',
                host.problem,
                'mend what is named, or leave the host out of the command',
            )
    answered = sum(not host.problem for host in hosts)
    if answered:
        yield Gate(
            'host-answers',
            '',
            'hard',
            'ok',
            f'{answered} of {len(hosts)} hosts, each another machine',
        )
