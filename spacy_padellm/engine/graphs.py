"""Steps captured as CUDA graphs.

Launching the kernels of one step from Python takes longer than a GPU takes to read the weights of a 7B model. Small
rows are therefore padded to one of a few shapes; a shape that comes again is captured, and from then on a step is one
launch. Large rows are run as they are: there the GPU is the slower of the two.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from spacy_padellm.engine.attention import ForestRow, forward, ready_to_send, send
from spacy_padellm.engine.kv import KVStore
from spacy_padellm.engine.rooms import FixedStore, Kind, Room, Shelf
from spacy_padellm.errors import Warnings
from spacy_padellm.tree.packing import Row, RowShape, Stretch, pack, pack_padded, padding, shape_of

MOST_PIECES = 3072
"""Pieces of a row that is captured, at most. A 7B model takes an H200 about as long as the launches take the host: some
50 ms were measured."""

MOST_SLOTS = 256
"""Slots of a store whose steps are captured, at most: K/V of a 7B model takes 0.5 MB a place."""

SIGHTINGS = 2
"""A shape is captured when it comes for this time."""

MOST_GRAPHS = 96
"""Captured steps kept for one room. Each holds some MB of its own; all share one pool for what happens inside."""

Work = Callable[[], None]
Recorder = Callable[[Work], Work]
"""Takes work over tensors that stay where they are, and gives something that does it again."""


class GraphRecorder:
    """Records CUDA graphs, all in one memory pool. They must run one after the other.

    device (torch.device): A GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._pool = torch.cuda.graph_pool_handle()
            self._stream = torch.cuda.Stream()
            # A pool whose last graph is gone cannot be used again.
            self._keeper = self._capture(lambda: torch.zeros(1, device=device))

    def __call__(self, work: Work) -> Work:
        with torch.cuda.device(self._device):
            # What a library sets up at its first call on a stream must not be part of a graph.
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                work()
            torch.cuda.current_stream().wait_stream(self._stream)
            return self._capture(work).replay

    def _capture(self, work: Callable[[], object]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            work()
        return graph


class CapturedSteps:
    """Runs the steps of one model, and captures those that come again.

    recorder (Callable[[torch.device], Recorder | None]): How steps are captured on a device; None for not at all.
    sightings, most_pieces, most_graphs (int): See the constants.
    captures, replays (int): How many steps were captured, and how many were run that way.
    """

    def __init__(
        self,
        recorder: Callable[[torch.device], Recorder | None] | None = None,
        *,
        sightings: int = SIGHTINGS,
        most_pieces: int = MOST_PIECES,
        most_graphs: int = MOST_GRAPHS,
    ) -> None:
        self._make_recorder = recorder or recorder_for
        self._sightings = sightings
        self._most_pieces = most_pieces
        self._most_graphs = most_graphs
        self._recorder: Recorder | None = None
        self._shelf: Shelf | None = None
        self._off = False
        self._weights: Weights | None = None
        self._logits: dict[tuple[int, ...], Tensor] = {}
        self._lock = threading.RLock()
        self.captures = 0
        self.replays = 0

    def __reduce__(self) -> tuple[Callable[[], CapturedSteps], tuple[()]]:
        """A copy begins without anything captured."""
        return CapturedSteps, ()

    def store(self, model: nn.Module, *, device: torch.device) -> KVStore:
        """A K/V store for documents that step together, to be closed when they are done. If its steps can be captured
        its tensors stay for the next ones."""
        shelf = self._shelf_for(model, device)
        return KVStore() if shelf is None else FixedStore(shelf)

    def _shelf_for(self, model: nn.Module, device: torch.device) -> Shelf | None:
        """Where rooms are, or None where nothing is captured. What was captured with other weights is dropped."""
        with self._lock:
            if self._off:
                return None
            if self._shelf is None:
                self._recorder = self._make_recorder(device)
                self._off = self._recorder is None
                self._shelf = Shelf(_share_of_memory(device))
            if self._weights is None or not self._weights.unchanged(model):
                self.forget()
                self._weights = Weights(model)
            return None if self._off else self._shelf

    @property
    def idle_bytes(self) -> int:
        """Bytes of K/V tensors that are kept for the next documents."""
        return 0 if self._shelf is None else self._shelf.n_bytes

    def forget(self) -> None:
        """Drop all that was captured. To be called by whoever changes what a model computes other than by changing the
        values of its weights (by merging an adapter, say); weights that were exchanged are noticed."""
        with self._lock:
            self._weights = None
            self._logits.clear()
            if self._shelf is not None:
                self._shelf.clear()

    @torch.inference_mode()
    def run(
        self,
        model: nn.Module,
        stretches: Sequence[Stretch],
        awaited: Sequence[int],
        *,
        store: KVStore,
        device: torch.device,
        compiled: bool = False,
    ) -> Tensor:
        """One step: feed stretches of trees to a model in evaluation mode.

        stretches (Sequence[Stretch]): The nodes to feed, at most one stretch a slot.
        awaited (Sequence[int]): Places in the packed row whose next piece is wanted.
        store (KVStore): Where earlier nodes' keys and values are; a FixedStore if the step may be captured.
        compiled (bool): Whether the model's layers run compiled: such a step is captured apart.
        RETURNS (Tensor): Logits [R, V], in the model's dtype.
        """
        shape = shape_of(stretches, len(awaited))
        if isinstance(store, FixedStore) and store.n_slots <= MOST_SLOTS:
            with self._lock:
                store.reserve(shape.n_keys)
                padded = padded_shape(shape, store)
                step = self._captured(model, (padded, compiled), store.room, device)
                if step is not None:
                    self.replays += 1
                    logits = step(pack_padded(stretches, awaited, padded, scratch=store.room.n_places))
                    # The next step writes over these logits, and it may be another thread's.
                    return logits[: len(awaited)].clone()
        forest = ForestRow(pack(stretches, awaited), store=store, device=device)
        return forward(model, forest, forest.awaited)

    def _captured(
        self, model: nn.Module, kind: Kind, room: Room, device: torch.device
    ) -> Callable[[Row], Tensor] | None:
        """The captured step of a kind; None if its shape is too large or too rare so far, or the room will go."""
        assert self._shelf is not None
        shape, _ = kind
        if self._off or shape.n_pieces > self._most_pieces or not self._shelf.keeps(room):
            return None
        step = room.steps.pop(kind, None)
        if step is None:
            room.seen[kind] += 1
            if room.seen[kind] < self._sightings:
                return None
            step = self._capture(model, shape, room, device)
            if step is None:
                return None
            while len(room.steps) >= self._most_graphs:
                dropped = next(iter(room.steps))
                del room.steps[dropped], room.seen[dropped]
        room.steps[kind] = step
        return step

    def _capture(
        self, model: nn.Module, shape: RowShape, room: Room, device: torch.device
    ) -> Callable[[Row], Tensor] | None:
        """Capture the step of a shape over a row that is all padding: it changes nothing but scratch places."""
        assert self._shelf is not None and self._recorder is not None
        store = FixedStore(self._shelf, room=room, n_slots=shape.n_documents)
        row = padding(shape, scratch=room.n_places)
        numbers, mask = send(row.numbers, device).clone(), send(row.mask, device).clone()

        def work() -> Tensor:
            forest = ForestRow(row, store=store, device=device, sent=(numbers, mask))
            return forward(model, forest, forest.awaited)

        try:
            first = work()
            logits = self._logits.setdefault(tuple(first.shape), torch.empty_like(first))

            def write_logits() -> None:
                logits.copy_(work())

            replay = self._recorder(write_logits)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._off = True
            self.forget()
            warnings.warn(Warnings.W008.format(reason=error), stacklevel=2)
            return None
        self.captures += 1

        def step(row: Row) -> Tensor:
            for tensor, array in ((numbers, row.numbers), (mask, row.mask)):
                tensor.copy_(ready_to_send(array, device), non_blocking=True)
            replay()
            return logits

        return step


class Weights:
    """Where a model's weights are.

    model (nn.Module): The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        # Going through all modules takes some milliseconds; these dictionaries are theirs for good.
        self._held = [module._parameters for module in model.modules() if module._parameters]
        self._addresses = self._look()

    def unchanged(self, model: nn.Module) -> bool:
        """Whether it is the same model with every weight where it was."""
        return model is self._model and self._look() == self._addresses

    def _look(self) -> list[int]:
        return [weight.data_ptr() for held in self._held for weight in held.values() if weight is not None]


def padded_shape(shape: RowShape, store: FixedStore) -> RowShape:
    """The shape a row is padded to. As long as reading the weights is what takes time (some 200 pieces on an H100),
    padding the row costs nothing, so its steps are wide there."""
    if shape.n_pieces <= 128:
        n_pieces = _power(shape.n_pieces, 8)
    else:
        n_pieces = _multiple(shape.n_pieces, 64 if shape.n_pieces <= 1024 else 256)
    n_queries = n_pieces if store.n_viewed == 1 else min(n_pieces, _power(shape.n_queries, 8))
    n_keys = min(store.room.n_places, _multiple(shape.n_keys, 64 if shape.n_keys <= 512 else 256))
    # Several answers may wait at one node (labels with the same words), so this may be more than there are pieces.
    return RowShape(n_pieces, store.n_viewed, n_queries, n_keys, _power(shape.n_awaited, 8))


def _power(number: int, least: int) -> int:
    return max(least, 1 << max(0, number - 1).bit_length())


def _multiple(number: int, of: int) -> int:
    return -(-number // of) * of


def recorder_for(device: torch.device) -> Recorder | None:
    """CUDA graphs on a GPU, nothing elsewhere."""
    return GraphRecorder(device) if device.type == "cuda" else None


def _share_of_memory(device: torch.device) -> int:
    """Bytes that idle rooms may hold: a quarter of a GPU's memory."""
    return torch.cuda.get_device_properties(device).total_memory // 4 if device.type == "cuda" else 1 << 30
