"""Bodies for tokens see an event as a set: no order, no neighbours in the batch, no padding, and equal size."""

import dataclasses

import pytest
import torch

from shiftlab.arms.bodies import bodies
from shiftlab.arms.body import Body
from shiftlab.arms.heads import EventHead
from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import TokenContract
from shiftlab.config import locate
from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.events import read_tokens

NAMES = ("pet2", "token_transformer")


@pytest.fixture(scope="module")
def shipped() -> tuple[TokenContract, TokenBatch]:
    tokens = read_tokens(locate("studies/samples/minerva_like_tokens.h5"), events=slice(0, 40))
    contract = TokenContract.of(tokens)
    return contract, TokenBatch.of(contract.converted(tokens), contract)


def drawn(batch: TokenBatch) -> TokenBatch:
    """Return the events with well separated angles: where two tokens share a place, PET2's neighbours are a tie."""
    generator = torch.Generator().manual_seed(5)
    angles = torch.rand((len(batch.values), 2), generator=generator) * torch.tensor([4.0, 6.0])
    return dataclasses.replace(batch, values=torch.cat([angles, batch.values[:, 2:]], dim=1))


def made(name: str, contract: TokenContract, size: str = "tiny") -> Body:
    if name == "pet2":
        pytest.importorskip("omnilearned.network", reason="needs shiftlab[peers]")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return bodies().get(name).fresh(size, contract).eval()


@pytest.mark.parametrize("name", NAMES)
def test_features_have_the_promised_shapes(name, shipped):
    contract, batch = shipped
    body = made(name, contract)
    found = body(batch)
    assert body.input == "tokens"
    assert found.tokens.shape == (len(batch.values), body.features)
    assert found.overall.shape == (len(batch), body.overall_features)
    assert torch.equal(found.offsets, batch.offsets)
    assert type(body).fresh(body.plain(), contract).state_dict().keys() == body.state_dict().keys()
    with torch.no_grad():
        assert EventHead(body, 3)(found).shape == (len(batch), 3)


@pytest.mark.parametrize("name", NAMES)
def test_an_event_alone_and_among_longer_ones_has_the_same_features(name, shipped):
    contract, batch = shipped
    body, batch = made(name, contract), drawn(batch)
    with torch.no_grad():
        together = body(batch)
        for event in (0, 11, int(batch.lengths.argmin()), int(batch.lengths.argmax())):
            alone = body(batch.between(event, event + 1))
            rows = slice(int(batch.offsets[event]), int(batch.offsets[event + 1]))
            torch.testing.assert_close(alone.tokens, together.tokens[rows], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(alone.overall[0], together.overall[event], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_tokens_does_not_matter(name, shipped):
    contract, batch = shipped
    body, batch = made(name, contract), drawn(batch)
    generator = torch.Generator().manual_seed(2)
    mixed = torch.argsort(batch.token_event + torch.rand(len(batch.values), generator=generator, dtype=torch.float64))
    turned = dataclasses.replace(batch, values=batch.values[mixed], valid=batch.valid[mixed], kind=batch.kind[mixed])
    with torch.no_grad():
        one, other = body(batch), body(turned)
    torch.testing.assert_close(one.tokens[mixed], other.tokens, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.overall, other.overall, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["momentum", "further", "kind", "number", "time"])
def test_everything_that_a_token_says_is_seen_and_other_events_are_not(name, what, shipped):
    contract, batch = shipped
    body, batch = made(name, contract), drawn(batch)
    event = int(torch.nonzero(batch.lengths > 3)[0])
    row = int(batch.offsets[event]) + 1
    changed = {
        "momentum": {"values": batch.values.clone()},
        "further": {"values": batch.values.clone()},
        "kind": {"kind": batch.kind.clone()},
        "number": {"numbers": batch.numbers.clone()},
        "time": {"time": batch.time.clone()},
    }[what]
    value = next(iter(changed.values()))
    if what in ("momentum", "further"):
        value[row, 3 if what == "momentum" else 8] += 0.7
    elif what == "kind":
        value[row] = (value[row] + 1) % len(contract.kinds)
    elif what == "number":
        value[event, 2] += 1.0
    else:
        value[event] = 0.5
    with torch.no_grad():
        before, after = body(batch), body(dataclasses.replace(batch, **changed))
    moved = (before.tokens - after.tokens).abs().amax(dim=1)
    own = batch.token_event == event
    assert float(moved[own].max()) > 1e-5
    assert float(moved[~own].max()) < 1e-5


def test_our_transformer_tells_a_blank_from_a_zero(shipped):
    contract, batch = shipped
    body = made("token_transformer", contract)
    column = contract.columns.index("log_dEdx")
    row = int(torch.nonzero(~batch.valid[:, column])[0])
    valid, values = batch.valid.clone(), batch.values.clone()
    valid[row, column], values[row, column] = True, contract.centre[column]
    with torch.no_grad():
        known = body(dataclasses.replace(batch, valid=valid, values=values)).tokens[row]
        assert float((known - body(batch).tokens[row]).abs().max()) > 1e-4


def test_an_angle_of_a_full_turn_is_none_for_sine_and_cosine(shipped):
    contract, _ = shipped
    body = made("token_transformer", contract)
    assert body._angles == [contract.columns.index("phi")]


def test_small_bodies_are_of_matched_size(shipped):
    contract, _ = shipped
    ours, theirs = (sum(p.numel() for p in made(name, contract, "small").parameters()) for name in NAMES)
    assert ours == pytest.approx(theirs, rel=0.03)
    assert theirs == pytest.approx(2.8e6, rel=0.03)


def test_sizes_that_do_not_exist_or_do_not_fit_are_refused(shipped):
    contract, _ = shipped
    kind = bodies().get("token_transformer")
    with pytest.raises(UnknownNameError, match="size of body 'token_transformer'"):
        kind.fresh("huge", contract)
    with pytest.raises(ConfigError, match="5 heads do not fit the width 32"):
        kind.fresh({"width": 32, "depth": 1, "heads": 5, "expansion": 2}, contract)
