# SPDX-License-Identifier: Apache-2.0

"""Sphinx configuration of the documentation."""

extensions = [
    'cliff.sphinxext',
    'openstackdocstheme',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
]

project = 'nova-recovery'
copyright = 'OpenStack contributors'
root_doc = 'index'
pygments_style = 'native'

html_theme = 'openstackdocs'
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
