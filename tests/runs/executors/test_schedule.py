"""Who does what: longest first, each job at most three times, nothing before what it needs; without Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from prime_audit.runs.executors.schedule import TRIES, Answer, Job, Outcome, carry_out, next_of


@dataclass
class Team:
    """Workers that end their jobs in the order given; some jobs fail some times."""

    size: int
    failing: dict[str, int] = field(default_factory=dict)
    """Job's name → how often it fails."""
    busy: dict[str, Job] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    where: list[tuple[str, str]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    broken: str = ""
    """A worker with whom every job fails."""
    told: list[str] = field(default_factory=list)
    ticks: int = 0

    def free(self) -> Sequence[str]:
        return [w for w in map(str, range(self.size)) if w not in self.busy]

    def place(self, worker: str) -> str:
        return f"node {worker}"

    def places(self) -> set[str]:
        return {self.place(w) for w in map(str, range(self.size))}

    def give(self, worker: str, job: Job) -> None:
        assert worker in self.free()
        assert job.after is None or job.after in self.done
        self.busy[worker] = job
        self.begun.append(job.name)
        self.where.append((job.name, worker))

    def wait(self) -> Sequence[Answer]:
        worker = min(self.busy, key=lambda w: (self.busy[w].weight, w))
        job = self.busy.pop(worker)
        if worker == self.broken or self.failing.get(job.name, 0) > 0:
            self.failing[job.name] = self.failing.get(job.name, 0) - 1
            return [Answer(self.place(worker), job, fault="its worker died", trace="Traceback")]
        self.done.append(job.name)
        return [Answer(self.place(worker), job, found=job.name.upper())]

    def tick(self, many: int) -> None:
        self.ticks += many

    def run(self, jobs: Sequence[Job]) -> Outcome:
        return carry_out(jobs, self, self.told.append, self.tick)


def job(name: str, weight: float = 1.0, task: str = "T", after: str | None = None) -> Job:
    return Job(name, task, weight, None, after)


jobs = st.lists(
    st.tuples(st.floats(0, 9), st.sampled_from("AB"), st.integers(0, TRIES + 1)), min_size=1, max_size=12
)


@given(jobs, st.integers(1, 4), st.sampled_from([0, TRIES]))
def test_every_job_ends_once_and_is_begun_three_times_at_most(
    drawn: list[tuple[float, str, int]], size: int, first_fails: int
) -> None:
    first = {task: job(f"first {task}", 0.5, task) for task in "AB"}
    cells = [job(f"{n}", w, task, f"first {task}") for n, (w, task, _) in enumerate(drawn)]
    fails = {f"{n}": many for n, (_, _, many) in enumerate(drawn)} | {"first B": first_fails}
    team = Team(size, dict(fails))
    outcome = team.run([*first.values(), *cells])
    names = {j.name for j in (*first.values(), *cells)}
    assert set(outcome.found) | set(outcome.failed) == names
    assert not set(outcome.found) & set(outcome.failed)
    assert team.ticks == len(names)
    assert max(Counter(team.begun).values()) <= TRIES
    for cell in cells:
        lost = fails[cell.name] >= TRIES or (first_fails >= TRIES and cell.task == "B")
        assert (cell.name in outcome.failed) == lost


def test_the_longest_is_begun_first() -> None:
    team = Team(1)
    team.run([job("short", 1), job("long", 9), job("middle", 4)])
    assert team.begun == ["long", "middle", "short"]


def test_a_worker_stays_with_its_task_unless_another_job_is_twice_as_long() -> None:
    own, other = job("own", 4, "A"), job("other", 7, "B")
    assert next_of([other, own], "A") is own
    assert next_of([own, job("far longer", 9, "B")], "A").name == "far longer"
    assert next_of([own, other], None) is other


def test_a_job_that_failed_is_begun_again_and_told() -> None:
    team = Team(2, {"a": 1})
    outcome = team.run([job("a"), job("b", 3)])
    assert outcome.found == {"a": "A", "b": "B"}
    assert team.told == ["a: its worker died; retrying"]


def test_what_waits_for_a_job_that_is_given_up_fails_for_its_reason() -> None:
    team = Team(2, {"base": TRIES})
    outcome = team.run([job("base"), job("cell", after="base"), job("other")])
    assert outcome.found == {"other": "OTHER"}
    assert outcome.failed["base"].why == f"given up after {TRIES} attempts: its worker died"
    assert outcome.failed["cell"].why == f"base: given up after {TRIES} attempts: its worker died"
    assert outcome.failed["base"].trace == "Traceback"
    assert "cell" not in team.begun


def test_a_job_that_failed_goes_to_another_node_and_no_job_is_lost_to_a_broken_one() -> None:
    team = Team(2, broken="0")
    outcome = team.run([job(f"{n}") for n in range(8)])
    assert not outcome.failed
    assert Counter(team.where).most_common(1)[0][1] == 1


def test_where_there_is_no_other_node_the_same_tries_again() -> None:
    team = Team(1, {"a": TRIES - 1})
    assert team.run([job("a")]).found == {"a": "A"}
