"""`python -m dashboards`: write the committed files in `generated/`, and `docs/functions.md`, anew.

`python -m dashboards wall LANGUAGE URL`: make the wall's organisation in a Grafana that others started;
GRAFANA_ADMIN_PASSWORD and the variables of the committed data source are in the environment.
"""

import os
import sys
from pathlib import Path

from dashboards import functions
from dashboards.organisations import make_wall
from dashboards.provisioning import CONTAINER_POSTGRES, generate

match sys.argv[1:]:
    case []:
        for path in generate():
            print(path)
        page = Path(__file__).parent.parent / "docs" / "functions.md"
        page.write_text(functions.page(), encoding="utf-8")
        print(page)
    case ["wall", language, url]:
        postgres = {key: os.environ[variable.removeprefix("$")] for key, variable in CONTAINER_POSTGRES.items()}
        make_wall(url, os.environ["GRAFANA_ADMIN_PASSWORD"], postgres, language)
    case other:
        sys.exit(f"{' '.join(other)}: expected nothing, or: wall zh URL, wall en URL")
