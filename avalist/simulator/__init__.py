"""A digital-goods world: honest customers, lone fraud, waves, and the truth about each payment.

A `World` is one merchant: a vertical (``games``, ``gift_cards``, ``crypto``) of a versioned world file, and a seed.
The same seed and file give the same events, and a short run is a prefix of a longer one.

- ``history(world, days)`` yields typed events in the order in which they are received: everything issuers approved is
  captured, frauds are reported late. ``play(world, days, approve)`` asks `approve` about each payment just handed over:
  a past policy, or a live merchant's answer. It is also the place to collect each payment's `Truth`.
- ``world.batches(days)`` yields hours: ``batch.steps`` in order, ``batch.attempts`` with payment, truth and follow-ups.
  With `Pending` that is all that `play` uses.
- ``World(load_world("default-2"))`` tells sessions in detail: steps, typing, pointer, touch, signs of automation; half
  of them by an event of their own, which the payment names.
- ``World(extra_waves=(WavePlan(...),))`` makes a wave come at a given time, and changes no other event.

Each label is the last thing drawn of its payment: Bernoulli(``truth.p_fraud``). The world is blind to the merchant's
decisions but for this: what was not approved is neither authorised, captured nor reported.

>>> from avalist.simulator import World, history, play
>>> world = World(seed=7, payments_per_day=500)
>>> first = next(e for e in history(world, days=1) if e.type == "payment")
>>> first.currency, first.checkpoint, first.cart[0].quantity
('EUR', 'pre_auth', 1)
>>> truths = {}
>>> def approve(attempt):
...     truths[attempt.payment.payment_id] = attempt.truth
...     return attempt.payment.amount_minor < 10_000
>>> events = list(play(world, days=2, approve=approve))
>>> len(truths) == sum(e.type == "payment" for e in events) > sum(e.type == "capture" for e in events) > 0
True
"""

from avalist.simulator.config import VerticalConfig, WorldConfig, load_world, parse_world
from avalist.simulator.enact import Step
from avalist.simulator.fate import Attempt, Truth
from avalist.simulator.play import Pending, approve_all, history, live, play
from avalist.simulator.waves import HABITS, WavePlan
from avalist.simulator.world import Batch, World

__all__ = [
    "HABITS",
    "Attempt",
    "Batch",
    "Pending",
    "Step",
    "Truth",
    "VerticalConfig",
    "WavePlan",
    "World",
    "WorldConfig",
    "approve_all",
    "history",
    "live",
    "load_world",
    "parse_world",
    "play",
]
