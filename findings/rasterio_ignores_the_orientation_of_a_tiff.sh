#!/usr/bin/env bash
# rasterio 1.4.4 (its wheel's GDAL): a TIFF's orientation tag is neither applied nor shown.
#
# A TIFF of 3 × 2 pixels with Orientation 6 (TIFF 6.0, section 8: the first row is the right side of the picture) is
# turned by viewers and by Pillow's `exif_transpose`, to 2 × 3. rasterio reads the stored rows, and the tag is in none of
# the namespaces that `tags` gives, so that a program cannot turn them itself without another library. GDAL's plain
# metadata shows other baseline tags, such as the resolution and the name of the software.
#
# Expected of a good engineer: upright pixels, or the tag.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rasterio==1.4.4 pillow==12.3.0 numpy==2.2.6
cat > "$folder/look.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import rasterio
from PIL import Image, ImageOps

warnings.simplefilter("ignore")
path, pixels = sys.argv[1], np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
Image.fromarray(pixels).save(path, tiffinfo={274: 6, 305: "a camera"})
upright = np.array(ImageOps.exif_transpose(Image.open(path)))
with rasterio.open(path) as raster:
    read = np.moveaxis(raster.read(), 0, -1)
    tags = {**raster.tags(), **{key: value for name in raster.tag_namespaces() for key, value in raster.tags(ns=name).items()}}
has_orientation = any("orient" in key.lower() for key in tags)
print(upright.shape[:2], read.shape[:2], np.array_equal(read, pixels), tags.get("TIFFTAG_SOFTWARE"), has_orientation)
PYTHON
found=$("$folder/venv/bin/python" "$folder/look.py" "$folder/turned.tif")
echo "$found"
[ "$found" = "(3, 2) (2, 3) True a camera False" ]
echo "as described"
