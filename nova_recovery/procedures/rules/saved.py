# SPDX-License-Identifier: Apache-2.0

"""The file in which the rules of hosts are kept, or the snapshot."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
import dataclasses
import json
from typing import Any, TYPE_CHECKING

from nova_recovery import exceptions, program
from nova_recovery.cloud import clock
from nova_recovery.engine import files, findings
from nova_recovery.engine.findings import Assessment, Columns, Finding
from nova_recovery.exceptions import RecoveryError
from nova_recovery.host.agent.rules import chains as chains_module
from nova_recovery.host.agent.rules.chains import Chain
from nova_recovery.procedures import reached
from nova_recovery.procedures.reached import Reached
from nova_recovery.report import wording
from nova_recovery.snapshot import reading
from nova_recovery.snapshot.format import CHAINS, COMPLETE
from nova_recovery.snapshot.reading import Snapshot
from nova_recovery.snapshot.taking import RULES, Rules

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

_FORMAT = 1

_COLUMNS: Columns = (*findings.OF_HOST, ('Seen', lambda one: one.cause))


@dataclasses.dataclass(frozen=True)
class Host:
    """The rules of one host.

    :ivar chains: name -> head and rules, as the tool writes them
    :ivar why: tool -> why its rules are not known
    """

    machine_id: str
    chains: Mapping[str, Chain]
    why: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def lacks(self, name: str) -> str:
        """Why a chain is not known; '' if it is, there or not."""
        return self.why.get(name.partition(':')[0], '')


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a file has; hosts by their exact names."""

    path: str
    saved_at: str
    hosts: Mapping[str, Host]


def of(host: Reached) -> Host:
    """What a host that answered has said, all of it.

    What has bytes that are no UTF-8, such as in a comment of ``iptables``, is
    not known: no journal holds it, and no file that is read again.
    """
    (said,) = host.said
    chains = said['chains']
    why = {
        name.partition(':')[0]: f'{ascii(name)} has bytes that are no UTF-8'
        for name, chain in chains.items()
        if not all(map(_is_text, [name, *chain]))
    } | said['why']
    return Host(
        host.machine_id,
        {n: c for n, c in chains.items() if n.partition(':')[0] not in why},
        why,
    )


def _is_text(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def save(cloud: Cloud, names: Collection[str], path: str) -> Assessment:
    """Ask hosts for their rules, and write them into a new file.

    :param names: exact names; none: all compute hosts of the cells
    :raises RecoveryError: it can't be written, or no host answered
    """
    silent: tuple[str, ...] = ()
    if not names:
        names, silent = reached.hosts_of(cloud)
    hosts = reached.read(cloud, names, ('rules list', {}))
    found = {host.name: of(host) for host in hosts if not host.problem}
    if not found:
        told = '; '.join(f'{host.name}: {host.problem}' for host in hosts)
        raise RecoveryError(f'no host answered, nothing was saved: {told}')
    text = json.dumps(
        {
            'format': _FORMAT,
            'saved_at': clock.now(),
            'hosts': {n: dataclasses.asdict(one) for n, one in found.items()},
        },
        indent=1,
    )
    files.write(path, [text, '\n'], replace=False)
    made = tuple(_told(host, found.get(host.name)) for host in hosts)
    line = f'The rules of {wording.count(len(found), "host")} are in {path}.'
    return Assessment(found, made, _COLUMNS, (line,), silent)


def look(cloud: Cloud, names: Collection[str]) -> list[Rules]:
    """Ask hosts for their rules, for a snapshot.

    It is taken whole without them, whatever keeps the hosts from being asked.
    """
    taken_at = clock.now()
    try:
        hosts = reached.read(cloud, names, ('rules list', {}))
    except RecoveryError as error:
        return [Rules(one, taken_at, problem=str(error)) for one in names]
    made = []
    for host in hosts:
        if host.problem:
            made.append(Rules(host.name, taken_at, problem=host.problem))
            continue
        one = of(host)
        made.append(
            Rules(host.name, taken_at, one.machine_id, one.chains, one.why)
        )
    return made


def of_snapshot(snapshot: Snapshot) -> Saved:
    """What a snapshot has of the rules of hosts.

    :raises RecoveryError: it is damaged
    """
    found = {}
    for source in snapshot.sources:
        kind, _colon, name = source.name.partition(':')
        parts = {
            part.state for part in snapshot.parts if part.source == source.name
        }
        if kind != RULES or parts != {COMPLETE}:
            continue
        chains, why = {}, {}
        for row in snapshot.rows(CHAINS.name, source=source.name):
            if row['why'] is None:
                place = f'{row["tool"]}:{row["chain"]}'
                chains[place] = str(row['text']).split('\n')
            else:
                why[str(row['tool'])] = str(row['why'])
        found[name] = Host(source.detail, chains, why)
    return Saved(snapshot.path, str(snapshot.meta.get('taken_at')), found)


def _told(host: Reached, found: Host | None) -> Finding:
    if found is None:
        return reached.unknown(host)
    if found.why:
        why = '; '.join(f'{tool}: {why}' for tool, why in found.why.items())
        return reached.finding(
            host, 'RULES-UNKNOWN', findings.UNKNOWN, f'not saved: {why}'
        )
    rules = sum(len(chain) - 1 for chain in found.chains.values())
    others = sum(map(chains_module.others, found.chains))
    return reached.finding(
        host,
        'RULES-SAVED',
        findings.GOOD,
        f'{wording.count(len(found.chains), "chain")} with '
        f'{wording.count(rules, "rule")}, {others} of them made by others',
    )


def load(path: str) -> Saved:
    """Read such a file, or a snapshot.

    :raises RecoveryError: it can't be read, or is none
    """
    if reading.is_one(path):
        with Snapshot(path) as snapshot:
            known = of_snapshot(snapshot)
        if not known.hosts:
            raise RecoveryError(
                f'{path} has no rules of hosts: '
                + program.call('snapshot create --hosts')
                + ' saves them'
            )
        return known
    try:
        with open(path, encoding='utf-8') as file:
            found = files.parsed(file.read())
        if found['format'] != _FORMAT:
            raise ValueError(f'format {found["format"]}')
        return Saved(
            path,
            str(found['saved_at']),
            {name: _host(one) for name, one in found['hosts'].items()},
        )
    except OSError as error:
        raise RecoveryError(f'{path}: {exceptions.plainly(error)}') from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = exceptions.plainly(error)
        raise RecoveryError(
            f'{path}: not what "host rules save" writes: {why}'
        ) from error


def _host(one: Mapping[str, Any]) -> Host:
    """:raises ValueError: there is something else in it"""
    for name, chain in one['chains'].items():
        if not chain or not isinstance(chain, list) or '\n' in _text(chain):
            raise ValueError(f'chain {name}')
    _text([*one['why'].values(), one['machine_id']])
    return Host(one['machine_id'], one['chains'], one['why'])


def _text(words: Iterable[Any]) -> str:
    """:raises TypeError: one of them is no text"""
    return ' '.join(words)
