"""The report in a real browser: right numbers, nothing from elsewhere, nothing that scripts in."""

import base64
import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from fabricated import learning, write_run

from rljax import statistics
from rljax.analysis import comparison, report
from rljax.analysis.report import markup
from rljax.cli import main

BROWSER = Path("/usr/bin/chromium")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium."""
    if not BROWSER.exists():
        pytest.skip(f"there is no {BROWSER}")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(browser):
    """Opens a file, and at the end has seen no error and no request but that of the file."""
    asked, wrong, contexts, own = [], [], [], []

    def opened(path, size="desktop", scheme="light"):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        own.append(path.as_uri())
        page.goto(own[-1])
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
    assert {url for url in asked if not url.startswith("data:")} == set(own)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two methods on two environments, of which one has a goal; five seeds each."""
    place = tmp_path_factory.mktemp("two")
    runs = {}
    for seed, (env, level) in enumerate((("CartPole-v1", 500), ("MountainCar-v0", 90))):
        for agent, share in (("ppo", 1.0), ("dqn", 0.8)):
            returns = learning(8, 5, level * share, seed)
            success = None if env == "CartPole-v1" else np.clip(returns / 100, 0, 1)
            runs[env, agent] = write_run(
                place / f"{env}-{agent}",
                returns,
                success=success,
                command=f"rljax train configs/{agent}.toml --num-seeds 5",
                env=env,
                agent=agent,
            )
    return runs


@pytest.fixture(scope="module")
def page_of_two(two, tmp_path_factory):
    out = tmp_path_factory.mktemp("two-out") / "report.html"
    report.write(comparison.compare(list(two.values())), out)
    return out


def point_at(page, chart, env_steps, last):
    """Move the pointer to a step, in the chart number `chart` whose x-axis ends at `last`."""
    plot = page.locator(".chart > svg").nth(chart)
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    left, right = 58, 24  # the margins of page.js
    x = left + env_steps / last * (box["width"] - left - right)
    plot.hover(position={"x": x, "y": box["height"] / 2})
    return page.locator(".tip").nth(chart)


def cells(tip):
    return [row.locator("td").all_inner_texts() for row in tip.locator("tr").all()]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pointer_reads_the_numbers_of_the_data(visit, page_of_two, two, size, scheme):
    page = visit(page_of_two, size, scheme)
    tip = point_at(page, 0, 6000, 8000)
    assert tip.is_visible() and "6,000 environment steps" in tip.inner_text()
    group = comparison.compare([two["CartPole-v1", "ppo"]]).groups[0]
    scores = group.returns[5][:, None]
    low, high = statistics.interval(statistics.mean, scores)
    name, value, interval, seeds = cells(tip)[0]
    assert (name, seeds) == ("ppo", "mean of 5 seeds")
    assert float(value) == pytest.approx(scores.mean(), rel=1e-3)
    assert [float(bound) for bound in interval.split(" to ")] == pytest.approx(
        [low, high], rel=1e-3
    )
    assert [row[0] for row in cells(tip)] == ["ppo", "dqn"]
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) > 384) == (scheme == "light")


@pytest.mark.parametrize("size", SIZES)
def test_no_page_is_wider_than_its_window(visit, page_of_two, size):
    page = visit(page_of_two, size)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


def test_a_method_switched_off_leaves_the_charts(visit, page_of_two):
    page = visit(page_of_two)
    curves = page.locator(".chart").first.locator("path.line")
    assert curves.count() == 2
    button = page.get_by_role("button", name="ppo, 5 seeds")
    button.click()
    assert curves.count() == 1 and button.get_attribute("aria-pressed") == "false"
    tip = point_at(page, 0, 8000, 8000)
    assert [row[0] for row in cells(tip)] == ["dqn"]
    assert tip.inner_text().count("seed ") == 5  # of one method alone, each seed
    page.get_by_label("each seed").check()
    assert page.locator(".chart").first.locator("path").count() == 1 + 1 + 5


def test_keys_read_what_the_pointer_does(visit, page_of_two):
    page = visit(page_of_two)
    page.locator(".chart > svg").first.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    tip = page.locator(".tip").first
    assert "2,000 environment steps" in tip.inner_text()
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_the_page_has_the_tables_of_a_paper(visit, page_of_two, two):
    page = visit(page_of_two)
    assert page.title() == "ppo and dqn on CartPole-v1 and MountainCar-v0"
    results = page.locator("#results table")
    rows = [row.inner_text().split("\t") for row in results.locator("tbody tr").all()]
    assert [row[0].strip() for row in rows] == ["CartPole-v1", "ppo", "dqn"] + [
        "MountainCar-v0",
        "ppo",
        "dqn",
    ]
    group = comparison.compare([two["MountainCar-v0", "dqn"]]).groups[0]
    said = dict(zip(results.locator("thead th").all_inner_texts(), rows[5], strict=True))
    last = group.returns[-1]
    assert said["seeds"] == "5" and said["episodes"] == "320"
    assert float(said["IQM"]) == pytest.approx(
        statistics.interquartile_mean(last[:, None]), rel=1e-3
    )
    assert float(said["mean"]) == pytest.approx(last.mean(), rel=1e-3)
    assert said["success"] == f"{group.success[-1].mean():.1%}"
    assert rows[1][list(said).index("success")] == "–"

    improvement = page.locator("#comparison table tbody tr").inner_text().split("\t")
    scores = comparison.compare(list(two.values())).scores()
    chance = statistics.probability_of_improvement(scores["ppo"], scores["dqn"])
    assert improvement[0].strip() == "ppo over dqn" and float(improvement[1]) == round(chance, 2)

    differing = page.locator("#settings table").first
    marked = differing.locator("td.differs")
    assert marked.count() > 5
    assert "dqn" in marked.first.inner_text()
    assert "structure.num_epochs" in differing.inner_text()
    assert "rljax train configs/dqn.toml --num-seeds 5" in page.locator("#commands").inner_text()
    assert "2 cores" in page.locator("#speed").inner_text()


