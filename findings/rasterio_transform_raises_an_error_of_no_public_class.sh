#!/usr/bin/env bash
# rasterio 1.4.4: transforming from a coordinate system without a place on Earth raises an error of no public class.
#
# `rasterio.warp.transform` from a local or engineering system (the grid of a building site, photogrammetry's "Local
# Coordinates") to EPSG:4326 raises `rasterio._err.CPLE_NotSupportedError`. That class is in a private module, and is
# neither a `RasterioError` nor a `CRSError`, a ValueError or an OSError, so that a program that catches all errors that
# `rasterio.errors` documents ends in a traceback on such a file.
#
# Expected of a good engineer: an error that `except RasterioError` catches.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rasterio==1.4.4 numpy==2.2.6
cat > "$folder/look.py" <<'PYTHON'
import inspect

import rasterio.errors
import rasterio.warp
from rasterio.crs import CRS

site_grid = CRS.from_wkt('LOCAL_CS["site grid",UNIT["metre",1]]')
public = tuple(kind for _, kind in inspect.getmembers(rasterio.errors, inspect.isclass) if issubclass(kind, Exception))
try:
    rasterio.warp.transform(site_grid, "EPSG:4326", [100.0], [200.0])
except public as error:
    print("public", type(error).__name__)
except Exception as error:
    kind = type(error)
    print(kind.__module__, kind.__name__, isinstance(error, ValueError | OSError))
PYTHON
found=$("$folder/venv/bin/python" "$folder/look.py")
echo "$found"
[ "$found" = "rasterio._err CPLE_NotSupportedError False" ]
echo "as described"
