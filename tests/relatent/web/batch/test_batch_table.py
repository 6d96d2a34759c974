from pathlib import Path

import numpy as np

from relatent.web.batch.run import Row
from relatent.web.batch.table import CSV_HEADER, csv_rows, summary, table

ROWS = [
    Row(
        "me.jpg",
        "done",
        loss=0.1234,
        psnr=25.66,
        identity=0.4,
        faces=3,
        picture=np.zeros((32, 64, 3), np.uint8),
        folder=Path("/x/out/me"),
        finished=Path("/x/finished/me-edited.jpg"),
    ),
    Row("<img src=x onerror=y>.jpg", "failed", reason="no face in <script>"),
    Row("you.jpg", "working", step=3, total=300, loss=0.5),
]


def test_names_and_reasons_are_never_markup():
    text = table(ROWS)
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=y&gt;.jpg" in text
    assert "no face in &lt;script&gt;" in text


def test_a_row_says_how_it_went():
    text = table(ROWS)
    assert text.count("<tr>") == 4
    assert text.count("data:image/jpeg;base64,") == 1
    for words in ("✓ done", "✗ failed", "▸ working", "<td>3</td>", "<td>yes</td>"):
        assert words in text


def test_summary_counts():
    assert summary(ROWS) == "1 done, 1 failed, 1 working"
    assert summary([]) == "no photos yet"


def test_rows_for_a_spreadsheet():
    rows = csv_rows(ROWS)
    assert [len(row) for row in rows] == [len(CSV_HEADER)] * 3
    assert rows[0] == ("me.jpg", "done", 3, 0.1234, 25.66, 0.4, "me-edited.jpg", "me", "")
    assert rows[1][-1] == "no face in <script>"