HOSTILE = """<script>alert(1)</script><img src=x onerror=alert(2)>"'&</style>${title}"""


def test_what_files_say_is_text_and_never_markup(visit, tmp_path):
    place = tmp_path / "<img src=x onerror=alert(3)>"
    runs = [
        write_run(place / "a", learning(3, 2), command=HOSTILE),
        write_run(place / "b", learning(3, 2), agent="a2c", command="</pre>" + HOSTILE),
        write_run(place / "c", np.zeros((0, 1))),
    ]
    system = {"devices": [HOSTILE], "cores": HOSTILE, "python": HOSTILE, "packages": {}}
    (runs[0].path / "system.json").write_text(json.dumps(system))
    compared = comparison.compare(runs)
    # No config has such a label, but what is embedded must not depend on that.
    group = compared.groups[0]
    named = type(group)(**{**vars(group), "label": "</script>" + HOSTILE})
    compared = type(compared)(compared.runs, (named, *compared.groups[1:]), compared.notes)
    report.write(compared, tmp_path / "report.html")
    page = visit(tmp_path / "report.html")
    assert page.locator("script").count() == 2 and page.locator("img").count() == 0
    assert HOSTILE in page.locator("pre").first.inner_text()
    assert HOSTILE in page.locator("#speed").inner_text()
    assert "<img src=x onerror=alert(3)>" in page.locator("#notes").inner_text()
    tip = point_at(page, 0, 3000, 3000)
    assert any(row[0] == "</script>" + HOSTILE for row in cells(tip))


def test_the_policy_of_the_page_lets_no_other_script_run(browser, page_of_two, tmp_path):
    added = (
        "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"
    )
    (tmp_path / "p.html").write_text(page_of_two.read_text().replace("<main>", "<main>" + added))
    page = browser.new_page()
    page.goto((tmp_path / "p.html").as_uri())
    assert page.title().startswith("ppo and dqn")
    page.close()


def test_fifty_runs_of_a_thousand_points_open_within_a_second(visit, tmp_path):
    """By the processor's time, which does not depend on what else runs beside the test."""
    runs = [
        write_run(tmp_path / str(k), learning(1000, 1, 500, k), hparams__lr=1e-4 * (k + 1))
        for k in range(50)
    ]
    out = tmp_path / "report.html"
    report.write(comparison.compare(runs), out)
    assert out.stat().st_size < 5_000_000
    page = visit(out)
    assert page.locator(".chart").first.locator("path.line").count() == 50
    metrics = page.context.new_cdp_session(page)
    metrics.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.reload()
    spent = {m["name"]: m["value"] for m in metrics.send("Performance.getMetrics")["metrics"]}
    assert spent["TaskDuration"] < 1.0
    tip = point_at(page, 0, 500_000, 1_000_000)
    assert "and 42 more" in tip.inner_text() and len(cells(tip)) == 8
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["desktop"][0]


def test_fifty_seeds_of_one_method_are_one_curve(visit, tmp_path):
    runs = [write_run(tmp_path / str(k), learning(20, 1, 500, k), seed=k) for k in range(50)]
    report.write(comparison.compare(runs), tmp_path / "report.html")
    page = visit(tmp_path / "report.html", "phone")
    assert "50 seeds in 50 runs" in page.locator(".summary").inner_text()
    assert page.locator(".chart").first.locator("path.line").count() == 1
    assert "seeds 0-49" in page.locator("#settings").inner_text().replace("\t", " ")
    assert page.locator("#comparison").count() == 0


