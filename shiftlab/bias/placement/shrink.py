"""Shrinkage of simulated responses towards zero in the directions in which they are event noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from scipy.linalg import eigh

from shiftlab.bias.placement.fit import whiten
from shiftlab.bias.placement.model import Model
from shiftlab.bias.statistic import Floats

__all__ = ["shrunk"]

_RIDGE: Final = 1e-9
"""Added to the noise of each term, relative to the largest, so that copies of a term do no harm."""


def shrunk(model: Model) -> Model:
    """Return the model with simulated responses freed of what event noise adds to their size.

    A noisy response is longer than the true one, and the excess would count as knowledge: of a combination of
    nuisances that moves nothing at all, noise alone seems to measure something, and even responses, which are small
    differences of differences, bend the posterior with their noise. The singular values of the matrix of all odd and
    even responses, in units of the noise, are therefore shrunk as is best for its mean square error (Gavish and
    Donoho, IEEE Trans. Inf. Theory 63 (2017) 2137); those that noise alone reaches become zero. Odd and even responses
    are two matrices, since noise of the even ones along strong odd ones would be kept otherwise. Only what composition
    and flux cannot imitate counts and changes, for that is where nuisances are measured.

    With three times as many simulated events as data, 95% intervals of gain and lifetime covered 84% and 79% without
    and 92% and 89% with shrinkage (250 pseudo-experiments of the test's made-up detector).
    """
    library = model.library
    transform = whiten(model, model.centre).transform
    free = transform - _imitated(model, transform) @ transform
    raw = np.einsum("c,cuj->uj", model.exposure, library.total[:, 0, 1 : library.terms])
    response = raw @ free.T
    moment = np.einsum("c,cujvk->ujvk", model.exposure**2, library.moment)[1 : library.terms, :, 1 : library.terms]
    noise = np.einsum("ujvk,jk->uv", moment, free.T @ free)
    gram, size = response @ response.T, int(np.linalg.matrix_rank(free))
    kept = np.zeros_like(gram)
    for block in (slice(0, None, 2), slice(1, None, 2)):
        kept[block, block] = _kept(gram[block, block], noise[block, block], size)
    # Back to the summaries' own units: only the part that the transform sees is changed.
    back = np.linalg.pinv(transform) @ free
    change = np.einsum("uv,cmvj,ij->cmui", kept - np.eye(len(kept)), library.total[:, :, 1 : library.terms], back)
    total = library.total.copy()
    total[:, :, 1 : library.terms] += change
    return replace(model, library=replace(library, total=total))


def _imitated(model: Model, transform: Floats) -> Floats:
    """Return the projector on what composition and flux modes can imitate, (whitened summary, whitened summary)."""
    library = model.library
    floating = library.total[model.width > 0.0, 0, 0]
    modes = np.einsum("c,cmj->mj", model.exposure, library.total[:, 1:, 0]) if model.float_modes else floating[:0]
    rows = np.concatenate([floating, modes]) @ transform.T
    if not len(rows):
        return np.zeros((len(transform), len(transform)))
    basis, size, _ = np.linalg.svd(rows.T, full_matrices=False)
    basis = basis[:, size > 1e-9 * size[0]]
    return np.asarray(basis @ basis.T)


def _kept(gram: Floats, noise: Floats, size: int) -> Floats:
    """Return the matrix that turns responses into shrunk ones, (term, term).

    Along each generalised eigenvector, with y^2 the ratio of gram to noise and b = terms / size, the factor is
    sqrt((y^2 - b - 1)^2 - 4 b) / y^2, and 0 below the edge of noise y = 1 + sqrt(b).

    Args:
        gram: (term, term), products of responses.
        noise: (term, term), what event noise adds to them.
        size: Number of summaries that count.
    """
    ridge = noise + np.eye(len(noise)) * _RIDGE * np.diag(noise).max()
    ratio, vectors = eigh(gram, ridge)
    share = min(1.0, len(gram) / max(1, size))
    root = np.clip((ratio - share - 1.0) ** 2 - 4.0 * share, 0.0, None)
    seen = ratio > (1.0 + np.sqrt(share)) ** 2
    factor = np.where(seen, np.sqrt(root) / np.maximum(ratio, 1e-300), 0.0)
    return np.asarray(ridge @ (vectors * factor) @ vectors.T)
