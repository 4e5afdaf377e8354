# SPDX-License-Identifier: Apache-2.0

"""Which name of the inventory is which compute host, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
import re

from nova_recovery import exceptions
from nova_recovery.exceptions import ConfigError, Refused

#: Seconds for an inventory; a script may ask a cloud for it.
PATIENCE = 120
#: Nothing that Ansible would read as a pattern: no : , * ! & ~ [ ] @
_EXACT = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.-]*')


@dataclasses.dataclass(frozen=True)
class Known:
    """What the inventory says of a host.

    :ivar nova_host: ``nova_recovery_host``, None where it says none
    :ivar overrides: ``nova_recovery_set``: the agent's ``--set``
    """

    nova_host: str | None = None
    overrides: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Inventory:
    """The hosts that can be reached.

    :ivar groups: names that stand for several hosts
    :ivar only: the one name that there is, whatever nova calls it
    """

    hosts: Mapping[str, Known]
    groups: frozenset[str] = frozenset()
    only: str | None = None


def pairs(texts: Iterable[str], path: str | None) -> dict[str, str]:
    """Nova host -> inventory name, from options and a file.

    :param texts: ``NOVA_HOST=INVENTORY_NAME``; they count before the file
    :raises ConfigError: one makes no sense, or a host has two names
    """
    found: dict[str, str] = {}
    for text in texts:
        host, equals, name = (part.strip() for part in text.partition('='))
        if not (host and equals and name):
            raise ConfigError(
                f'[fleet] host = {text}: NOVA_HOST=INVENTORY_NAME'
            )
        _add(found, host, name, '[fleet] host')
    return {**_file(path), **found} if path else found


def _file(path: str) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        with open(path, encoding='utf-8') as file:
            lines = file.read().splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f'[fleet] host_map: {path}: {exceptions.plainly(error)}'
        ) from error
    for number, line in enumerate(lines, 1):
        words = line.partition('#')[0].split()
        if not words:
            continue
        if len(words) != 2:
            raise ConfigError(
                f'{path}:{number}: NOVA_HOST INVENTORY_NAME, not "{line}"'
            )
        _add(found, words[0], words[1], f'{path}:{number}')
    return found


def _add(found: dict[str, str], host: str, name: str, where: str) -> None:
    if found.setdefault(host, name) != name:
        raise ConfigError(f'{where}: {host} is {found[host]} and {name}')


def name_of(host: str, mapped: Mapping[str, str], known: Inventory) -> str:
    """What the inventory calls a compute host.

    :param mapped: as :func:`pairs`
    :raises Refused: no name, several, or one that means several hosts
    """
    if known.only is not None:
        return known.only
    name = mapped.get(host)
    if name is None:
        named = [n for n, k in known.hosts.items() if k.nova_host == host]
        if len(named) > 1:
            raise Refused(
                f'{host}: nova_recovery_host of {", ".join(sorted(named))} '
                f'in the inventory; it can be but one of them'
            )
        name = named[0] if named else host
    _exact(host, name, known)
    said = known.hosts[name].nova_host
    if said not in (None, host):
        raise Refused(
            f'{host}: the inventory says that {name} is {said} '
            f'(nova_recovery_host)'
        )
    return name


def _exact(host: str, name: str, known: Inventory) -> None:
    if not _EXACT.fullmatch(name):
        raise Refused(
            f'{host}: "{name}" is a pattern to Ansible, not the name of one '
            f'host'
        )
    if name in known.groups:
        raise Refused(
            f'{host}: "{name}" is a group of the inventory, which stands for '
            f'all of its hosts'
        )
    if name not in known.hosts:
        near = ', '.join(exceptions.near(name, known.hosts))
        raise Refused(
            f'{host}: the inventory has no host "{name}"'
            + f' (but {near})' * bool(near)
            + '; if it is called otherwise there, say so with [fleet] host = '
            f'{host}=INVENTORY_NAME'
        )
