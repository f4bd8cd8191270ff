"""`python -m dashboards`: write the committed files in `generated/` anew."""

from dashboards.provisioning import generate

for path in generate():
    print(path)
