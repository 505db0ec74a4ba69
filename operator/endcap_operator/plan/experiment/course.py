# SPDX-License-Identifier: Apache-2.0
"""The course of an experiment: from what has been decided to what is decided next, one step at a time.

What a person says comes first, then what must not go on, then what may: the first rule that has something to do is
the one that is done, and the next call does the next.
"""

from __future__ import annotations

from collections.abc import Callable

from endcap_api.assignment import allocate, quotas
from endcap_api.experiment_config import weights_of
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.status import Phase
from endcap_operator.analysis.look import Epoch, Look, Verdict
from endcap_operator.analysis.words import shown_ratio
from endcap_operator.plan.experiment.beginning import changed, first, fixed, sizes_of, texts_of, told_of
from endcap_operator.plan.experiment.concluding import await_approval, conclude
from endcap_operator.plan.experiment.moment import Advanced, Facts, Moment, covering
from endcap_operator.plan.experiment.ramp import climb
from endcap_operator.plan.experiment.record import Record

__all__ = ["Advanced", "Facts", "advance"]

# Those in which both sides are served, and so can be compared.
_COMPARED: tuple[Phase, ...] = ("Ramping", "Running", "AwaitingApproval")


def advance(
    spec: ExperimentSpec, record: Record | None, facts: Facts, look: Look | None, now_ms: int
) -> Advanced:
    """The next record: at most one transition, so it is to be called again while the record changes.

    Pure and repeatable: when a write was lost, the same record gives the same next one, but for its times. A record of
    None is a new experiment; one that is gone is first `recovered`. Nothing is concluded without a `look` of now.
    """
    before = record or first(facts.name, spec, facts.id, now_ms)
    if before.final:
        return Advanced(before)
    moment = Moment(spec, _seen(before, look), facts, look, now_ms)
    for rule in _RULES:
        if (done := rule(moment)) is not None:
            return done
    return moment.stays("")


def _seen(record: Record, look: Look | None) -> Record:
    """With the look's figures; the time of a look that says nothing new is not news."""
    if look is None or (record.look and look.model_copy(update={"at_ms": record.look.at_ms}) == record.look):
        return record
    return record.model_copy(update={"look": look})


def _abort(m: Moment) -> Advanced | None:
    """Without a reason too: who writes `abort: ""` wants it to end."""
    if m.spec.decision is None or m.spec.decision.abort is None:
        return None
    return m.goes("Aborted", m.spec.decision.abort or "decision.abort, without a reason")


def _promoted(m: Moment) -> Advanced | None:
    """Before all that can be amiss: a graph that names the winner itself needs no overlay any more."""
    if m.record.phase == "Promoting" and m.record.everyone in m.facts.named:
        return m.goes("Promoted", f"the graph's {m.spec.step} is now {m.record.everyone}")
    return None


def _pause(m: Moment) -> Advanced | None:
    if m.spec.enabled:
        return None
    if m.record.phase in ("Pending", "Paused"):
        return m.stays("enabled is false: set it to true to go on")
    return m.goes("Paused", f"enabled is false, in phase {m.record.phase}", paused=m.record.phase)


def _stand_still(m: Moment) -> Advanced | None:
    """What it began with was changed behind the API server's rules, or it no longer fits its graph.

    Whoever is in it is served as before.
    """
    if fields := changed(m.facts.name, m.spec, m.record):
        named = ", ".join(f"spec.{field}" for field in fields)
        return m.stays(f"{named} is not what it began with: put it back, or create another Experiment")
    if m.facts.problems:
        return m.stays(f"not accepted: {'; '.join(m.facts.problems)}")
    return None


def _begin(m: Moment) -> Advanced | None:
    """Until it begins its buckets follow the spec, for nobody has met them."""
    if m.record.phase != "Pending":
        return None
    fresh = first(m.facts.name, m.spec, m.facts.id, m.record.since_ms)
    pending = fresh.model_copy(update={"revision": m.record.revision, "history": m.record.history})
    if m.facts.unready:
        return Advanced(pending, waits=f"not ready to serve: {', '.join(m.facts.unready)}")
    return m.of(pending).goes(
        "Ramping" if m.spec.ramp else "Running",
        f"{pending.coverage}% take part: {_split(pending.weights)}",
        pins={name: pin for name, pin in m.facts.pins.items() if name in pending.ranges},
        began=fixed(m.facts.name, m.spec),
        epochs={"1": Epoch(buckets=sizes_of(pending.allotted), coverages=[pending.coverage])},
        revision=pending.revision,
        coverage_since_ms=m.now_ms,
    )


def _split(weights: dict[str, int]) -> str:
    return ", ".join(f"{name} {weight}" for name, weight in weights.items())


