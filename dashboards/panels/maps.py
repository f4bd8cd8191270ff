"""Maps: markers at their places on a blank ground; nothing is asked of the internet.

A utility's own ground (boundaries, pipes) is a file of GeoJSON in Grafana's folder: `GROUND`.
"""

from collections.abc import Mapping

from dashboards import Json, style
from dashboards.panels.core import column, panel, steps
from dashboards.vocabulary import Text

GROUND = "public/maps/ground.geojson"
"""Where a utility may put its own ground, in Grafana's folder; without it the ground stays blank."""

BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
"""A transparent tile: Grafana asks a server on the internet where a map has no ground of its own."""


def markers(words: Text, sql: str, shown: Mapping[str, Json], *, colour: str, size: str, label: str) -> Json:
    """A marker a row at its `latitude` and `longitude`, coloured by the mapping of a column, sized by another, beside a third.

    `shown`: the columns in the order in which a marker's details have them.
    """
    marker: Json = {
        "size": {"field": size, "fixed": 8, "min": 6, "max": 22},
        "color": {"field": colour, "fixed": "text"},
        "opacity": 0.75,
        "symbol": {"mode": "fixed", "fixed": "img/icons/marker/circle.svg"},
        "symbolAlign": {"horizontal": "center", "vertical": "center"},
        "rotation": {"mode": "mod", "fixed": 0, "min": -360, "max": 360},
        "text": {"mode": "field", "field": label, "fixed": ""},
        "textConfig": {"fontSize": 11, "textAlign": "center", "textBaseline": "top", "offsetX": 0, "offsetY": 10},
    }
    ground = {
        "type": "geojson",
        "name": "ground",
        "tooltip": False,
        "config": {
            "src": GROUND,
            "style": {
                "color": {"fixed": style.FORMER},
                "opacity": 0.15,
                "lineWidth": 1,
                "size": {"fixed": 3, "min": 2, "max": 15},
            },
            "rules": [],
        },
    }
    layer = {
        "type": "markers",
        "name": str(words.title),
        "tooltip": True,
        "location": {"mode": "coords", "latitude": "latitude", "longitude": "longitude"},
        "config": {"style": marker, "showLegend": False},
    }
    options: Json = {
        "view": {"id": "fit", "allLayers": True, "lat": 0, "lon": 0, "zoom": 15, "padding": 20, "shared": False},
        "basemap": {"type": "xyz", "name": "", "noRepeat": True, "config": {"url": BLANK, "attribution": ""}},
        "layers": [ground, layer],
        "controls": {
            "showZoom": True,
            "mouseWheelZoom": False,
            "showAttribution": False,
            "showScale": True,
            "showMeasure": True,
            "showDebug": False,
        },
        "tooltip": {"mode": "details"},
    }
    overrides = [column(name, sql, **properties) for name, properties in shown.items()]
    defaults: Json = {"color": {"mode": "thresholds"}, "thresholds": steps((None, style.FORMER))}
    return panel("geomap", words, sql, defaults=defaults, overrides=overrides, options=options)
