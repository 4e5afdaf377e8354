# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""The rules of the packet filter, in the form that restores them."""

from __future__ import annotations

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
