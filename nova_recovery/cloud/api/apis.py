# SPDX-License-Identifier: Apache-2.0

"""What all API modules share: how answers become our errors.

Reads may be repeated, so a failure is ``ApiUnavailable``. What is sent to
change something may have been carried out although no answer came: then it
is ``OutcomeUnknown`` and the caller observes before it does anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import json

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import exceptions as sdk_exceptions

from nova_recovery.cloud.api import words
from nova_recovery.exceptions import (
    ApiUnavailable,
    ChangeFailed,
    NotFound,
    OutcomeUnknown,
    RecoveryError,
)

#: For what openstacksdk sends to change something: old ones repeat it after
#: a read time-out, newer ones where clouds.yaml says so. The answer to the
#: second one (409) would be taken for that to the first.
SENT_ONCE = {'connect_retries': 0, 'status_code_retries': 0}


@contextlib.contextmanager
def reading(what: str, service: str = '') -> Iterator[None]:
    """Translate the errors of a request that changes nothing.

    :param service: what answers it, such as ``nova-api``
    :raises NotFound: 404
    :raises ApiUnavailable: anything else, no answer included
    """
    try:
        yield
    except RecoveryError:
        raise
    except _answers() as error:
        told = f'{what}: {words.plain(error, service)}'
        if words.code_of(error) == 404:
            raise NotFound(told) from error
        raise ApiUnavailable(told) from error


@contextlib.contextmanager
def sending(what: str, service: str = '') -> Iterator[None]:
    """Translate the errors of a request that changes something.

    :param service: what answers it, such as ``nova-api``
    :raises ChangeFailed: a 4xx answer: it was not carried out
    :raises OutcomeUnknown: no answer, or a 5xx one
    """
    try:
        yield
    except RecoveryError:
        raise
    except _answers() as error:
        told = f'{what}: {words.plain(error, service)}'
        code = words.code_of(error)
        if (code is not None and 400 <= code < 500) or _never_left(error):
            raise ChangeFailed(told) from error
        raise OutcomeUnknown(told) from error


Sort = Callable[[str], contextlib.AbstractContextManager[None]]


def by(service: str) -> tuple[Sort, Sort]:
    """``reading`` and ``sending`` of what this service answers."""
    return (
        lambda what: reading(what, service),
        lambda what: sending(what, service),
    )


def _answers() -> tuple[type[Exception], ...]:
    # Each client has a family of its own; the heavy ones are imported by
    # the time that one of their calls can fail.
    import cinderclient.exceptions
    import novaclient.exceptions

    return (
        ksa_exceptions.ClientException,
        sdk_exceptions.SDKException,
        novaclient.exceptions.ClientException,
        novaclient.exceptions.UnsupportedVersion,
        novaclient.exceptions.UnsupportedAttribute,
        cinderclient.exceptions.ClientException,
        cinderclient.exceptions.UnsupportedVersion,
        # below keystoneauth: a file of TLS that is not there, no JSON
        OSError,
        json.JSONDecodeError,
    )


def _never_left(error: Exception) -> bool:
    """Whether the request can't have reached the API.

    A refused connection and a failed login come before the first byte. A
    ``ConnectTimeout`` of keystoneauth does not: it stands for read
    time-outs too.
    """
    if isinstance(error, ksa_exceptions.ConnectTimeout):
        return False
    return isinstance(
        error,
        (
            ksa_exceptions.AuthorizationFailure,
            ksa_exceptions.AuthPluginException,
            ksa_exceptions.CatalogException,
            ksa_exceptions.Unauthorized,
        ),
    ) or (
        isinstance(error, ksa_exceptions.ConnectFailure)
        and 'refused' in str(error).lower()
    )
