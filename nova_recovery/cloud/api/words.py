# SPDX-License-Identifier: Apache-2.0

"""What went wrong with a request, for whoever has to mend it.

keystoneauth, requests and urllib3 each wrap the words of the one below, and
none says what to do. Here it is one line: what is wrong where, and what next.
What a service itself says of a request (4xx) stays: nobody knows it better.
"""

from __future__ import annotations

import json
import re
from typing import Any
import urllib.parse

from keystoneauth1 import exceptions as ksa_exceptions

from nova_recovery.cloud import secrets

KEYSTONE = 'Keystone'

#: The ports that the projects document (``doc/source/install`` of each).
_BY_PORT = {
    5000: KEYSTONE,
    35357: KEYSTONE,
    8774: 'nova-api',
    8776: 'cinder-api',
    8778: 'placement-api',
    9292: 'glance-api',
    9696: 'neutron-server',
}
_URL = re.compile(r'https?://[^\s\'",;)]+')

#: No answer came: what one of these stands in -> what is so, and what next.
_SILENT = (
    (
        'CERTIFICATE_VERIFY|certificate|SSL|TLS',
        'TLS with {place} failed: give the file of its authority '
        '(--os-cacert), or look at its certificate',
    ),
    ('refused', 'nothing listens at {place}: start {service} there'),
    (
        'resol|not known|No address|nodename',
        'the name in {place} can not be resolved: look at the endpoint in '
        'the catalogue, and at DNS',
    ),
    (
        'unreachable|No route',
        '{place} can not be reached from here: look at the network',
    ),
    (
        'closed|aborted|reset|Broken pipe|end of file',
        '{place} broke the connection off: look at the log of {service}',
    ),
    (
        'timed? ?out|[Tt]imeout',
        'no answer in time from {place}: look at the load and the log of '
        '{service}',
    ),
)

_OTHER = '{place} answers, but not as {service} does: is the URL right?'


def plain(error: BaseException, service: str = '') -> str:
    """One line without secrets: what is wrong, and what to do.

    :param service: what answers such requests, such as ``nova-api``
    """
    text = secrets.mask_text(' '.join(str(error).split()))
    place = _place(text)
    if place:
        service = service or _BY_PORT.get(_port(place), '')
    if _of_login(error, text):
        service = KEYSTONE
    names = {
        'place': place or f'the endpoint of {service or "the API"}',
        'service': service or 'what serves it',
    }
    for judge in (_credentials, _missing, _file, _silent, _broken):
        told = judge(error, text)
        if told:
            return told.format(**names)
    return text or type(error).__name__


def code_of(error: BaseException) -> int | None:
    """The HTTP status of an answer; None where none came."""
    for name in ('http_status', 'status_code', 'code'):
        value: Any = getattr(error, name, None)
        if isinstance(value, int):
            return value
    return None


def is_silent(error: BaseException) -> bool:
    """Whether what serves an API may be down: it refuses, or says nothing.

    Not so where the way there, a name or TLS is wrong.
    """
    text = ' '.join(str(error).split())
    if isinstance(error, ksa_exceptions.CatalogException) or _file(
        error, text
    ):
        return False
    told = _silent(error, text)
    return '{service}' in told and told != _OTHER


def _credentials(error: BaseException, text: str) -> str:
    """Who asks isn't known, or may not."""
    if isinstance(
        error,
        (
            ksa_exceptions.MissingRequiredOptions,
            ksa_exceptions.MissingAuthPlugin,
            ksa_exceptions.NoMatchingPlugin,
        ),
    ) or (
        code_of(error) is None
        and re.search('Missing value|Cloud .* was not found', text)
    ):
        return (
            'credentials are missing: give --os-cloud with a name that '
            'clouds.yaml has, or set the OS_* variables (openrc)'
        )
    if code_of(error) == 401 or '(HTTP 401)' in text:
        return (
            'Keystone refuses these credentials (HTTP 401): look at user, '
            'password, domain and project in clouds.yaml or OS_*'
        )
    return ''


def _missing(error: BaseException, text: str) -> str:
    if isinstance(error, ksa_exceptions.CatalogException):
        return (
            'the catalogue has no endpoint of {service} for this region and '
            'interface: openstack catalog list'
        )
    return ''


def _file(error: BaseException, text: str) -> str:
    """requests looks for the files of TLS before it asks."""
    found = re.search(r'invalid path: ([^\s\'")]+)', text)
    if not found or code_of(error):
        return ''
    path = found.group(1).replace('{', '{{').replace('}', '}}')
    return f'no such file: {path} (--os-cacert, --os-cert and --os-key)'


def _silent(error: BaseException, text: str) -> str:
    """No answer came, or none that says anything."""
    if code_of(error):
        return ''
    if 'does not have any supported versions' in text:
        # openstacksdk/service_description.py, which has asked it for them
        return (
            '{place} tells no versions: start {service}, or look at the '
            'endpoint in the catalogue'
        )
    if not isinstance(
        error,
        (
            ksa_exceptions.ConnectionError,
            ksa_exceptions.DiscoveryFailure,
            OSError,  # those of requests, too
        ),
    ) and not _URL.search(text):
        return ''
    for words, told in _SILENT:
        if re.search(words, text):
            return told
    if isinstance(error, ksa_exceptions.DiscoveryFailure):
        return _OTHER
    if isinstance(error, ksa_exceptions.ConnectionError):
        return 'no connection to {place}: look at the log of {service}'
    return ''


def _broken(error: BaseException, text: str) -> str:
    """An answer came that is of no use."""
    if isinstance(error, json.JSONDecodeError):
        return (
            'the answer is no JSON: does {place} lead to {service}, and not '
            'to something else?'
        )
    code = code_of(error)
    if code and code >= 500:
        known = re.search(r'req-[0-9a-f-]{36}', text)
        where = f' ({known.group()})' if known else ''
        return f'HTTP {code}{where}: look at the log of {{service}}'
    return ''


def _of_login(error: BaseException, text: str) -> bool:
    return (
        '/auth/tokens' in text
        or 'identity' in text
        or isinstance(
            error,
            (
                ksa_exceptions.AuthPluginException,
                ksa_exceptions.AuthorizationFailure,
            ),
        )
    )


def _place(text: str) -> str:
    """``http://controller:8774``, without path, user and password."""
    found = _URL.search(text)
    if not found:
        return ''
    try:
        parts = urllib.parse.urlsplit(found.group().rstrip('.:'))
    except ValueError:
        return ''
    return f'{parts.scheme}://{parts.netloc.rpartition("@")[2]}'


def _port(place: str) -> int:
    try:
        return urllib.parse.urlsplit(place).port or 0
    except ValueError:
        return 0
