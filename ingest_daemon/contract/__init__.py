"""The base that other rooms may import, with `stores/`: names and units, site paths, settings, files, log."""
