"""What the adapter's expression tokens tell, beside the features they are made of.

`python benchmarks/token_probe.py` writes `benchmarks/results/token_probe.json`: linear classifiers of
expression, identity and style on patch features and on tokens, on people that no training has drawn
(EmojiDiff's probe on RAF-DB). Give --adapter several times to set adapters side by side.
"""

import argparse
import json
from pathlib import Path

import torch
from record import RESULTS, record

from emoji_adapter.checkpoints.format import load_adapter
from emoji_adapter.encoders.blendshapes import BlendshapeTeacher
from emoji_adapter.encoders.expression import ExpressionEncoder
from emoji_adapter.faces.crop import ExpressionCrop
from emoji_adapter.microworld.probes import token_probes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapter", action="append", help="micro, a folder or a file; may be repeated")
    parser.add_argument("--seed", type=int, default=300)
    parser.add_argument("--size", type=int, default=64, help="side of the pictures in pixels")
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    figures = {"seed": options.seed, "size": options.size, "count": options.count, "adapters": {}}
    for name in options.adapter or ["micro"]:
        adapter = load_adapter(name).to(options.device)
        crop = ExpressionCrop.from_dict(adapter.config["expression_crop"])
        encoder = ExpressionEncoder.from_pretrained(adapter.config["expression_encoder"], crop=crop)
        teacher = adapter.config["expression_teacher"]
        encoder.teacher = None if teacher is None else BlendshapeTeacher(teacher)
        figures["adapters"][name] = token_probes(
            encoder.to(options.device), adapter, options.seed, size=options.size, count=options.count
        )
    print(json.dumps(figures, indent=1))
    print(record("token_probe", figures, options.out))


if __name__ == "__main__":
    main()
