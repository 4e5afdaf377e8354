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

"""The gate of a plan that asks APIs: do they answer an administrator?"""

from __future__ import annotations

from collections.abc import Mapping

from nova_recovery.engine.plan import Gate


def reachable(
    versions: Mapping[str, str],
    unreachable: Mapping[str, str],
    remedy: str = '',
) -> Gate:
    """Whether all of them answered.

    :param versions: API -> its version
    :param unreachable: API -> why it can't be reached
    """
    if unreachable:
        return Gate(
            'apis-reachable',
            '',
            'hard',
            'unknown',
            '; '.join(f'{api}: {why}' for api, why in unreachable.items()),
            remedy,
        )
    return Gate(
        'apis-reachable',
        '',
        'hard',
        'ok',
        ', '.join(f'{api} {version}' for api, version in versions.items()),
    )
