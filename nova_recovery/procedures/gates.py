# SPDX-License-Identifier: Apache-2.0

"""Gates that several procedures have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nova_recovery.engine.plan import Gate


def nobody_else(
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


def apis_reachable(
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
