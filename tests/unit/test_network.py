"""A prior over merchants that consent: what it learns, from whom, and who begins with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from avalist.app.administer import CreateMerchant, SetPriorConsent
from avalist.app.dataset import Dataset
from avalist.app.lineage import lineage
from avalist.app.network import keep_prior, network_prior, train_prior
from avalist.app.prior import prior_of
from avalist.app.train import Training, known_by, train_on
from avalist.cli import app
from avalist.domain.errors import BadInput
from avalist.domain.schema import DIGITAL_GOODS, EntityDecl
from avalist.features.derive import derive
from avalist.features.plan import compile_plan
from avalist.models.artefact import Artefact
from avalist.models.metrics import roc_auc
from avalist.models.prior import roles
from avalist.models.train import TrainParams
from tests.judged import dataset
from tests.shop import opened

LIGHT = TrainParams(test_share=0.0, trees=20, leaves=7, learning_rate=0.2, min_data_in_leaf=20, half_life_d=None)
PLAN = compile_plan(DIGITAL_GOODS, derive(DIGITAL_GOODS))
ALIEN = msgspec.structs.replace(
    DIGITAL_GOODS, entities=(EntityDecl("terminal", "custom.terminal"),), categories=(), numbers=()
)
SHARED = list(roles(DIGITAL_GOODS, PLAN.features).values())


def history(seed: int, payments: int = 4000) -> Dataset:
    """Return a merchant of digital goods whose frauds follow its first column that means the same at any shop."""
    data, rng = dataset(payments, frauds=0.15), np.random.default_rng(seed)
    x = rng.normal(size=(payments, len(PLAN.columns))).astype(np.float32)
    x[:, SHARED[0]] = data.x[:, 0]
    return replace(data, plan=PLAN, schema=DIGITAL_GOODS, x=x)


def made() -> Artefact:
    return train_prior({"a": history(1), "b": history(2, 2500)}, LIGHT)


def test_it_learns_what_merchants_have_in_common_and_says_of_whom_it_is() -> None:
    other = history(3)
    mine = prior_of(DIGITAL_GOODS, PLAN, made())
    assert mine is not None
    assert mine.prior is not None
    assert mine.prior.trained_on == "payments of 2 merchants of this installation that consented"
    known = known_by(other, other.cut_ms)
    assert roc_auc(known.y.astype(np.float64), mine.p_fraud(known.x)) > 0.8
    assert b"shop" not in made().to_bytes()


def test_a_large_merchant_counts_as_much_as_a_small_one() -> None:
    def level(of: dict[str, Dataset]) -> float:
        prior = prior_of(DIGITAL_GOODS, PLAN, train_prior(of, LIGHT))
        assert prior is not None
        return float(prior.p_fraud(history(5).x).mean())

    small, large = history(1, 1200), history(2, 8000)
    assert level({"a": small, "b": large}) == pytest.approx(level({"b": large, "a": small}), rel=0.05)


def test_who_brings_too_little_is_named() -> None:
    with pytest.raises(BadInput, match="of that one"):
        train_prior({"a": history(1)})
    with pytest.raises(BadInput, match="b has too few frauds"):
        train_prior({"a": history(1), "b": history(2, 120)})
    with pytest.raises(BadInput, match="has too few columns"):
        train_prior({"a": history(1), "b": replace(dataset(), plan=compile_plan(ALIEN, derive(ALIEN)), schema=ALIEN)})


def test_merchants_begin_with_the_installations_own_prior(tmp_path: Path) -> None:
    prior = made()
    with opened(tmp_path) as shop:
        here = shop.installation
        keep_prior(here.blobs, prior)
        assert network_prior(here.blobs).version == prior.version  # type: ignore[union-attr]
        here.administration.carry_out(CreateMerchant("new", DIGITAL_GOODS), 1)
        said = here.load_model("new", here.writer.merchant("new").model_version).artefact
        assert said.prior is not None
        assert said.prior.version == prior.version
        standing, _ = lineage(here.log.read(), "new")
        assert standing.by == "prior"
        keep_prior(here.blobs, None)
        assert network_prior(here.blobs) is None


def test_trainings_take_the_networks_prior_over() -> None:
    few = history(4, 100)
    own = train_on(few, Training(params=LIGHT, network=made()))
    assert own.prior is not None
    assert "consented" in own.prior.trained_on


def test_without_consent_nobody_is_learnt_from(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        for merchant in ("one", "two"):
            shop.create(merchant)
        shop.installation.administration.carry_out(SetPriorConsent("one", True), 1)
        shop.installation.administration.carry_out(SetPriorConsent("two", True), 1)
        shop.installation.administration.carry_out(SetPriorConsent("two", False), 2)
        shop.installation.log.sync()
        told = [lineage(shop.installation.log.read(), one)[0].teaches for one in ("one", "two")]
        assert told == [True, False]
    ran = CliRunner().invoke(app, ["prior", "train", "--merchants", "one,two", "--data", str(tmp_path)])
    assert isinstance(ran.exception, BadInput)
    assert ran.exception.got == "two"
    assert "simulated payments" in CliRunner().invoke(app, ["prior", "show", "--data", str(tmp_path)]).output
