"""A table of scores as Markdown: `python benchmarks/markdown.py benchmarks/results/ablation.json`."""

import json
import sys
from pathlib import Path
from typing import Any

from emoji_adapter.evaluation.table import cell_text, columns_of, versus_lines

LEFT_OUT = ("ID ↑", "pose ↓")
"""Columns that a reader of the whole table can do without; the JSON has them."""


def markdown(result: dict[str, Any]) -> str:
    """Scores, paired differences and missing rows.

    Args:
        result: what `emoji-adapter evaluate --json` writes.
    """
    rows, asked = result["rows"], result["protocol"]
    columns = [column for column in columns_of(rows) if column.title not in LEFT_OUT]
    head = ["", *(column.title for column in columns)]
    scores = [[row["name"], *(cell_text(row, column) for column in columns)] for row in rows]
    cells = f"{asked['identities']} people x {asked['expressions']} expressions x {asked['styles']} styles"
    title = (
        f"{rows[0]['n']} cells ({cells}, seed {asked['seed']}, {asked['steps']} steps), {asked['date'][:10]}"
    )
    parts = [title, _table(head, scores), "Differences, paired:", _table(*versus_lines(rows))]
    parts += [f"Missing: {row['name']} ({row['reason']})" for row in result["missing"]]
    return "\n\n".join(parts) + "\n"


def _table(head: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def main() -> None:
    for name in sys.argv[1:]:
        text = markdown(json.loads(Path(name).read_text(encoding="utf-8")))
        Path(name).with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
