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
"""Whether somebody else works on a server: gates of several procedures."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping

from nova_recovery.engine.plan import Gate


def gates(
    uuid: str, name: str, holders: Mapping[str, str], movers: Mapping[str, str]
) -> Iterator[Gate]:
    """Those that refuse, for one server.

    :param holders: server uuid -> the tag of whoever claimed it
    :param movers: server uuid -> the marker of the run that moves it
    """
    if uuid in holders:
        yield Gate(
            'unclaimed',
            name,
            'hard',
            'refused',
            f'claimed: {holders[uuid]}',
            'go on with that run: run resume',
        )
    if uuid in movers:
        yield Gate(
            'not-moved-now',
            name,
            'soft',
            'refused',
            f'its host is claimed: {movers[uuid]}',
            'that run may not have connected its volumes yet, and starts it '
            'when it has: go on with it (run resume)',
        )
