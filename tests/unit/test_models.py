"""From a training set to a scored row: train, artefact, model."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from avalist.domain.errors import ArtefactInvalid, BadInput
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact, version_of
from avalist.models.score import Model, strongest
from avalist.models.train import Trained, TrainingSet, TrainParams, latest_good, sample, split, stages, train
from avalist.models.trees import F64

SMALL = TrainParams(trees=20, leaves=8, min_data_in_leaf=20, learning_rate=0.2)
N, WIDTH = 6000, 6


def truth(x: F64) -> F64:
    filled = np.nan_to_num(x)
    return np.asarray(1.0 / (1.0 + np.exp(4.0 - 2.0 * filled[:, 0] - np.isnan(x[:, 1]))), dtype=np.float64)


def dataset(seed: int = 0) -> TrainingSet:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, WIDTH)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    y = (rng.random(N) < truth(x.astype(np.float64))).astype(np.int64)
    t_ms = rng.permutation(np.arange(N) * DAY_MS // 50)
    return TrainingSet(x, tuple(f"column_{i}" for i in range(WIDTH)), "plan", y, t_ms, rng.integers(100, 9000, N))


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(dataset(), SMALL)


@pytest.fixture(scope="module")
def model(trained: Trained) -> Model:
    return Model(Artefact.from_bytes(trained.artefact.to_bytes(), "plan"))


# --- training ----------------------------------------------------------------------------------------------------


def test_training_learns_and_is_calibrated(trained: Trained) -> None:
    judged = trained.artefact.report
    assert judged is not None
    assert judged.roc_auc.value > 0.8
    assert judged.average_precision.value > 3 * judged.prevalence
    assert judged.observed_expected.low < 1.0 < judged.observed_expected.high


def test_equal_inputs_give_equal_bytes(trained: Trained) -> None:
    assert train(dataset(), SMALL).artefact.to_bytes() == trained.artefact.to_bytes()


def test_another_seed_gives_another_model(trained: Trained) -> None:
    other = train(dataset(), replace_params(seed=1))
    assert other.artefact.version != trained.artefact.version


def replace_params(**changes: float) -> TrainParams:
    return TrainParams(trees=20, leaves=8, min_data_in_leaf=20, learning_rate=0.2, **changes)  # type: ignore[arg-type]


def test_calibration_takes_whole_days_of_the_later_half_and_the_test_comes_last(trained: Trained) -> None:
    t_ms = dataset().t_ms
    first, second, third = split(t_ms, TrainParams())
    assert not np.isin(t_ms[second] // DAY_MS, t_ms[first] // DAY_MS).any()
    assert t_ms[second].min() >= np.median(t_ms[np.concatenate((first, second))])
    assert len(second) == pytest.approx(0.15 * (len(first) + len(second)), rel=0.15)
    assert max(t_ms[first].max(), t_ms[second].max()) <= t_ms[third].min()
    assert len(trained.training) + len(trained.calibration) + len(trained.test) == N


@pytest.mark.parametrize("span_ms", [3_600_000, DAY_MS, 9 * DAY_MS])
def test_a_short_history_has_calibration_rows_too(span_ms: int) -> None:
    first, second, _ = split(np.arange(5000) * span_ms // 5000, TrainParams())
    assert 0.1 < len(second) / (len(first) + len(second)) < 0.25


def test_soft_targets_undo_the_label_delay() -> None:
    full = dataset()
    age_d = (full.t_ms.max() - full.t_ms) / DAY_MS
    reported = 1.0 - np.exp(-age_d / 20.0)
    seen = full.y * (np.random.default_rng(2).random(N) < reported)
    scored = [
        train(replace(full, y=seen, report_probability=f), replace_params(test_share=0.0)).artefact
        for f in (reported, None)
    ]
    soft, naive = (a.calibration.apply(a.trees.score_many(full.x)).sum() / full.y.sum() for a in scored)
    assert soft == pytest.approx(1.0, abs=0.25)
    assert naive < 0.8


def test_recent_rows_weigh_more() -> None:
    full = dataset()
    late = full.t_ms > 60 * DAY_MS
    turned = replace(full, x=np.where(late[:, None], -full.x, full.x))
    aucs = []
    for half_life_d in (5.0, None):
        judged = train(turned, TrainParams(trees=20, leaves=8, half_life_d=half_life_d)).artefact.report
        assert judged is not None
        aucs.append(judged.roc_auc.value)
    assert aucs[0] > aucs[1] + 0.1


def test_a_sample_keeps_all_frauds_and_what_rows_add_up_to() -> None:
    full = dataset()
    y, weight = full.y.astype(np.float64), 0.5 ** (np.arange(N)[::-1] / 1500.0)
    rows, heavier = sample(y, weight, 3000)
    assert len(rows) == pytest.approx(3000, rel=0.01)
    assert np.array_equal(rows[y[rows] > 0], np.flatnonzero(y))
    for part in (slice(0, N // 2), slice(N // 2, N), slice(0, N)):
        within = (rows >= (part.start or 0)) & (rows < part.stop)
        assert heavier[within].sum() == pytest.approx(weight[part].sum(), rel=0.01)
    assert (y[rows] * heavier).sum() == pytest.approx((y * weight).sum())


def test_few_rows_are_all_taken_and_many_frauds_leave_room_for_the_honest() -> None:
    y, weight = (np.arange(1000) % 2).astype(np.float64), np.linspace(0.1, 1.0, 1000)
    assert np.array_equal(sample(y, weight, 1000)[1], weight)
    rows, _ = sample(y, weight, 400)
    assert (y[rows] > 0).sum() == 500
    assert (y[rows] == 0).sum() == pytest.approx(200, abs=1)


def test_trees_of_a_sample_rank_and_are_calibrated_like_those_of_all_rows(trained: Trained) -> None:
    judged, whole = train(dataset(), replace_params(most_rows=2400)).artefact.report, trained.artefact.report
    assert judged is not None
    assert whole is not None
    assert judged.roc_auc.value > whole.roc_auc.value - 0.02
    assert judged.observed_expected.low < 1.0 < judged.observed_expected.high


def test_progress_counts_the_trees() -> None:
    seen: list[tuple[int, int]] = []
    train(dataset(), replace_params(early_stopping=False), lambda done, wanted: seen.append((done, wanted)))
    assert seen == [(i + 1, 20) for i in range(20)]


def test_trees_that_the_calibration_days_speak_against_are_left_out() -> None:
    grown = train(dataset(), TrainParams(trees=300, leaves=31, learning_rate=0.3)).artefact.trees
    assert len(grown.roots) in stages(300)[:-1]


def test_a_handful_of_frauds_speaks_against_little() -> None:
    y = (np.arange(4_000) % 40 == 0).astype(np.float64)
    margins = 4.0 * y - 4.0 + np.random.default_rng(3).normal(0.0, 1.0, len(y))
    frauds = np.flatnonzero(y)
    longer = margins.copy()
    longer[frauds] += np.where(np.arange(len(frauds)) % 2, 1.0, -1.5)
    few = np.concatenate((frauds[:2], np.flatnonzero(y == 0)))
    staged = np.stack([margins, longer])
    assert latest_good(staged, y, np.ones(len(y))) == 0
    assert latest_good(staged[:, few], y[few], np.ones(len(few))) == 1


def test_a_forest_that_is_too_sure_is_no_worse() -> None:
    y = (np.arange(4_000) % 40 == 0).astype(np.float64)
    margins = 2.0 * y - 4.0 + np.random.default_rng(3).normal(0.0, 1.0, len(y))
    assert latest_good(np.stack([margins, 1.5 * margins]), y, np.ones(len(y))) == 1


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_refused(label: int) -> None:
    with pytest.raises(BadInput, match="training slice needs frauds and honest"):
        train(replace(dataset(), y=np.full(N, label)), SMALL)


def test_no_rows_are_refused() -> None:
    full, none = dataset(), np.zeros(0, np.int64)
    with pytest.raises(BadInput, match="training slice"):
        train(replace(full, x=full.x[:0], y=none, t_ms=none, amount_minor=none), SMALL)


@pytest.mark.parametrize("wrong", [{"y": np.full(N, 2)}, {"y": np.zeros(3, np.int64)}, {"columns": ("one",)}])
def test_a_set_that_does_not_fit_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        replace(dataset(), **wrong)  # type: ignore[arg-type]


# --- artefact ----------------------------------------------------------------------------------------------------


def test_bytes_round_trip_and_name_the_version(trained: Trained) -> None:
    data = trained.artefact.to_bytes()
    back = Artefact.from_bytes(data, "plan")
    assert back.to_bytes() == data
    assert back.version == version_of(data) == hashlib.sha256(data[40:]).hexdigest()[:12]
    assert (back.report, back.data, back.columns) == (
        trained.artefact.report,
        trained.artefact.data,
        trained.artefact.columns,
    )


def test_arrays_are_views_of_the_buffer(trained: Trained) -> None:
    back = Artefact.from_bytes(trained.artefact.to_bytes())
    assert not any(a.flags.owndata or a.flags.writeable for a in (back.trees.nodes, back.trees.roots, back.percentiles))


def test_any_flipped_byte_is_noticed(trained: Trained) -> None:
    data = trained.artefact.to_bytes()
    for at in [*range(600), *range(600, len(data), 97), len(data) - 1]:
        damaged = bytearray(data)
        damaged[at] ^= 1
        with pytest.raises(ArtefactInvalid):
            Artefact.from_bytes(bytes(damaged))


@pytest.mark.parametrize("keep", [0, 7, 40, 50, -1])
def test_a_shortened_artefact_is_noticed(trained: Trained, keep: int) -> None:
    with pytest.raises(ArtefactInvalid):
        Artefact.from_bytes(trained.artefact.to_bytes()[:keep])


def test_another_plans_artefact_is_refused(trained: Trained) -> None:
    with pytest.raises(ArtefactInvalid, match="plan"):
        Artefact.from_bytes(trained.artefact.to_bytes(), "another")


# --- score -------------------------------------------------------------------------------------------------------


def test_one_row_scores_as_the_matrix_does(trained: Trained, model: Model) -> None:
    artefact, x = trained.artefact, dataset(1).x[:200]
    scored = [one for row in x for one in model.score(row[None])]
    assert scored == model.score(x)
    margins = artefact.trees.score_many(x)
    assert [s.margin for s in scored] == margins.tolist()
    assert [s.p_fraud for s in scored] == artefact.calibration.apply(margins).tolist()
    assert all(s.p_fraud == round(s.p_fraud, 9) for s in scored)


def test_risk_scores_are_percentiles_of_the_calibration_payments(trained: Trained, model: Model) -> None:
    scores = [scored.risk_score for scored in model.score(dataset().x[trained.calibration])]
    assert min(scores) == 0
    assert max(scores) == 99
    assert np.mean(scores) == pytest.approx(49.5, abs=2.0)


def test_reasons_are_the_strongest_contributions(model: Model) -> None:
    row = dataset(1).x[3:4]
    contributions = model.artefact.trees.attribute(row)[0].tolist()
    (reasons,) = (scored.reasons for scored in model.score(row, 3))
    order = sorted(range(WIDTH), key=lambda i: (-abs(contributions[i]), i))[:3]
    assert [r.feature for r in reasons] == [model.columns[i] for i in order]
    assert [r.contribution for r in reasons] == [contributions[i] for i in order]


def test_reasons_say_none_for_missing_values(model: Model) -> None:
    (scored,) = model.score(np.full((1, WIDTH), np.nan, np.float32), WIDTH)
    reasons = scored.reasons
    assert reasons
    assert all(r.value is None for r in reasons)


@pytest.mark.parametrize(
    ("contributions", "columns"),
    [([0.0, 1.0, -2.0, 2.0, 1.0, -1.0], [2, 3, 1, 4]), ([0.0, 0.0, 3.0, 0.0, 0.0, 0.0], [2, -1, -1, -1])],
)
def test_equal_contributions_go_by_column_and_nothing_is_left_out(
    contributions: list[float], columns: list[int]
) -> None:
    chosen = np.empty(4, np.int64)
    strongest(np.array(contributions), chosen)
    assert chosen.tolist() == columns


def test_a_row_with_too_few_columns_is_refused(model: Model) -> None:
    with pytest.raises(BadInput, match="too few columns"):
        model.score(np.zeros((1, WIDTH - 1), np.float32))
