import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image
from rich.console import Console
from tests.evaluation import planted

from emoji_adapter.evaluation.comparison import assemble
from emoji_adapter.evaluation.grid import grid
from emoji_adapter.evaluation.report import matrix_sheet, report, sample_sheet
from emoji_adapter.evaluation.table import COLUMNS, cell_text, tables


@pytest.fixture(scope="module")
def result() -> dict:
    errors = {"exp": 0.0123, "by_style": {"noir": {"exp": 0.0234}}, "by_skin": {"dark": {"exp": 0.0345}}}
    return assemble(
        planted.judged(), {"adapter": "<b>mine</b>", "versions": {"torch": "2"}}, errors, draws=50
    )


def test_report_is_one_file_that_loads_nothing(result: dict) -> None:
    text = report(result, planted.judged())
    HTMLParser().feed(text)
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "&lt;b&gt;mine&lt;/b&gt;" in text
    assert "<b>mine" not in text


def test_report_shows_every_row_and_two_pictures_a_style(result: dict) -> None:
    text = report(result, planted.judged())
    for row in result["rows"]:
        assert f"<td>{row['name']}</td>" in text
    pictures = re.findall(r"base64,([^\"]+)", text)
    assert len(pictures) == 4
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).width > 8 * 128


def test_sheets_spread_over_expressions() -> None:
    judged = planted.judged()
    assert sample_sheet(judged, "noir", count=4).height == 20 + 4 * 132 - 4
    sheet = matrix_sheet(judged, "noir")
    assert sheet.size == (8 - 8 + 4 * 132 - 4, 4 * 132 - 4)


def test_grid_places_pictures_and_leaves_gaps_white() -> None:
    red = Image.new("RGB", (20, 20), "red")
    sheet = grid([[red, None], [None, red]], tile=10)
    assert sheet.size == (24, 24)
    assert sheet.getpixel((5, 5)) == (255, 0, 0)
    assert sheet.getpixel((19, 5)) == (255, 255, 255)
    assert sheet.getpixel((19, 19)) == (255, 0, 0)


def test_tables_print_figures_and_judge_errors(result: dict) -> None:
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(tables(result))
    text = console.export_text()
    for part in ("emoji adapter", "0.800", "0.750", "0.012", "0.035", "Leak, identity 0"):
        assert part in text


def test_figures_that_were_not_measured_stay_empty(result: dict) -> None:
    oracle = next(row for row in result["rows"] if row["name"] == "oracle")
    skin = next(column for column in COLUMNS if column.path[0] == "skin_leak")
    assert cell_text(oracle, skin) == ""
