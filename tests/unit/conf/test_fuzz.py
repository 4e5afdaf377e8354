# SPDX-License-Identifier: Apache-2.0

"""Configuration files that are broken are told about by their names."""

from __future__ import annotations

import pathlib

import fixtures
import hypothesis
from hypothesis import strategies

from nova_recovery import conf as conf_module
from nova_recovery.cloud import settings
from nova_recovery.exceptions import ConfigError
from tests.base import TestCase

_PIECES = strategies.sampled_from(
    '[DEFAULT]\n|[database]\n|[api_database]\n|[cells]\n|[fencing]\n|'
    '[journal]\n|[timeouts]\n|[oslo_messaging_rabbit]\n|connection = |'
    'transport_url = |my_ip = |host = |service_down_time = |ssl = |'
    'api = |settle = |driver = |control_host = |workers = |$|$$|$my_ip|'
    '${host}|$host|%(host)s|hunter2|hunter2$hunter2|\n|\n  |\n\n|x|=|:|'
    '[|]|#|"|1|-1|1e9|true|,|\0|\u20ac|\ufeff|\r'.split('|')
)


class FuzzTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = self.useFixture(fixtures.TempDir()).path
        self.path = pathlib.Path(folder, 'fuzzed.conf')

    @hypothesis.settings(
        max_examples=300, deadline=None, derandomize=True, database=None
    )
    @hypothesis.given(
        strategies.lists(_PIECES, max_size=16), strategies.binary(max_size=3)
    )
    def test_any_file(self, pieces: list[str], tail: bytes) -> None:
        self.path.write_bytes(''.join(pieces).encode() + tail)
        for read in (
            settings.read_nova, settings.read_cinder, conf_module.load
        ):  # fmt: skip
            try:
                read([str(self.path)])
            except ConfigError as error:
                self.assertIn('fuzzed.conf', str(error))
                self.assertNotIn('hunter2', str(error))

    def test_what_is_no_file(self) -> None:
        for path in ('a\0b', '/', '/nowhere', 'x' * 300):
            for read in (
                settings.read_nova, settings.read_cinder, conf_module.load
            ):  # fmt: skip
                self.assertRaises(ConfigError, read, [path])
