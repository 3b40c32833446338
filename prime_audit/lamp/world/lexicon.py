"""The fixed vocabulary of the built-in world: what its texts are made of, the same for every seed.

Everything here is invented; no person, firm or work of the real world is meant. ``world_text`` puts the
pieces together; which piece a user prefers is drawn in ``world``.
"""

from __future__ import annotations

from collections.abc import Mapping

Words = tuple[str, ...]

# LaMP-2. Clauses that show each tag; the keys are the tags of Table 12, in its order.
TAG_CUES: Mapping[str, Words] = {
    "sci-fi": (
        "a starship drifts off its course",
        "a robot begins to dream",
        "a signal comes from a distant moon",
        "the crew wakes from cold sleep too early",
    ),
    "based on a book": (
        "the chapters follow the beloved novel",
        "the narrator reads from the printed pages",
        "the story keeps the ending of the paperback",
        "readers of the novel will know every scene",
    ),
    "comedy": (
        "a wedding cake lands on the mayor",
        "a parrot repeats every secret",
        "two clumsy waiters swap the menus",
        "everyone laughs at the wrong speech",
    ),
    "action": (
        "a car chase tears through the market",
        "a helicopter drops onto the roof",
        "the bridge explodes behind the truck",
        "a rooftop fight stops the train",
    ),
    "twist ending": (
        "the last minute changes everything we saw",
        "the helper turns out to be the culprit",
        "nothing was what it seemed at first",
        "a final letter reveals the hidden twin",
    ),
    "dystopia": (
        "the state counts every breath",
        "citizens trade years for clean water",
        "cameras watch the ruined city",
        "a ministry burns forbidden songs",
    ),
    "dark comedy": (
        "the funeral guests bet on the will",
        "the undertaker jokes about his rates",
        "a polite killer keeps losing his hat",
        "the poisoned soup is praised at dinner",
    ),
    "classic": (
        "the black and white frames still shine",
        "the orchestra swells as in the golden age",
        "generations have quoted its lines",
        "the studio era glows in every shot",
    ),
    "psychology": (
        "a therapist doubts her own memory",
        "the patient hears two voices",
        "old fears return in the mirror",
        "a study of guilt unfolds in the clinic",
    ),
    "fantasy": (
        "a dragon sleeps beneath the hill",
        "a young witch breaks an old spell",
        "the sword chooses a goat herder",
        "elves guard the silver gate",
    ),
    "romance": (
        "two strangers fall in love on a ferry",
        "a first kiss waits at the station",
        "love letters cross the sea",
        "the baker finally confesses his heart",
    ),
    "thought-provoking": (
        "the film asks what we owe each other",
        "viewers are left with a hard question",
        "it ponders the meaning of time",
        "a quiet debate about truth lingers",
    ),
    "social commentary": (
        "the rich tower looks down on the slums",
        "factory workers strike for fair pay",
        "the housing crisis divides neighbours",
        "a reporter exposes unequal schools",
    ),
    "violence": (
        "blood stains the snow after the raid",
        "the gang leaves no witness alive",
        "a brutal fight ends in the cellar",
        "knives flash in the prison yard",
    ),
    "true story": (
        "the real events shook the country",
        "court records confirm each date",
        "the actual survivors appear at the end",
        "archive footage shows what happened",
    ),
}
FILM_LEADS: Words = (
    "a retired pilot",
    "a shy teacher",
    "two sisters",
    "a night nurse",
    "a stubborn farmer",
    "an honest clerk",
    "a young sailor",
    "three old friends",
    "a travelling cook",
    "a lonely painter",
)
FILM_STARTS: Words = (
    "moved to a small town",
    "inherited an old house",
    "started a new job",
    "missed the last bus",
    "found a locked box",
    "returned home after years",
)
LINKS: Words = ("Soon", "Meanwhile", "Then", "In the end", "One night", "At the same time")

# LaMP-1 and LaMP-5. Research topics and the terms that show each.
TOPIC_TERMS: Mapping[str, Words] = {
    "privacy": ("membership inference", "secure aggregation", "private release", "leakage audits"),
    "vision": ("image segmentation", "depth estimation", "object tracking", "visual retrieval"),
    "language": ("machine translation", "dialogue modelling", "text summarization", "semantic parsing"),
    "robotics": ("motion planning", "grasp control", "legged locomotion", "swarm coordination"),
    "graphs": ("link prediction", "graph matching", "community detection", "random walks"),
    "speech": ("voice synthesis", "speaker diarization", "accent transfer", "acoustic alignment"),
    "biology": ("protein folding", "gene expression", "cell imaging", "drug screening"),
    "networks": ("packet routing", "congestion control", "mesh sensing", "edge caching"),
    "theory": ("convex relaxation", "sample complexity", "online regret", "lattice bounds"),
    "databases": ("query planning", "index compression", "stream joins", "schema repair"),
    "climate": ("storm forecasting", "ice monitoring", "flood mapping", "carbon accounting"),
    "teaching": ("exam grading", "lesson planning", "peer feedback", "student modelling"),
}
TITLE_BLENDS: Words = ("{a} for {b}", "{a} meets {b}", "Linking {a} and {b}", "{a} in the light of {b}")
REFERENCE_TITLES: Words = (
    "A survey of {t}",
    "Advances in {t}",
    "The limits of {t}",
    "A benchmark for {t}",
    "{t} revisited",
)
FIELDS: Words = ("hospitals", "small firms", "city traffic", "farming", "public schools", "satellites")
SOURCES: Words = (
    "survey data",
    "field trials",
    "open archives",
    "simulated users",
    "sensor logs",
    "court files",
)
FLAWS: Words = ("too slow", "hard to tune", "poorly understood", "fragile", "costly")

