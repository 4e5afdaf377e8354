# SPDX-License-Identifier: Apache-2.0

"""Cell URLs, rendered as nova renders them."""

from __future__ import annotations

from nova_recovery.cloud.db import cells
from nova_recovery.exceptions import ConfigError
from tests.base import TestCase

BASE = 'mysql+pymysql://nova:p%40ss@db1.example.org:3307/nova_cell0?charset=u'


class TestRenderUrl(TestCase):
    def test_a_url_that_is_no_template(self) -> None:
        url = 'mysql+pymysql://nova:s@db2/nova'
        self.assertEqual(url, cells.render_url(url, BASE))

    def test_parts_keep_their_percent_encoding(self) -> None:
        self.assertEqual(
            'mysql+pymysql://nova:p%40ss@db1.example.org:3307/nova?charset=u',
            cells.render_url(
                '{scheme}://{username}:{password}@{hostname}:{port}/nova'
                '?{query}',
                BASE,
            ),
        )

    def test_the_path_has_no_slash(self) -> None:
        self.assertEqual(
            'x://h/nova_cell0', cells.render_url('x://h/{path}', BASE)
        )

    def test_a_port_that_is_not_there_is_none(self) -> None:
        self.assertEqual(
            'mysql://db1:None/nova',
            cells.render_url(
                'mysql://{hostname}:{port}/nova', 'mysql://u:p@db1/x'
            ),
        )

    def test_an_ipv6_address_loses_its_brackets(self) -> None:
        # so the template has them
        self.assertEqual(
            'mysql://[fd00::1]:3306/nova',
            cells.render_url(
                'mysql://[{hostname}]:{port}/nova',
                'mysql://u:p@[fd00::1]:3306/x',
            ),
        )

    def test_an_empty_query_is_empty(self) -> None:
        self.assertEqual(
            'mysql://db1/nova?',
            cells.render_url('mysql://db1/nova?{query}', 'mysql://db1/x'),
        )

    def test_doubled_braces_are_braces(self) -> None:
        self.assertEqual(
            'mysql://nova:a{b}@db1/nova',
            cells.render_url('mysql://nova:a{{b}}@{hostname}/nova', 'x://db1'),
        )

    def test_what_cannot_be_rendered_is_used_raw(self) -> None:
        for url in ('mysql://{host}/nova', 'mysql://{0}/x', 'mysql://a{b@c'):
            self.assertEqual(url, cells.render_url(url, BASE))

    def test_nothing_to_render_from(self) -> None:
        self.assertEqual(
            'mysql://{hostname}/x',
            cells.render_url('mysql://{hostname}/x', None),
        )

    def test_a_port_that_is_no_number(self) -> None:
        self.assertEqual(
            'mysql://{port}/x',
            cells.render_url('mysql://{port}/x', 'mysql://db1:port/x'),
        )


class TestListedCells(TestCase):
    def test_names_and_urls(self) -> None:
        (cell,) = cells.listed_cells(
            ['north = mysql+pymysql://nova:a=b@db1/nova?charset=utf8']
        )
        self.assertEqual('north', cell.name)
        self.assertEqual(
            'mysql+pymysql://nova:a=b@db1/nova?charset=utf8', cell.url
        )
        self.assertNotIn('a=b', repr(cell))

    def test_what_is_no_cell(self) -> None:
        for text in (
            'mysql+pymysql://nova:secret@db1/nova',
            'mysql+pymysql://nova:secret@db1/nova?charset=utf8',
            '=mysql://nova:secret@db1/nova',
            'north=secret',
        ):
            error = self.assertRaises(ConfigError, cells.listed_cells, [text])
            self.assertIn('number 1', str(error))
            self.assertNotIn('secret', str(error))

    def test_two_of_one_name(self) -> None:
        self.assertRaises(
            ConfigError, cells.listed_cells, ['a=mysql://h/d', 'a=mysql://h/e']
        )
