"""torch's own sample inputs, through our layers, as the tables of docs/torch_nn.md say."""

import re

import pytest
from fixtures import torch_samples

TEXT = torch_samples.DOCUMENT.read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+ \| [\d,]+ \| [\d,]+ \| [\d,]+) \|$", TEXT, re.MULTILINE))
LAYERS = sorted(ROWS.keys() - {"all"})


@pytest.fixture
def theirs():
    """torch's samples, which take seconds to import."""
    pytest.importorskip(
        "expecttest", reason="torch.testing's samples need expecttest: pip install expecttest"
    )


def counts(name):
    return [int(n.replace(",", "")) for n in ROWS[name].split(" | ")]


def test_nothing_is_wrong_and_nearly_all_is_equal():
    samples, equal, refused, wrong = counts("all")
    assert samples > 8000
    assert wrong == 0
    assert equal + refused == samples
    assert equal >= 0.95 * samples
    assert [sum(column) for column in zip(*map(counts, LAYERS), strict=True)] == counts("all")


@pytest.mark.parametrize("call", torch_samples.BESIDE)
def test_what_no_sample_asks_for_is_refused_by_the_line_in_the_document(call):
    line = torch_samples.refusal(call)
    assert f"| `{call}` | {line} | {torch_samples.reason(line)} |" in TEXT


@pytest.mark.slow
def test_every_counterpart_has_a_row(theirs):
    assert {*torch_samples.function_infos(), *torch_samples.module_infos()} == set(LAYERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_samples_are_equal_or_refused_as_the_document_says(name, theirs):
    row = torch_samples.rows_of(name)
    assert not row.wrong
    assert torch_samples.table_row(name, row) in TEXT
    for line in torch_samples.refused_rows(name, row):
        assert line in TEXT