def _resume(m: Moment) -> Advanced | None:
    """A ramp holds anew: what the time before says of now is not known."""
    if m.record.phase != "Paused":
        return None
    to = m.record.paused or "Running"
    return m.goes(to, "enabled is true again", paused=None, coverage_since_ms=m.now_ms)


def _roll_back(m: Moment) -> Advanced | None:
    """One that stands still too: its traffic goes on."""
    found = m.look.breached if m.look else None
    if found is None or m.record.phase not in _COMPARED:
        return None
    verdict = Verdict(kind="GuardrailBreached", variant=found.variant, message=found.message)
    return m.goes("RolledBack", f"{found.name}: {found.message}", verdict=verdict, spoilt=found.name)


def _distrust(m: Moment) -> Advanced | None:
    """Units that are not where they should be spoil the verdict for good, one that was found already too."""
    if m.look is None or m.look.sample_ratio.state != "mismatch":
        return None
    if m.record.mismatch or m.record.phase not in _COMPARED:
        return None
    said = f"sample ratio {shown_ratio(m.look.sample_ratio)}: {_counted(m.look)}"
    verdict = Verdict(kind="Invalid", message=said)
    told = f"{said}; there will be no verdict"
    if m.record.phase == "AwaitingApproval":
        return m.goes("Running", told, mismatch=said, verdict=verdict)
    return m.goes(m.record.phase, told, mismatch=said, verdict=verdict, revision=m.record.revision)


def _counted(look: Look) -> str:
    return ", ".join(f"{name} {figures.units}" for name, figures in look.variants.items())


def _reweigh(m: Moment) -> Advanced | None:
    weights = weights_of(m.spec)
    if _same_ratio(m.record.weights, weights):
        return None
    before = m.record.allotted
    after = allocate(quotas(weights), before)
    sizes, old = sizes_of(after), sizes_of(before)
    moved = sum(abs(sizes[name] - old.get(name, 0)) for name in sizes) // 2
    number = m.record.epoch + 1
    now = Epoch(buckets=sizes, coverages=[m.record.coverage], comparable=_took_everyone(m.record))
    return m.goes(
        m.record.phase,
        f"weights {_split(weights)}: {moved} of 10000 buckets move; epoch {number}{_unless(now)}",
        ranges=texts_of(after),
        weights=weights,
        epoch=number,
        epochs={**m.record.epochs, str(number): now},
    )


def _unless(epoch: Epoch) -> str:
    why = ", whose units cannot be compared: coverage was below 100% before"
    return "" if epoch.comparable else why


def _same_ratio(before: dict[str, int], after: dict[str, int]) -> bool:
    """50 to 50 is 1 to 1, in whatever order."""
    first_total, second_total = sum(before.values()), sum(after.values())
    return before.keys() == after.keys() and all(
        before[name] * second_total == after[name] * first_total for name in after
    )


def _took_everyone(record: Record) -> bool:
    """Whether every bucket was met alike so far.

    Where some were not, the units that come first in the new epoch are not those of a fair draw: in the buckets that
    a variant keeps the eager ones were counted before, in those that it gets they were not (decision 0064).
    """
    known = [record.epochs.get(str(number)) for number in range(1, record.epoch + 1)]
    return all(each is not None and set(each.coverages) <= {0, 100} for each in known)


def _retell(m: Moment) -> Advanced | None:
    """What the graph is told straight from the spec is another revision; no figure changes with it."""
    told = told_of(m.spec)
    if told == m.record.told or not m.record.routed:
        return None
    return m.becomes(told=told, revision=m.record.revision + 1)


def _promote(m: Moment) -> Advanced | None:
    """A person decides, whatever the figures say."""
    winner = m.spec.decision.promote if m.spec.decision else None
    if winner is None or m.record.phase not in _COMPARED:
        return None
    return m.goes("Promoting", f"everyone gets {winner}: decision.promote", everyone=winner)


def _follow(m: Moment) -> Advanced | None:
    """The coverage of the spec, once there is no ramp (any more)."""
    wanted = m.spec.full_coverage
    if m.record.phase not in ("Running", "AwaitingApproval") or m.record.coverage == wanted:
        return None
    return m.goes(m.record.phase, f"coverage {m.record.coverage}% to {wanted}%", **covering(m, wanted))


def _await_graph(m: Moment) -> Advanced | None:
    if m.record.phase != "Promoting":
        return None
    return m.stays(f"everyone gets {m.record.everyone}; the graph is to name it itself")


_RULES: tuple[Callable[[Moment], Advanced | None], ...] = (
    _abort,
    _promoted,
    _retell,
    _pause,
    _roll_back,
    _distrust,
    _stand_still,
    _begin,
    _resume,
    _reweigh,
    _promote,
    _await_graph,
    climb,
    _follow,
    await_approval,
    conclude,
)
