"""What ``mini`` is pretrained on: the prompts of the suite itself, over worlds that no user runs.

Every user of these worlds is of a kind of her own, so nothing about the clusters of a later world can be
learnt: only the language, the form of the answers, and that histories and profiles in a prompt tell of taste.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from prime_audit.lamp import lexicon
from prime_audit.lamp.data import Query, User
from prime_audit.lamp.profiles import summary_profile
from prime_audit.lamp.prompts import Example, history_examples, query_examples, question_prompt
from prime_audit.lamp.tasks import TASKS, Task
from prime_audit.lamp.world import world

FIRST_SEED = 10_000
"""Worlds from this seed on belong to pretraining; a run of the suite should use smaller seeds."""
USERS = 40
"""Users of each pretraining world, each a cluster of her own."""
HISTORIES = (0, 0, 1, 1, 2, 4, 6)
"""Items in front of a question; drawn evenly."""
MASKED = 0.25
"""Share of the generation tasks' texts whose names of things are replaced, so that copying works on any word."""
COMMON_WORDS = tuple(
    """able about above accept across act action active actor add address afraid after again against age agree
    air album alive all allow almost alone along already also always amazing among amount angry animal announce
    another answer any apart appear apple area argue arm army around arrest arrive art ask attack attempt aunt
    author autumn award away baby back bad bag ball band bank base battle beach beat beautiful because become
    before begin behind believe bell below best better between big bill bird birthday black blame blood blue
    board boat body bomb bone book border born both bottle bottom box boy brain brave bread break bring broken
    brother brown build burn business busy buy cake call camera camp campaign can capital captain car card care
    carry case cash cast castle catch cause celebrate center central century chair challenge chance change
    character charge cheap check chicken chief child choice choose church circle citizen city claim class clean
    clear climb clock close clothes cloud coach coast coat coffee cold collect college color come comfort common
    company complete concern connect consider contain control cook cool corner cost could count country couple
    courage course court cover crazy cream create crime crisis cross crowd cry culture cup current cut daily dance
    danger dark date daughter day dead deal dear death debt decide deep defend degree deliver depend describe
    design despite detail develop dinner direct discover discuss disease divide doctor dog dollar door double down
    dream dress drink drive drop drug during each early earn earth east easy eat edge editor effect effort eight
    either election else empty end enemy energy enjoy enough enter equal escape even evening event ever every
    evidence exactly example except excited exist expect expensive expert explain express extra eye face fact fail
    fair faith fall family famous far farm fast father favorite fear feel female few field fight figure fill film
    final find fine finger finish fire first fish five floor flower fly follow food foot force foreign forest
    forget form former forward four free friend from front fruit full fun funny future game garden gas general
    gentle get giant girl give glad glass global goal gold good government grand grass great green ground group
    grow guard guess guest guide gun guy hair half hand happen happy hard hate have head health hear heart heat
    heavy help here hero herself hide high hill himself history hit hold hole holiday home honest hope horse
    hospital host hot hotel hour house how however huge human hundred hungry hunt hurt husband idea image imagine
    important include increase indeed inside instead interest into invite iron island issue jail job join joke
    journey judge jump just keep key kid kill kind king kitchen knife know lady lake land language large last late
    laugh law lead learn least leave left leg less letter level lie life light like line list listen little live
    local lonely long look lord lose loss lot love low luck lunch machine magic main make male man many map mark
    market marriage master match matter may maybe meal mean measure meat media meet member memory message metal
    middle might mile military milk million mind minute miss mistake mix modern moment money month moon more
    morning most mother mountain mouth move movie much murder museum music must mystery name nation nature near
    need never new news next nice night nine nobody noise none north nothing notice now number ocean off offer
    office often oil old once one only open order original other our out outside over own page pain paint pair
    paper parent park part party pass past patient pay peace people perfect perhaps person phone photo picture
    piece place plan plane plant play player please poem point police poor popular possible power present
    president press pretty prevent price prison prize problem produce program promise proof protect proud prove
    public pull push put quality queen question quick quiet quite race radio rain raise rate rather reach read
    ready real really reason receive record red relationship remain remember remove repeat reply report rescue
    rest result return reveal rice rich ride right ring rise risk river road rock role room round rule run safe
    sail salt same save say scene school science score screen sea search season seat second secret see seem sell
    send senior sense serious serve service set seven several shadow shake shape share sharp she ship shirt shock
    shoe shoot shop short should shoulder shout show sick side sign silence silver similar simple since sing
    single sister sit six size skin sky sleep slow small smart smile smoke snow soft soldier some son song soon
    sorry sort soul sound source south space speak special speech speed spend spirit sport spring square staff
    stage stand star start state station stay steal still stone stop store storm story strange street strong
    student study stuff style success such sudden suffer sugar suggest summer sun support sure surprise survive
    sweet swim system table take talk tall taste tax tea teach team tear tell ten test than thank that their them
    then there these they thick thin thing think third this those though thousand threat three through throw time
    tiny tired title today together tomorrow tonight too top total touch tough tour toward town toy trade train
    travel treat tree trial trip trouble truck true trust truth try turn twelve twenty two type ugly uncle under
    understand until upon use usual valley value version very victim victory view village violent visit voice
    vote wait walk wall want war warm warn wash watch water wave way weak wealth wear weather week weight welcome
    well west what wheel when where whether which while white who whole whose why wide wife wild will win wind
    window winner winter wish with within without woman wonder wood word work world worry worth would write wrong
    yard year yellow yes yesterday yet you young your zero""".split()
)
"""Everyday words that the built-in world may lack: entries of the vocabulary, and masks."""


