"""What to cite for released weights; the same as in `CITATION.cff`."""

from __future__ import annotations

CITATION = """```bibtex
@article{heidler2021soundingearth,
  title   = {Self-supervised Audiovisual Representation Learning for Remote Sensing Data},
  author  = {Heidler, Konrad and Mou, Lichao and Hu, Di and Jin, Pu and Li, Guangyao and Gan, Chuang and
             Wen, Ji-Rong and Zhu, Xiao Xiang},
  journal = {arXiv preprint arXiv:2108.00688},
  year    = {2021}
}

@software{earshot,
  title   = {Earshot},
  author  = {{The Earshot developers}},
  version = {0.1.0}
}
```"""