@pytest.mark.long
def test_a_real_run_is_reported_with_its_agent_at_play(visit, finished, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert main(["report", str(finished.path), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    page = visit(out)
    picture = page.locator("#films img")
    assert picture.evaluate("image => image.complete && image.naturalWidth") == 480
    gif = base64.b64decode(picture.get_attribute("src").partition(",")[2])
    assert gif.startswith(b"GIF89a")
    assert page.locator("#commands pre").inner_text().strip() == "rljax train"
    assert "2 seeds" in page.locator(".legend").inner_text()


@pytest.mark.long
def test_a_run_whose_checkpoints_are_damaged_is_reported_without_a_film(copy, tmp_path):
    for step in copy.checkpoints.iterdir():
        shutil.rmtree(step / "state")
    out = tmp_path / "report.html"
    assert main(["report", str(copy.path), "--out", str(out)]) == 0
    assert "CartPole-v1 cannot be shown" in out.read_text()


@pytest.mark.parametrize("where", ["/x/.venv/bin/rljax", "/x/rljax/__main__.py", "rljax"])
def test_a_command_does_not_say_where_rljax_was_installed(where, tmp_path):
    run = write_run(tmp_path / "a", learning(2, 1), command=f"{where} train /my/ppo.toml")
    assert run.read_command() == "rljax train /my/ppo.toml"


def test_a_run_begun_from_python_is_trained_again_from_its_config(tmp_path):
    run = write_run(tmp_path / "my run", learning(2, 1), command="")
    report.write(comparison.compare([run]), tmp_path / "r.html")
    said = html.unescape((tmp_path / "r.html").read_text())
    assert f"<pre>rljax train '{run.path}'/config.toml</pre>" in said


def test_methods_of_other_lengths_are_compared_where_the_shortest_ends(tmp_path):
    long = write_run(tmp_path / "a", learning(8, 2))
    short = write_run(tmp_path / "b", learning(3, 2), agent="a2c")
    report.write(comparison.compare([long, short]), tmp_path / "r.html")
    said = "the shortest one&#x27;s end counts: on CartPole-v1 at 3,000 environment steps."
    assert said in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("count", [1, 3, 5, 8])
def test_few_seeds_stand_for_themselves_and_many_have_an_interval(count, tmp_path):
    returns = learning(3, count)
    returns[-1, 0] = -20.0  # one fails
    compared = comparison.compare([write_run(tmp_path / "a", returns)])
    report.write(compared, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    [line] = json.loads(data)["charts"]["curve-0"]["lines"]
    statistic = statistics.interquartile_mean if count >= 8 else statistics.mean
    np.testing.assert_allclose(line["y"], statistic(returns[..., None]), rtol=1e-5)
    assert ("low" in line) == (count >= 5) and len(line.get("each", [])) == (count > 1) * count
    assert ("each-seed" in page.split("<script")[0]) == (count >= 5)
    results = re.search(r'<section id="results".*?</section>', page, re.S)[0]
    cells = re.findall(r"<td>(.*?)</td>", results)
    bold = [markup.number(float(f(returns[-1][:, None]))) for f in statistics.STATISTICS.values()]
    bold[count >= 8] = f"<strong>{bold[count >= 8]}</strong>"
    assert cells[:3] == [str(count), *bold] and cells[5] == "-20"
    said = {1: "–", 3: ", ".join(map(markup.number, sorted(returns[-1])))}
    assert cells[3] == said[count] if count in said else " to " in cells[3]
    assert cells[4].count("<s ") == (count if count < 5 else 0)
    assert cells[4].count("<i ") == (count >= 5)


def test_other_sections_can_stand_on_a_page(visit, tmp_path):
    trials = report.Section(
        "trials", "Trials", "All of them.", "<table><tr><td>1</td></tr></table>"
    )
    (tmp_path / "p.html").write_text(report.page("A sweep", "Of one trial.", [trials]))
    page = visit(tmp_path / "p.html")
    assert page.locator("#trials td").inner_text() == "1"


REFUSED = [
    (["{run}", "--out", "r.pdf"], 2, "--out must be a .html file"),
    (["{run}", "--out", "nowhere/r.html"], 1, "there is no directory nowhere"),
    (["nowhere", "--out", "r.html"], 1, "run nowhere does not exist"),
    (["{run}", "{damaged}", "--out", "r.html"], 1, "metrics.jsonl is damaged in line 1"),
    (["{empty}", "--out", "r.html"], 1, "has no evaluation yet"),
    (["--out", "r.html"], 2, "RUN..."),
]


@pytest.mark.parametrize(("arguments", "code", "said"), REFUSED, ids=lambda x: str(x)[:40])
def test_bad_input_is_one_line_and_writes_nothing(
    arguments, code, said, two, tmp_path, monkeypatch, capsys
):
    damaged, empty = (write_run(tmp_path / k, np.zeros((0, 1))) for k in ("damaged", "empty"))
    damaged.metrics.write_text("{\n")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    places = {"run": two["CartPole-v1", "ppo"], "damaged": damaged, "empty": empty}
    words = [word.format(**{k: v.path for k, v in places.items()}) for word in arguments]
    assert main(["report", *words]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("rljax: ") and said in captured.err
    assert list(here.iterdir()) == []


def test_a_file_that_cannot_be_written_is_said(two, tmp_path, capsys):
    (tmp_path / "r.html").mkdir()
    run = str(two["CartPole-v1", "ppo"].path)
    assert main(["report", run, "--out", str(tmp_path / "r.html")]) == 1
    assert "r.html cannot be written: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
