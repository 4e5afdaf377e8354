# SPDX-License-Identifier: Apache-2.0

"""The operator's inventory, as Ansible itself reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import subprocess  # nosec B404
from typing import Any

from nova_recovery.exceptions import ConfigError
from nova_recovery.fleet.ansible import words as ansible_words
from nova_recovery.fleet.hosts import Inventory, Known, PATIENCE

#: Groups that are always there, though the list may leave them out.
_ALWAYS = frozenset({'all', 'ungrouped', '_meta'})


def read(
    words: list[str],
    directory: str | None,
    environment: Mapping[str, str],
    places: Sequence[str] = (),
    seconds: float = PATIENCE,
) -> Inventory:
    """The hosts and groups.

    Variables may hold passwords: only our own two are kept.

    :param words: ansible-inventory and what it is told
    :param places: what ``[fleet] inventory`` names
    :param seconds: that it may take
    :raises ConfigError: it can't be read
    """
    try:
        done = subprocess.run(  # nosec B603
            [*words, '--list'],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=directory,
            env=dict(environment),
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f'ansible-inventory did not end within {seconds:g} s; is a script '
            f'in it that waits? By hand: {ansible_words.by_hand(words)}'
        ) from None
    except OSError as error:
        raise ConfigError(
            f'{words[0]} can not be run: {error.strerror}; [fleet] '
            'ansible_playbook says where Ansible is'
        ) from error
    if done.returncode:
        said = done.stderr.decode(errors='replace')
        raise ConfigError(ansible_words.unreadable(said, words))
    try:
        found = parse(json.loads(done.stdout))
    except ValueError as error:
        raise ConfigError(
            'ansible-inventory does not print the JSON that it should; by '
            f'hand: {ansible_words.by_hand(words)}'
        ) from error
    if not found.hosts:
        raise ConfigError(ansible_words.no_hosts(places, words))
    return found


def parse(listed: Mapping[str, Any]) -> Inventory:
    """Hosts and groups out of what ``ansible-inventory --list`` prints."""
    variables = listed.get('_meta', {}).get('hostvars', {})
    names = set(variables)
    groups = set(_ALWAYS)
    for name, group in listed.items():
        if name == '_meta':
            continue
        groups.add(name)
        groups.update(group.get('children', ()))
        names.update(group.get('hosts', ()))
    return Inventory(
        {name: _known(name, variables.get(name, {})) for name in names},
        frozenset(groups),
    )


def _known(name: str, variables: Mapping[str, Any]) -> Known:
    host = variables.get('nova_recovery_host')
    overrides = variables.get('nova_recovery_set') or []
    if not isinstance(overrides, list) or not all(
        isinstance(text, str) for text in overrides
    ):
        raise ConfigError(
            f'{name}: nova_recovery_set in the inventory is a list of '
            f'KEY=VALUE'
        )
    return Known(None if host is None else str(host), tuple(overrides))
