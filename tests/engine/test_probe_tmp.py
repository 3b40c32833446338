import numpy as np, pytest, torch
from tests.engine.test_train import *
from tests.engine.test_makes import *


@pytest.mark.parametrize("kind", ["llama-longrope", "llama-dynamic", "llama"])
def test_x(bench, pairs, kind):
    b, job, recipe = bench(kind), Job("ann", tuple(pairs)), Recipe(batch=2, lr=5e-3, epochs=1, clip=0.05)
    ours, theirs = factors(train(b, [job], recipe=recipe)["ann"]), plain_loop(b, job, recipe)
    real = b.plain.model
    cls = type(b.plain)
    old = cls.model
    cls.model = lambda self: old(self).double()
    try:
        wide = plain_loop(b, job, recipe)
    finally:
        cls.model = old
    f = lambda x, y: np.concatenate([np.abs(a - c).ravel() for a, c in zip(x, y)])
    for n, g in (("ours-plain", f(ours, theirs)), ("ours-64", f(ours, wide)), ("plain-64", f(theirs, wide))):
        print(kind, n, g.max(), np.quantile(g, 0.99))
