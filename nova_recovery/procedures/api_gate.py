# SPDX-License-Identifier: Apache-2.0

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
