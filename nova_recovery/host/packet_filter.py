# SPDX-License-Identifier: Apache-2.0

"""The rules of the packet filter, in the form that restores them."""

from __future__ import annotations

from collections.abc import Sequence
import difflib
import re

from nova_recovery.host import commands

#: What is asked; nft without counters, which change all the time.
TOOLS = {
    'iptables': ('iptables-save',),
    'ip6tables': ('ip6tables-save',),
    'ebtables': ('ebtables-save',),
    'nft': ('nft', '--stateless', 'list', 'ruleset'),
}

_COUNTERS = re.compile(r'(?<= )\[\d+:\d+\]')


def rules(tool: str) -> str:
    """All rules that one of the :data:`TOOLS` shows.

    Without comments, which have the time, and with all counters zero: two
    answers are the same text when the rules are the same.

    :raises HostError: it is not installed, or may not look
    """
    text = commands.run(TOOLS[tool])
    return '\n'.join(
        _COUNTERS.sub('[0:0]', line.rstrip())
        for line in text.splitlines()
        if line.strip() and not line.startswith('#')
    )


def difference(
    before: Sequence[str] | None, after: Sequence[str] | None
) -> list[str]:
    """What is another in a chain, ``- rule`` and ``+ rule``, in its order.

    :param before: its head and its rules; None: there is no such chain
    """
    told = difflib.unified_diff(_told(before), _told(after), n=0, lineterm='')
    # behind the two names, without the places
    lines = (line for line in list(told)[2:] if line[0] != '@')
    return [f'{line[0]} {line[1:]}' for line in lines]


def _told(chain: Sequence[str] | None) -> list[str]:
    if chain is None:
        return []
    head, *rules = chain
    policy = f'policy {head}' if head.isalpha() else head
    return [policy.strip('-') or 'the chain', *rules]
