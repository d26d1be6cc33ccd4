"""The K/V store keeps what was written where it was written, whatever grows and whoever leaves."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_padellm.engine.kv import KVStore, Run


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=8), st.data())
@settings(max_examples=30)
@torch.inference_mode()
def test_the_store_against_a_dictionary(steps, data):
    """Each step writes one more place of some slots and then, at times, forgets some."""
    store, plain, sizes = KVStore(4), {}, [0] * 4
    stamp = 0
    for step in steps:
        slots, places = [], []
        for slot in (slot % store.n_slots for slot in step):
            slots.append(slot)
            places.append(sizes[slot])
            sizes[slot] += 1
        key = torch.arange(stamp, stamp + len(slots) * 2, dtype=torch.float32).reshape(-1, 1, 2)
        stamp += len(slots) * 2
        keys, values = store.write(3, torch.tensor(slots), torch.tensor(places), key, -key[..., :1], max(sizes))
        for slot, place, row in zip(slots, places, key, strict=True):
            plain[slot, place] = row
        assert keys.shape == (store.n_slots, 1, max(sizes), 2) and values.shape == (store.n_slots, 1, max(sizes), 1)
        for (slot, place), row in plain.items():
            if place < max(sizes):
                assert torch.equal(keys[slot, :, place], row) and torch.equal(values[slot, :, place], -row[:, :1])
        if data.draw(st.booleans()):
            leaving = data.draw(
                st.lists(st.sampled_from(range(store.n_slots)), max_size=store.n_slots - 1, unique=True)
            )
            before = store.leave(leaving)
            assert sorted([*before, *leaving]) == list(range(len(sizes)))
            now = {slot: place for place, slot in enumerate(before)}
            plain = {(now[slot], place): row for (slot, place), row in plain.items() if slot in now}
            sizes = [sizes[slot] for slot in before]
            assert store.n_slots == len(before)
        for _ in range(data.draw(st.integers(0, 2))):
            assert store.join() == len(sizes)
            sizes.append(0)
        if data.draw(st.booleans()):
            store.fit(max(sizes), slack=data.draw(st.sampled_from([1, 2])))


def test_a_run_of_places_is_what_the_same_places_one_by_one_are():
    key, value = torch.randn(4, 2, 3), torch.randn(4, 2, 5)
    slots, places = torch.full((4,), 1), torch.arange(3, 7)
    stores = [KVStore(2), KVStore(2)]
    plain, at_once = (
        store.write(0, slots, places, key, value, 8, run=run)
        for store, run in zip(stores, (None, Run(1, 3, 7)), strict=True)
    )
    for one, other in zip(plain, at_once, strict=True):
        assert torch.equal(one, other) and one[1, :, 3:7].abs().sum() > 0


def test_what_is_held_is_counted():
    store = KVStore(2)
    assert (store.n_pieces, store.n_bytes) == (0, 0)
    for layer in range(3):
        store.write(layer, torch.tensor([0]), torch.tensor([0]), torch.ones(1, 2, 4), torch.ones(1, 2, 4), 5)
    assert store.n_pieces == 2 * 5
    assert store.n_bytes == 3 * 2 * (2 * 2 * 5 * 4) * 4
    assert store.leave([0]) == [1]
    assert store.n_pieces == 2 * 5  # its slot is kept for the next document
    store.fit(5, slack=3)
    assert store.n_pieces == 2 * 5
    store.fit(3, slack=2)
    assert store.n_pieces == 5
    store.fit(3)
    assert store.n_pieces == 3


def test_what_would_be_held_is_known_before():
    """Places grow by half at least, slots one by one."""
    store = KVStore(2)
    assert store.places_for(3, 7) == 21
    row = torch.ones(1, 2, 4)
    for n_slots, length in [(2, 5), (2, 6), (3, 7), (3, 8), (4, 20)]:
        while store.n_slots < n_slots:
            store.join()
        expected = store.places_for(n_slots, length)
        store.write(0, torch.tensor([0]), torch.tensor([0]), row, row, length)
        assert store.n_pieces == expected
    assert store.n_pieces == 4 * 20