@dataclass(frozen=True)
class Document:
    """A text to learn, and where its golds are."""

    text: str
    """Prompt and gold."""
    start: int
    """Character at which the gold begins (the space before it included)."""
    shown: tuple[tuple[int, int], ...]
    """Characters (from, to) of the golds in its history block."""


def documents(worlds: int, seed: int) -> Iterator[Document]:
    """Write the corpus: ``worlds`` worlds of each task, from ``FIRST_SEED + seed * 1000`` on."""
    for number in range(worlds):
        for task in TASKS.values():
            key = FIRST_SEED + seed * 1000 + number
            sizes = {"users": USERS, "adapt": 0, "targets": USERS, "clusters": USERS, "queries": 8}
            for user in world(task.name, seed=key, history=(10, 16), **sizes).targets:
                yield from _user_documents(task, user, Random(f"{key}/{task.name}/{user.id}"))


def _user_documents(task: Task, user: User, rng: Random) -> Iterator[Document]:
    profile = summary_profile(task, user.history)
    own = history_examples(task, user, profile=profile)
    fronted = [example for example in own if example.kind == "augmented"]
    chosen = rng.sample([example for example in own if example.kind == "plain"], 3)
    chosen += rng.sample(fronted, 3 if fronted else 0)
    chosen += query_examples(task, user, k=rng.choice((1, 4)), profile=rng.choice((None, profile)))[:3]
    chosen += [_question(task, user, query, profile, rng) for query in user.queries[3:]]
    if task.name == "LaMP-1":
        chosen += [_citing(task, user, query, rng) for query in user.queries]
    for example in chosen:
        masked = not task.labels and rng.random() < MASKED
        yield _document(task, _mask(example, rng) if masked else example)


def _question(task: Task, user: User, query: Query, profile: str, rng: Random) -> Example:
    """Write one question with any of the things that methods put in front of it."""
    shown = rng.sample(user.history, rng.choice(HISTORIES))
    told = profile if rng.random() < 0.4 else None
    prompt = question_prompt(task, query.fields, history=shown, profile=told)
    return Example(query.id, prompt, query.gold, query.id, "plain")


def _citing(task: Task, user: User, query: Query, rng: Random) -> Example:
    """Write a LaMP-1 question after papers with what they cite, so that citing and choosing become one skill."""
    papers = rng.sample(user.history, rng.randint(2, 8))
    lines = [f"{task.training.format(**paper.fields)} {paper.fields['citation']}\n" for paper in papers]
    prompt = f"### User History:\n{''.join(lines)}\n\n{task.instruction.format(**query.fields)}"
    return Example(query.id, prompt, query.gold, query.id, "plain")


_TEMPLATE_WORDS = {
    word.lower() for task in TASKS.values() for word in re.findall(r"[A-Za-z]+", task.instruction + task.history_item)
}


def _content_words() -> frozenset[str]:
    pools = [pool for table in (lexicon.SECTION_ACTORS, lexicon.TOPIC_TERMS) for pool in table.values()]
    pools += [lexicon.PLACES, lexicon.CAUSES, lexicon.FIELDS, lexicon.SOURCES]
    pools += [tuple(deed[2] for deed in lexicon.DEEDS)]
    pools += [tuple(text for pair in pairs for text in pair) for pairs in lexicon.PLANS.values()]
    words = {word.lower() for pool in pools for text in pool for word in re.findall(r"[A-Za-z]{4,}", text)}
    return frozenset(words - _TEMPLATE_WORDS)


_CONTENT = _content_words()


def _mask(example: Example, rng: Random) -> Example:
    """Replace words that name things, alike in prompt and gold, by others that mean nothing here."""
    found = {word.lower() for word in re.findall(r"[A-Za-z]+", example.text)} & _CONTENT
    masks = {word: _other_word(rng) for word in sorted(found)}

    def swap(match: re.Match[str]) -> str:
        word = match.group()
        other = masks.get(word.lower(), word)
        return other.capitalize() if word[0].isupper() and word.lower() in masks else other

    prompt, gold = (re.sub(r"[A-Za-z]+", swap, text) for text in (example.prompt, example.gold))
    return Example(example.id, prompt, gold, example.item, example.kind)


def _other_word(rng: Random) -> str:
    if rng.random() < 0.8:
        return rng.choice(COMMON_WORDS)
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))


def _marker(task: Task) -> str:
    """Return what stands before the gold in an item of the history block: `` Tag:`` and alike."""
    return task.history_item.rpartition("{")[0].rpartition("}")[2].rstrip()


def _document(task: Task, example: Example) -> Document:
    front = example.prompt.rfind("\n\n\n") + 1
    marker = _marker(task)
    spans, at = list[tuple[int, int]](), 0
    for line in example.prompt[:front].split("\n"):
        cites = line.find(" Reference:")
        found = line.rfind(marker)
        if cites >= 0:
            spans.append((at + cites + len(" Reference:"), at + len(line)))
        elif found >= 0:
            spans.append((at + found + len(marker), at + len(line)))
        at += len(line) + 1
    return Document(example.text, len(example.prompt), tuple(spans))
