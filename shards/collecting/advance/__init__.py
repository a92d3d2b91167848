"""ADVANCE's building rules (Hu et al., ECCV 2020): scenes from geotagged recordings, images and OpenStreetMap."""
