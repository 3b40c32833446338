from __future__ import annotations

import subprocess
import sys

import pytest

from prime_audit.errors import UserError
from prime_audit.lamp.tasks import TASKS, find_task

CITATION = (
    'For an author who has written the paper with the title "{}", which reference is related? Just answer '
    'with [1] or [2] without explanation. [1]: "{}" [2]: "{}"'
)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("LaMP_2", "LaMP-2"),
        ("LaMP_2M", "LaMP-2"),
        ("lamp-2", "LaMP-2"),
        ("lamp2", "LaMP-2"),
        ("Movie_Tagging", "LaMP-2"),
        ("citation", "LaMP-1"),
        ("LAMP_7", "LaMP-7"),
        (" news_headline ", "LaMP-4"),
        ("LaMP_2N", "LaMP-2N"),
        ("news_categorize", "LaMP-2N"),
        ("topic_writing_temporal", "LongLaMP-topic"),
    ],
)
def test_every_spelling_finds_its_task(spelling: str, name: str) -> None:
    assert find_task(spelling).name == name


@pytest.mark.parametrize("name", ["LaMP-6", "LaMP-8", "movies", ""])
def test_an_unknown_task_is_an_error_of_one_line(name: str) -> None:
    with pytest.raises(UserError, match="unknown task") as caught:
        find_task(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("LaMP_6", "licensed \\(Avocado\\) and not public"),
        ("LongLaMP-1", "number LongLaMP's tasks in different ways"),
        ("longlamp-email", "licensed \\(Avocado\\) and not public"),
        ("LongLaMP-3", "number LongLaMP's tasks in different ways"),
        ("LaMP_2Q", "known: LaMP-1 \\(citation\\), LaMP-2 \\(movie_tagging\\)"),
    ],
)
def test_a_hint_does_not_lead_to_another_task(name: str, what: str) -> None:
    with pytest.raises(UserError, match=what) as caught:
        find_task(name)
    assert "did you mean" not in str(caught.value)


def test_the_table_holds_together() -> None:
    assert list(TASKS) == [
        *("LaMP-1", "LaMP-2", "LaMP-3", "LaMP-4", "LaMP-5", "LaMP-7"),
        *("LaMP-2N", "LongLaMP-abstract", "LongLaMP-topic", "LongLaMP-review"),
    ]
    assert [task.short for task in TASKS.values()] == [
        "citation",
        "movie_tagging",
        "product_rating",
        "news_headline",
        "scholarly_title",
        "tweet_paraphrase",
        "news_categorize",
        "abstract_generation",
        "topic_writing",
        "product_review",
    ]
    assert len({*TASKS["LaMP-2"].labels}) == len({*TASKS["LaMP-2N"].labels}) == 15
    for name in ("LaMP-2", "LaMP-2N"):  # question and prompt list the labels, each in its own order
        for text in (TASKS[name].question, TASKS[name].instruction):
            listed = text.partition(": [")[2].partition("]")[0].split(", ")
            assert sorted(listed) == sorted(TASKS[name].labels)
    assert [name for name, task in TASKS.items() if task.augmented_training] == [
        "LaMP-2",
        "LaMP-3",
        "LaMP-4",
        "LaMP-5",
        "LaMP-2N",
        "LongLaMP-abstract",
        "LongLaMP-topic",
        "LongLaMP-review",
    ]
    assert [name for name, task in TASKS.items() if not task.higher_is_better] == ["LaMP-3"]


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_question_reads_back_as_it_was_written(task) -> None:
    fields = {name: f'the "{name}"\nwith {{braces}} and ] [1]: ' for name in task.query_fields}
    assert task.parse_question(task.format_question(fields)) == fields


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_question_without_its_marker_is_not_read(task) -> None:
    assert task.parse_question("A film about a lamp.") is None


def test_only_the_first_marker_counts() -> None:
    text = "Generate a headline for the following article: Generate a headline for the following article: x"
    assert TASKS["LaMP-4"].parse_question(text) == {
        "text": "Generate a headline for the following article: x"
    }


def test_titles_may_hold_quotation_marks() -> None:
    titles = ('"Quoted" words: "all" of them', '"A" and "B"', 'C" [1]: "D')
    fields = TASKS["LaMP-1"].parse_question(CITATION.format(*titles))
    assert fields == dict(zip(("title", "option1", "option2"), titles, strict=True))


def test_a_question_that_reads_in_two_ways_is_malformed() -> None:
    assert TASKS["LaMP-1"].parse_question(CITATION.format("T", 'A" [2]: "B', "C")) is None


def test_tasks_and_prompts_come_without_heavy_libraries() -> None:
    code = (
        "import sys; import prime_audit.lamp.readers, prime_audit.lamp.prompts, prime_audit.lamp.metrics;"
        "print([m for m in ('torch', 'pyarrow', 'rouge_score', 'nltk', 'rapidfuzz') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
