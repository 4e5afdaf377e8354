# SPDX-License-Identifier: Apache-2.0

"""Sphinx configuration of the documentation."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'ext'))

extensions = [
    'cliff.sphinxext',
    'codes',
    'commands',
    'openstackdocstheme',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
]

project = 'nova-recovery'
copyright = 'OpenStack contributors'
root_doc = 'index'
pygments_style = 'native'

html_theme = 'openstackdocs'
# read where there is no network: nothing is loaded from elsewhere, and the
# search is Sphinx's own
html_theme_options = {
    'analytics_tracking_code': '',
    'display_badge': False,
    'sidebar_search': True,
}
templates_path = ['_templates']
html_static_path = ['_static']
# a page is printed without what is around it
html_css_files = [('print.css', {'media': 'print'})]
openstackdocs_repo_name = 'openstack/nova-recovery'
openstackdocs_auto_name = False
openstackdocs_auto_version = False
version = ''
release = ''

autoprogram_cliff_application = 'openstack'

config_generator_config_file = '../../etc/nova-recovery/config-generator.conf'
sample_config_basename = '_static/nova-recovery'

# of the packages of distributions
man_pages = [
    (
        'man/nova-recovery',
        'nova-recovery',
        'recover OpenStack Compute from failed hosts and disasters',
        '',
        1,
    ),
    (
        'man/nova-recovery.conf',
        'nova-recovery.conf',
        'configuration of nova-recovery',
        '',
        5,
    ),
]
