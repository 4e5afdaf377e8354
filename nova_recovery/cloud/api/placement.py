# SPDX-License-Identifier: Apache-2.0

"""Placement: what a server holds, and where there is room.

Always through the API, never through its database: providers have
generations and capacity is checked there.
"""

from __future__ import annotations

from typing import Any

from nova_recovery.cloud.api import apis
from nova_recovery.exceptions import (
    ApiUnavailable,
    ChangeFailed,
    NotFound,
    OutcomeUnknown,
)

JSON = dict[str, Any]

#: What answers here.
_SERVICE = 'placement-api'
_reading, _sending = apis.by(_SERVICE)

#: nova itself writes allocations at 1.28 (consumer generations); Queens
#: has 1.17 and takes the form of 1.12 without them.
MODERN, QUEENS = '1.28', '1.17'


class Placement:
    """Placement, asked by an administrator, through openstacksdk."""

    def __init__(self, connection: Any, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._version: str | None = None

    def _microversion(self) -> str:
        if self._version is None:
            with _reading('placement'):
                data = self._connection.placement.get_endpoint_data()
            newest = data.max_microversion if data else None
            if not newest:
                # Not the oldest one: without generations, the allocation
                # of somebody else would be overwritten.
                raise ApiUnavailable(
                    'placement does not say which versions it speaks'
                )
            modern = tuple(newest) >= (1, 28)
            self._version = MODERN if modern else QUEENS
        return self._version

    def ping(self) -> str:
        """The microversion that is spoken, as proof that it answers."""
        version = self._microversion()
        # The version document needs no token; this needs an
        # administrator's.
        self._get('/resource_classes')
        return version

    def _get(self, path: str) -> JSON:
        with _reading(f'placement {path}'):
            answer = self._connection.placement.get(
                path, microversion=self._microversion(), timeout=self._timeout
            )
            if answer.status_code == 404:
                raise NotFound(f'placement has no {path}')
            _check(answer, path)
            return dict(answer.json())

    def allocations(self, consumer: str) -> JSON:
        """What a server holds.

        :returns: {'allocations': {provider uuid: {resource class: amount}},
            'project_id', 'user_id', 'consumer_generation'}; the last is
            None where placement has no consumer generations
        """
        body = self._get(f'/allocations/{consumer}')
        return {
            'allocations': {
                provider: dict(held['resources'])
                for provider, held in body['allocations'].items()
            },
            'project_id': body.get('project_id'),
            'user_id': body.get('user_id'),
            'consumer_generation': body.get('consumer_generation'),
        }

    def put_allocations(self, consumer: str, body: JSON) -> None:
        """Replace what a server holds; ``body`` as ``allocations`` gives it.

        {} as ``allocations`` in it: it holds nothing any more.

        :raises ChangeFailed: no capacity, or somebody was there first
        """
        payload: JSON = {
            'allocations': {
                provider: {'resources': resources}
                for provider, resources in body['allocations'].items()
            },
            'project_id': body['project_id'],
            'user_id': body['user_id'],
        }
        if self._microversion() == MODERN:
            payload['consumer_generation'] = body['consumer_generation']
        what = f'allocation of {consumer}'
        path = f'/allocations/{consumer}'
        how: JSON = {
            'microversion': self._microversion(),
            'timeout': self._timeout,
            **apis.SENT_ONCE,
        }
        with _sending(what):
            if not payload['allocations'] and self._microversion() == QUEENS:
                # its PUT takes no empty ones
                answer = self._connection.placement.delete(path, **how)
            else:
                answer = self._connection.placement.put(
                    path, json=payload, **how
                )
        if 400 <= answer.status_code < 500:
            raise ChangeFailed(f'{what}: {_errors(answer)}')
        if answer.status_code >= 500:
            raise OutcomeUnknown(f'{what}: {_errors(answer)}')

    def providers(self) -> dict[str, tuple[str, str]]:
        """All resource providers.

        :returns: provider -> (the root of its tree, its own name); a
            provider is its own root where placement has no trees (before
            1.14, so up to Queens' first)
        """
        body = self._get('/resource_providers')
        return {
            one['uuid']: (
                one.get('root_provider_uuid') or one['uuid'],
                one['name'],
            )
            for one in body['resource_providers']
        }

    def consumers(self, provider: str) -> list[str]:
        """Who has something allocated on a provider: servers, migrations."""
        path = f'/resource_providers/{provider}/allocations'
        return list(self._get(path)['allocations'])

    def inventories(self, provider: str) -> dict[str, JSON]:
        """What a provider has, by resource class.

        :raises NotFound: there is no such provider
        """
        body = self._get(f'/resource_providers/{provider}/inventories')
        return dict(body['inventories'])

    def free(self, provider: str) -> dict[str, int]:
        """Room on a provider, by resource class, as placement counts it.

        ``(total - reserved) * allocation_ratio - used``.
        """
        inventories = self.inventories(provider)
        used = self._get(f'/resource_providers/{provider}/usages')['usages']
        return {
            name: int(
                (one['total'] - one['reserved']) * one['allocation_ratio']
            )
            - used.get(name, 0)
            for name, one in inventories.items()
        }

    def candidates(self, resources: dict[str, int], limit: int) -> list[str]:
        """Providers that have room for these, best first as placement says.

        :returns: uuids of resource providers
        """
        wanted = ','.join(f'{k}:{v}' for k, v in sorted(resources.items()))
        body = self._get(
            f'/allocation_candidates?resources={wanted}&limit={limit}'
        )
        found: list[str] = []
        for request in body['allocation_requests']:
            for provider in request['allocations']:
                if provider not in found:
                    found.append(provider)
        return found


def _check(answer: Any, what: str) -> None:
    if answer.status_code >= 400:
        raise ApiUnavailable(f'placement {what}: {_errors(answer)}')


def _errors(answer: Any) -> str:
    if answer.status_code >= 500:
        return f'HTTP {answer.status_code}: look at the log of {_SERVICE}'
    try:
        errors = answer.json().get('errors') or []
    except ValueError:
        return f'HTTP {answer.status_code}'
    return '; '.join(
        ' '.join(str(e.get('detail', e.get('title', ''))).split())
        for e in errors
    )
