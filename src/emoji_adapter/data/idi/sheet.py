"""One HTML file: pass rates of all rounds, and what the last round kept and refused, with the reason."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from emoji_adapter.config import from_mapping
from emoji_adapter.data.archive import Member, read_json, read_samples
from emoji_adapter.data.idi.config import Thresholds
from emoji_adapter.data.idi.filters import reason_of
from emoji_adapter.data.idi.rates import RoundRates
from emoji_adapter.data.triplets import TripletRecord

SHOWN = 48
"""Triplets kept, and attempts refused, that are shown at most."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; color:
#222 } table { border-collapse: collapse; font-size: 13px } th, td { border-bottom: 1px solid #ddd; padding:
.3rem .6rem; text-align: right } th:first-child { text-align: left }
.sheet { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0; width: 276px; font-size: 12px } img { width: 90px; height: 90px; object-fit: cover }
figcaption { overflow-wrap: anywhere } .refused figcaption b { color: #a00 } svg text { font-size: 12px }
"""
_ORDER = ("identity", "template", "target")
_HUES = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7")


def report(
    rounds: Sequence[RoundRates], kept: Sequence[Path], refused: Sequence[Path], thresholds: Thresholds
) -> str:
    """Write the report.

    Args:
        rounds: pass rates of all rounds.
        kept: archives of the triplets of the last round.
        refused: archives of some attempts that it refused.
        thresholds: of the last round.

    Returns:
        HTML, self-contained.
    """
    parts = [
        "<h1>Cross-identity triplets</h1>",
        "<p>An attempt meets the filters in this order; rates are of the attempts that reach a filter.</p>",
        plot(rounds),
        _table(rounds),
        "<h2>Kept</h2><p>Identity photo, expression template, target.</p>",
        _sheet(kept, "kept", thresholds),
        "<h2>Refused</h2>",
        _sheet(refused, "refused", thresholds),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Cross-identity triplets</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def plot(rounds: Sequence[RoundRates], width: int = 720, height: int = 240) -> str:
    """Draw the pass rate of each filter, a group of bars a filter, a bar a round.

    Returns:
        SVG.
    """
    names = [rate.name for rate in rounds[0].filters] + ["kept"]
    group, floor = (width - 40) / len(names), height - 24
    bar = 0.8 * group / len(rounds)
    marks = [
        f'<text x="34" y="{floor - share * (floor - 16) + 4}" text-anchor="end">{share:.1f}</text>'
        f'<line x1="40" x2="{width}" y1="{floor - share * (floor - 16)}" y2="{floor - share * (floor - 16)}" '
        'stroke="#ddd"/>'
        for share in (0.0, 0.5, 1.0)
    ]
    for place, name in enumerate(names):
        left = 40 + place * group
        marks.append(f'<text x="{left + group / 2:.1f}" y="{height - 6}" text-anchor="middle">{name}</text>')
        for number, rates in enumerate(rounds):
            share = _share(rates, name)
            if share is not None:
                tall = share * (floor - 16)
                marks.append(
                    f'<rect x="{left + 0.1 * group + number * bar:.1f}" y="{floor - tall:.1f}" '
                    f'width="{0.9 * bar:.1f}" height="{tall:.1f}" fill="{_HUES[number % len(_HUES)]}">'
                    f"<title>round {rates.round}, {name}: {share:.3f}</title></rect>"
                )
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="Pass rate of each filter and round">{"".join(marks)}</svg>'
    )


def _share(rates: RoundRates, name: str) -> float | None:
    if name == "kept":
        return rates.kept / rates.attempts if rates.attempts else None
    return next(rate.rate for rate in rates.filters if rate.name == name)


def _table(rounds: Sequence[RoundRates]) -> str:
    head = ["round", "attempts", *(rate.name for rate in rounds[0].filters), "kept"]
    lines = [
        [
            str(rates.round),
            str(rates.attempts),
            *(f"{r.passed} of {r.reached}" for r in rates.filters),
            str(rates.kept),
        ]
        for rates in rounds
    ]
    rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in line) for line in lines]
    titles = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    return f"<table><tr>{titles}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _sheet(archives: Sequence[Path], kind: str, thresholds: Thresholds) -> str:
    """Some samples, by turns from all archives."""
    samples = [list(read_samples(archive)) for archive in archives]
    deepest = max(map(len, samples), default=0)
    turns = [shard[place] for place in range(deepest) for shard in samples if place < len(shard)]
    figures = "".join(_figure(sample, thresholds) for _, sample in turns[:SHOWN])
    return f'<div class="sheet {kind}">{figures or "<p>None.</p>"}</div>'


def _figure(sample: dict[str, Member], thresholds: Thresholds) -> str:
    record = from_mapping(TripletRecord, read_json(sample["json"]))
    measured = record.measured
    pictures = "".join(_picture(name, sample[f"{name}.png"]) for name in _ORDER if f"{name}.png" in sample)
    numbers = [
        f"{title} {value:.2f}"
        for title, value in (("ID", measured.identity), ("leak", measured.leak))
        if value is not None
    ]
    numbers += [
        f"{title} {value:.3f}"
        for title, value in (("expression", measured.expression), ("cycle", measured.cycle))
        if value is not None
    ]
    reason = "" if record.refused is None else reason_of(record.refused, measured, thresholds)
    bold = f"<b>{html.escape(record.refused)}</b> {html.escape(reason)}<br>" if record.refused else ""
    return (
        f"<figure>{pictures}<figcaption>{bold}{', '.join(numbers)}<br>"
        f"{html.escape(record.caption)}<br>{html.escape(record.id)}</figcaption></figure>"
    )


def _picture(name: str, member: Member) -> str:
    text = base64.b64encode(member.read()).decode()
    return f'<img alt="{name}" src="data:image/png;base64,{text}">'
