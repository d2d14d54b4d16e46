"""``avalist backtest``: what would another threshold, policy or model have done?"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from avalist.app.backtest import backtest, changed, decide_again, threshold, was
from avalist.app.compared import Backtest
from avalist.app.past import Past, Period
from avalist.app.replan import replanned
from avalist.app.reread import read_past
from avalist.bootstrap import load_model, open_blobs
from avalist.cli.options import Data, Merchant, console, progress_bar
from avalist.cli.reading import open_reading
from avalist.cli.replayed import replayed
from avalist.config import Settings, settings_from
from avalist.domain.decisions import Action
from avalist.domain.errors import BadInput
from avalist.domain.events import from_ms
from avalist.features.own import decode_own
from avalist.models.artefact import Artefact
from avalist.policy.economics import Policy, decode_policy
from avalist.render import backtest_page, html_page, markdown_page
from avalist.render.backtest import caveats, figures, headline

_COLUMNS = (
    "payment_id", "received_at", "amount_base_minor", "before", "after", "p_fraud_before", "p_fraud_after", "captured",
    "fraud_reported",
)  # fmt: skip


def backtest_command(
    merchant: Merchant,
    threshold: Annotated[
        float | None, typer.Option(help="Approve up to this probability of fraud, whatever the amount")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Decide by this policy (JSON)")] = None,
    model: Annotated[str | None, typer.Option(help="Score by the model of this version")] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Add these features (TOML) to the plan, and train with and without"
        ),
    ] = None,
    begin: Annotated[
        dt.datetime | None, typer.Option("--from", help="Leave out what arrived earlier (UTC) [default: all]")
    ] = None,
    end: Annotated[
        dt.datetime | None, typer.Option("--to", help="Leave out what arrived then or later (UTC) [default: all]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the report [default: <merchant>-backtest]")] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Say on the report that the payments are simulated")
    ] = False,
    data: Data = None,
) -> None:
    """Decide a period's payments again by another threshold, policy, model or plan, and compare with what was done.

    With --features two models are trained on what was known when the period began, and compared with each other.

    Writes a report (HTML, Markdown, JSON) and changes.csv, the payments that would be decided otherwise. It only reads:
    a service may run meanwhile, and nothing that it does changes.
    """
    candidate = _policy(threshold, policy)
    _check(candidate, model, features)
    settings = settings_from(data=data)
    past, scorer = _read(settings, merchant, Period(_ms(begin, 0), _ms(end, Period().to_ms)), model)
    words = _asked(threshold, policy, scorer if model else None, features)
    if features is not None:
        (past, after), scorer = _replan(settings, merchant, past, features, candidate), None
    else:
        after = decide_again(past, candidate)
    made = backtest(
        past,
        after,
        merchant,
        " and ".join(words),
        policy=candidate if policy else None,
        model=scorer.version if scorer else "",
        learnt_ms=scorer.data.last_ms if scorer else 0,
        delay=load_model(open_blobs(settings), merchant, past.model).artefact.delay if past.model else None,
    )
    _write(msgspec.structs.replace(made, simulated=simulated), past, after, out or Path(f"{merchant}-backtest"))


def _check(policy: Policy | None, model: str | None, features: Path | None) -> None:
    """Raise ``BadInput`` where nothing is to be tried, or what does not go together."""
    if features is not None and model is not None:
        raise BadInput("a model has a plan of its own", field="options", expected="--model or --features", got="both")
    if policy is None and model is None and features is None:
        raise BadInput(
            "say what to try: --threshold, --policy, --model or --features",
            field="options",
            expected="one of them at least",
            got="none",
        )


def _policy(level: float | None, file: Path | None) -> Policy | None:
    if level is not None and file is not None:
        raise BadInput(
            "a threshold is a policy of its own", field="options", expected="--threshold or --policy", got="both"
        )
    if level is not None:
        return threshold(level)
    return decode_policy(file.read_bytes()) if file is not None else None


def _replan(
    settings: Settings, merchant: str, past: Past, features: Path, policy: Policy | None
) -> tuple[Past, list[Action]]:
    """Replay under the changed plan, train, and decide the period by both models."""
    own = decode_own(features.read_text(encoding="utf-8"))
    if any(one.aggregate == "retired" for one in own):
        expected = "features that are added; 'avalist features patterns' judges what may go"
        raise BadInput("a backtest tries more columns, not fewer", field="--features", expected=expected, got="retired")
    data = replayed(settings, merchant, own=own)
    with console.status("training with and without"):
        made = replanned(data, len(own), past, policy)
    console.print(f"both models learnt from {made.learnt_rows:,} payments, {made.learnt_frauds:,} of them fraud")
    return made.past, made.after


def _asked(level: float | None, file: Path | None, model: Artefact | None, features: Path | None) -> list[str]:
    """Return what is tried, in words."""
    words = [f"the features of {features.name}, with the same training without them beside"] if features else []
    words += [f"a threshold of {level:g}"] if level is not None else [f"the policy {file.name}"] if file else []
    return [*words, *([f"the model {model.version}"] if model else [])]


def _ms(at: dt.datetime | None, default: int) -> int:
    return default if at is None else round(at.replace(tzinfo=at.tzinfo or dt.UTC).timestamp() * 1000)


def _read(settings: Settings, merchant: str, period: Period, version: str | None) -> tuple[Past, Artefact | None]:
    """Read the period back; return it with the model that scored it, None where the logged probabilities stand."""
    blobs = open_blobs(settings)
    used: list[Artefact] = []

    def load(named: str) -> Artefact:
        used.append(load_model(blobs, merchant, named).artefact)
        return used[-1]

    with open_reading(settings, merchant) as archive, progress_bar("reading the log", archive.log_end) as bar:
        model = load(version) if version else None
        past = read_past(lambda: archive.read(merchant=merchant), merchant, period, model, load=load, progress=bar.at)
        bar.done(archive.log_end)
    return past, used[-1] if used else None


def _write(made: Backtest, past: Past, after: Sequence[Action], out: Path) -> None:
    """Write the report and the payments that change; print the figures that matter."""
    out.mkdir(parents=True, exist_ok=True)
    page = backtest_page(made)
    (out / "backtest.html").write_text(html_page(page), encoding="utf-8")
    (out / "backtest.md").write_text(markdown_page(page), encoding="utf-8")
    (out / "backtest.json").write_bytes(msgspec.json.format(msgspec.json.encode(made)))
    _write_changes(past, after, out / "changes.csv")
    console.print(escape(headline(made)), soft_wrap=True, highlight=False)
    table = Table(show_header=False)
    for figure in figures(made):
        table.add_row(figure.label, f"[bold]{figure.value}[/]", figure.detail)
    console.print(table)
    for caveat in caveats(made):
        console.print(f"[yellow]{escape(caveat)}[/]", soft_wrap=True, highlight=False)
    console.print(
        f"the report: [bold]{escape(str(out / 'backtest.html'))}[/], also backtest.md, backtest.json", soft_wrap=True
    )
    console.print(f"the payments that change: [bold]{escape(str(out / 'changes.csv'))}[/]", soft_wrap=True)


def _write_changes(past: Past, after: Sequence[Action], file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(_COLUMNS)
        for n in changed(past, after):
            seen = past.payments[n]
            logged = "" if seen.p_fraud != seen.p_fraud else seen.p_fraud
            rows.writerow(
                (
                    _plain(seen.core.payment_id),
                    from_ms(int(past.t_ms[n])).isoformat(),
                    int(past.amount_minor[n]),
                    was(past, n),
                    after[n].value,
                    logged,
                    float(past.p[n]),
                    int(past.captured[n]),
                    int(past.fraud[n]),
                )
            )


def _plain(text: str) -> str:
    """Return a text that a spreadsheet does not take for a formula.

    >>> _plain("=1+1"), _plain("order-1")
    ("'=1+1", 'order-1')
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
