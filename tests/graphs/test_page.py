"""The stepping page, as a reader goes through it."""

import json
import re
import shutil
import subprocess

import pytest

from deeprob.graphs import Graph, parse, parse_values
from deeprob.graphs.page import step_page, steps

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH; on Debian: apt-get install chromium"
)


def finished(expression, at, primitives=False, upstream=None):
    graph = Graph(parse(expression, primitives))
    graph.forward(**parse_values(at))
    graph.backward(upstream)
    return graph


@pytest.fixture
def neuron():
    return finished("sigmoid(w0*x0+w1*x1+w2)", "w0=2,x0=-1,w1=-3,x1=-2,w2=-3", primitives=True)


def test_there_is_one_step_a_gate_forward_and_one_backward(neuron):
    told = steps(neuron)
    assert [s["phase"] for s in told] == ["inputs", *["forward"] * 8, *["backward"] * 9, "result"]
    gates = [s["gate"] for s in told if s["gate"]]
    assert gates[8:] == gates[:8][::-1]


def test_each_backward_step_is_upstream_times_local(neuron):
    rows = {s["title"]: s["rows"] for s in steps(neuron) if s["rows"]}
    assert rows["Backward: 1/x"][0][1:] == ["1", "−0.53", "−0.53"]
    assert rows["Backward: exp"][0][1:] == ["−0.53", "0.37", "−0.20"]
    assert rows["Backward: ×"] == [["w0", "0.20", "−1", "−0.20"], ["x0", "0.20", "2", "0.39"]]


def test_the_last_step_shows_every_number_of_the_picture(neuron):
    shown = {key for step in steps(neuron) for key in step["show"]}
    page = step_page(neuron, "neuron")
    assert shown == set(re.findall(r'class="[vg]" id="(\w+)"', page))


def test_a_value_read_twice_says_that_its_gradients_add_up():
    graph = finished("s = x*y; s*s", "x=2,y=3")
    note = next(s["note"] for s in steps(graph) if s["title"] == "Backward: ×" and "twice" not in s["note"])
    assert any("read 2 times: upstream is the sum, 6 + 6" in s["note"] for s in steps(graph)), note


def test_a_matrix_product_names_the_transposes():
    graph = finished("x@w", "x=[[1,2],[3,4]],w=[[3],[4]]", upstream=[[1], [1]])
    rows = next(s["rows"] for s in steps(graph) if s["title"] == "Backward: @")
    assert [row[2] for row in rows] == ["@ (right input)ᵀ", "(left input)ᵀ @"]


def test_the_page_is_one_file_that_escapes_what_it_shows(neuron):
    page = step_page(neuron, "</script><script>alert(1)</script>")
    assert "<script>alert(1)" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


@needs_browser
def test_a_reader_steps_through_all_gates_by_keyboard(neuron, tmp_path):
    """Every step's words and visible numbers are what `steps` says; forward by →, and back by ←."""
    driver = """<script>
    const log = [];
    const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    const note = () => log.push({
      title: document.querySelector("#step h2").textContent,
      rows: [...document.querySelectorAll("#step tbody tr")].map(
        (r) => [...r.cells].map((c) => c.textContent)),
      visible: [...document.querySelectorAll("svg text.v, svg text.g")]
        .filter((t) => getComputedStyle(t).visibility === "visible").map((t) => t.id),
      now: [...document.querySelectorAll("svg .now")].map((g) => g.id), at: location.hash});
    note();
    for (let i = 0; i < 30; i++) { press("ArrowRight"); note(); }
    for (const key of ["ArrowLeft", "Home", "f", "End", " "]) { press(key); note(); }
    const out = document.createElement("pre"); out.id = "log"; out.textContent = JSON.stringify(log);
    document.body.append(out);
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(step_page(neuron, "neuron").replace("</body>", driver), encoding="utf-8")
    log, messages = visit(page)
    told = steps(neuron)
    last = len(told) - 1
    assert not messages
    for i, seen in enumerate(log[:31]):
        step = told[min(i, last)]
        visible = {key for s in told[: i + 1] for key in s["show"]}
        assert (seen["title"], seen["rows"]) == (step["title"], step["rows"])
        assert set(seen["visible"]) == visible
        assert seen["now"] == ([step["gate"]] if step["gate"] else [])
        assert seen["at"] == f"#step={min(i, last)}"
    titles = [seen["title"] for seen in log[31:]]
    assert titles == [
        told[last - 1]["title"],
        "The inputs",
        "Backward starts at the output",
        *[told[last]["title"]] * 2,
    ]


@needs_browser
def test_the_address_names_the_step(neuron, tmp_path):
    note = """<script>
    const out = document.createElement("pre"); out.id = "log";
    out.textContent = JSON.stringify([document.querySelector("#step h2").textContent]);
    document.body.append(out);
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(step_page(neuron, "neuron").replace("</body>", note), encoding="utf-8")
    log, messages = visit(page, "#step=12")
    assert not messages
    assert log == [steps(neuron)[12]["title"]]


def visit(page, address=""):
    """What the page's own script left in #log, and the browser's console lines."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    done = subprocess.run(
        [*command, f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", page.as_uri() + address],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="log">(.*?)</pre>', done.stdout, re.S)
    text = found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
    return json.loads(text), [line for line in done.stderr.splitlines() if "CONSOLE" in line]
