"""A table of scores as Markdown: `python benchmarks/markdown.py benchmarks/results/ablation.json`.

With `--into README.md` a short table goes between the lines `<!-- ablation -->` and `<!-- end -->` of it as
well.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from emoji_adapter.evaluation.table import Column, cell_text, columns_of, versus_lines

LEFT_OUT = ("ID ↑", "pose ↓")
"""Columns that a reader of the whole table can do without; the JSON has them."""

SHORT = (
    Column("ID position", ("id", "position"), ("id", "position_ci95")),
    Column("ExpN", ("exp", "normalised"), ("exp", "normalised_ci95")),
    Column("Leak", ("leak", "mean"), ("leak", "ci95")),
    Column("skin", ("skin_leak", "mean")),
    Column("style, off-style", ("by_template", "other style", "style", "mean")),
    Column("found", ("found", "mean")),
)
"""Columns of the short table."""
BEGIN, END = "<!-- ablation -->\n", "<!-- end -->\n"


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


def short(result: dict[str, Any]) -> str:
    """The few columns that tell what a part of the method buys."""
    head = ["", *(column.title for column in SHORT)]
    lines = [[row["name"], *(cell_text(row, column, 2) for column in SHORT)] for row in result["rows"]]
    return _table(head, lines) + "\n"


def with_block(text: str, block: str) -> str:
    """A text whose marked place holds `block` instead of what it held.

    Raises:
        ValueError: the place is not marked.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(
            f"There is no {BEGIN.strip()} ... {END.strip()} in the text. Put both lines where the table goes."
        )
    return before + begin + block + end + after


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scores", type=Path, help="what `emoji-adapter evaluate --json` wrote")
    parser.add_argument("--into", type=Path, help="a text that shows the short table")
    options = parser.parse_args()
    result = json.loads(options.scores.read_text(encoding="utf-8"))
    options.scores.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    if options.into:
        text = with_block(options.into.read_text(encoding="utf-8"), short(result))
        temporary = options.into.with_name(f".{options.into.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(options.into)


if __name__ == "__main__":
    main()