# LaMP-3. What a review can praise or blame: (good, bad) clauses of each aspect.
ASPECTS: Mapping[str, tuple[Words, Words]] = {
    "price": (
        ("the price is a bargain", "it costs less than expected"),
        ("the price is outrageous", "it costs far too much"),
    ),
    "quality": (
        ("the material feels solid", "it is built to last"),
        ("the material feels cheap", "it broke within a week"),
    ),
    "design": (
        ("the shape looks lovely", "the colours are beautiful"),
        ("the shape looks clumsy", "the colours are ugly"),
    ),
    "delivery": (
        ("the parcel came early", "shipping was fast"),
        ("the parcel came late", "shipping took forever"),
    ),
    "support": (
        ("the helpline answered at once", "the staff solved my problem"),
        ("the helpline never answered", "the staff ignored my problem"),
    ),
    "comfort": (
        ("it is a joy to use", "it fits perfectly"),
        ("it is awkward to use", "it does not fit at all"),
    ),
}
PRODUCTS: Words = (
    "lamp",
    "kettle",
    "backpack",
    "headset",
    "chair",
    "jacket",
    "blender",
    "keyboard",
    "tent",
    "clock",
)
OCCASIONS: Words = (
    "last month",
    "for my brother",
    "on a whim",
    "for the office",
    "as a gift",
    "after a long search",
)

# LaMP-4. Who does what: the actors of each section; deeds are (verb, participle, object).
SECTION_ACTORS: Mapping[str, Words] = {
    "politics": ("the city council", "the mayor", "the transport board", "the harbour office"),
    "business": ("the ferry company", "the steel mill", "the paper factory", "the old bakery"),
    "culture": ("the film museum", "the puppet theatre", "the opera house", "the jazz club"),
    "sport": ("the rowing team", "the chess club", "the hockey league", "the cycling union"),
    "science": ("the observatory", "the river institute", "the seed bank", "the weather service"),
    "school": ("the village school", "the night college", "the music academy", "the parents group"),
}
DEEDS: tuple[tuple[str, str, str], ...] = (
    ("close", "closed", "the north hall"),
    ("rebuild", "rebuilt", "the wooden bridge"),
    ("sell", "sold", "the clock tower"),
    ("open", "opened", "a summer garden"),
    ("ban", "banned", "loud scooters"),
    ("test", "tested", "electric boats"),
    ("double", "doubled", "ticket prices"),
    ("rename", "renamed", "the main square"),
    ("hire", "hired", "forty apprentices"),
    ("cancel", "cancelled", "the spring parade"),
    ("publish", "published", "the secret budget"),
    ("restore", "restored", "the painted ceiling"),
)
CAUSES: Words = (
    "a heavy storm",
    "weeks of protest",
    "a surprise vote",
    "a generous gift",
    "a failed inspection",
    "record crowds",
    "a long lawsuit",
    "rising costs",
)
PLACES: Words = ("Harwick", "Lowmere", "Tallin Bay", "Oakridge", "Sandholm", "Eastport", "Brimley", "Kelda")
DAYS: Words = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Sunday")
REACTIONS: Words = (
    "Residents were surprised.",
    "Critics called it rushed.",
    "Many people cheered.",
    "Details remain unclear.",
)

# LaMP-7. What people write about: (plan, thing) pairs of each subject.
PLANS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "food": (
        ("cook a pumpkin soup", "recipe"),
        ("bake a lemon pie", "crust"),
        ("try the noodle bar", "menu"),
    ),
    "music": (("play the new record", "sound"), ("practise the cello", "tune"), ("see a live band", "crowd")),
    "sport": (
        ("run by the lake", "track"),
        ("watch the final match", "score"),
        ("join the climbing gym", "wall"),
    ),
    "work": (
        ("finish the big report", "deadline"),
        ("call the whole team", "schedule"),
        ("clean my desk", "office"),
    ),
    "travel": (
        ("book a train trip", "route"),
        ("walk the coast path", "view"),
        ("visit the old castle", "garden"),
    ),
    "pets": (
        ("wash the muddy dog", "puppy"),
        ("feed the stray cat", "kitten"),
        ("build a rabbit house", "bunny"),
    ),
    "books": (
        ("read a ghost novel", "plot"),
        ("visit the library", "shelf"),
        ("write a short poem", "rhyme"),
    ),
    "garden": (("plant some tomatoes", "soil"), ("water the roses", "scent"), ("paint the shed", "colour")),
}
COMPANY: Words = (
    "alone",
    "with my sister",
    "with a neighbour",
    "with old friends",
    "with the kids",
    "with my uncle",
)
TIMES: Words = ("today", "tonight", "tomorrow", "on Friday", "next week", "this weekend")
MOODS: Words = (
    "good",
    "strange",
    "slow",
    "pretty",
    "loud",
    "calm",
    "bad",
    "fresh",
    "warm",
    "odd",
    "bright",
    "plain",
)
ADVICE: Words = ("join me", "see it", "come along", "hear about it", "give it a try")
