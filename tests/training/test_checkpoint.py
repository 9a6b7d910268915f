from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from fieldmark.core.errors import RunError
from fieldmark.training import checkpoint
from fieldmark.training.checkpoint import State


def saved(folder: Path, *numbers: int) -> None:
    for number in numbers:
        checkpoint.save_checkpoint(State({"at": number}, {"w": torch.full((3,), float(number))}), folder, number=number)


def test_the_newest_is_read_and_only_two_are_kept(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, 30)
    state = checkpoint.load_checkpoint(tmp_path)
    assert state is not None
    assert state.numbers == {"at": 30}
    assert state.tensors["w"].tolist() == [30, 30, 30]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000002", "000000030"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "no state", "bad json"])
def test_a_damaged_checkpoint_is_skipped(tmp_path: Path, damage: str) -> None:
    saved(tmp_path, 1, 2)
    tensors, state = tmp_path / "000000002" / checkpoint.TENSORS, tmp_path / "000000002" / checkpoint.STATE
    content = bytearray(tensors.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        tensors.write_bytes(content)
    elif damage == "truncate":
        tensors.write_bytes(content[:-4])
    elif damage == "no state":
        state.unlink()
    else:
        state.write_text("{", encoding="utf-8")
    found = checkpoint.load_checkpoint(tmp_path)
    assert found is not None
    assert found.numbers == {"at": 1}


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.load_checkpoint(tmp_path / "none") is None


def test_the_optimiser_is_restored_bit_by_bit(tmp_path: Path) -> None:
    def trained(steps: int, layer: torch.nn.Linear, optimiser: torch.optim.Optimizer) -> None:
        for step in range(steps):
            optimiser.zero_grad()
            layer(torch.full((2, 3), float(step))).pow(2).sum().backward()
            optimiser.step()

    def fresh() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        return layer, torch.optim.AdamW(layer.parameters(), lr=0.1)

    with torch.random.fork_rng():
        whole, optimiser = fresh()
        trained(3, whole, optimiser)
        tensors = checkpoint.optimiser_tensors(optimiser, {id(p): n for n, p in whole.named_parameters()})
        checkpoint.save_checkpoint(
            State({}, {**tensors, **{f"network/{n}": t for n, t in whole.state_dict().items()}}), tmp_path, number=1
        )
        trained(3, whole, optimiser)
        again, second = fresh()
        state = checkpoint.load_checkpoint(tmp_path)
        assert state is not None
        again.load_state_dict(
            {n.removeprefix("network/"): t for n, t in state.tensors.items() if n.startswith("network/")}
        )
        checkpoint.restore_optimiser(second, dict(again.named_parameters()), state.tensors)
        trained(3, again, second)
    assert torch.equal(whole.weight, again.weight)
    assert torch.equal(whole.bias, again.bias)


def test_a_full_disk_is_reported_and_the_last_checkpoint_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save_checkpoint(State(numbers={"n": 1}), tmp_path, number=1)

    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(RunError, match="cannot be written"):
        checkpoint.save_checkpoint(State(numbers={"n": 2}), tmp_path, number=2)
    assert checkpoint.load_checkpoint(tmp_path).numbers == {"n": 1}
