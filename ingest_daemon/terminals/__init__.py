"""The terminals of a site: registry file, directory by number and link, profiles."""
