"""The embedded pack's detector in the unmodified FaceAnalysis: `python benchmarks/detector.py`."""

import argparse
import json

from record import record

from emoji_adapter.config import packaged_part
from emoji_adapter.microworld.networks.detector_figures import detector_figures
from emoji_adapter.microworld.splits import pictures


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=300, help="pictures with one face")
    arguments = parser.parse_args()
    figures = detector_figures(
        packaged_part("faces"), pictures("test", arguments.count, arguments.seed), seed=arguments.seed
    )
    print(json.dumps(figures, indent=1))
    record("detector", figures)


if __name__ == "__main__":
    main()
