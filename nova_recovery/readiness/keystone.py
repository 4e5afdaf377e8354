# SPDX-License-Identifier: Apache-2.0

"""Keystone issues tokens and knows them again."""

from __future__ import annotations

from collections.abc import Iterator

from nova_recovery import readiness
from nova_recovery.cloud.api import apis
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import ApiUnavailable, RecoveryError
from nova_recovery.readiness import bounded, Site

LAYER = 'keystone'


class Probe:
    """See :class:`nova_recovery.readiness.Probe`."""

    needs: tuple[str, ...] = ('database/*',)

    def rows(self, site: Site) -> Iterator[Finding]:
        state, observed = readiness.GO, 'a new token validates'
        try:
            validate(site)
        except RecoveryError as error:
            state, observed = readiness.NO_GO, bounded.words(error)
        yield Finding(
            LAYER,
            state,
            'tokens',
            observed,
            'a new token validates',
            ''
            if state == readiness.GO
            else 'systemctl restart apache2  # or whatever runs Keystone; '
            'then: openstack token issue',
        )


def validate(site: Site) -> None:
    """Have Keystone issue a token, and know it again.

    :raises RecoveryError: it does not
    """
    connection = site.apis().connection
    session = connection.session
    with apis.reading('keystone', 'Keystone'):
        # one that was got before says nothing about now
        issue = getattr(session.auth, 'get_auth_ref', None)
        token = (
            session.get_token() if issue is None else issue(session).auth_token
        )
        answer = connection.identity.get(
            '/auth/tokens',
            headers={'X-Subject-Token': token},
            raise_exc=False,
            timeout=readiness.PATIENCE,
        )
    if answer.status_code != 200:
        raise ApiUnavailable(
            f'keystone: a new token does not validate: HTTP '
            f'{answer.status_code}'
        )
