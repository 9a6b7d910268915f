from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fieldmark.core.errors import PlanError
from fieldmark.training.ranks import Ranks, ranks

WORKER = """
import sys, time, os
from pathlib import Path
import numpy as np, torch
sys.path.insert(0, sys.argv[1])
from toys import NET, TAG_NET, CLASSES, lesson, network, stage_names, tag_lesson
from safetensors.torch import save_file
from fieldmark.losses.specs import OhemBce
from fieldmark.training.loop import Work directory, fit
from fieldmark.training.ranks import ranks
from fieldmark.training.specs import Phase, Training
torch.set_num_threads(1)
photos, out = [Path(p) for p in sys.argv[3].split(",")], Path(sys.argv[2])
group = ranks("cpu", wait_s=20)
if os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0" and group.rank == 1 and "kill" in sys.argv:
    def scalar(*_): pass
    import threading, signal
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
net = NET.model_copy(update={"neck": "none", "head": NET.head.model_copy(update={"dropout": 0.0})})
one = network(net=net)
taught = lesson(photos, losses=(OhemBce(hardest=4),))
taught = type(taught)(**{**vars(taught), "classes": np.tile([0, 1, 2, 3], 8)})
if "tags" in sys.argv:  # labels, and the hardest items once more each epoch
    head = TAG_NET.head.model_copy(update={"dropout": 0.0})
    one = network(net=TAG_NET.model_copy(update={"neck": "none", "head": head}))
    taught = tag_lesson(photos)
mining = {"hardest": 0.3} if "tags" in sys.argv else {}
epochs = 60 if "kill" in sys.argv else 2
phases = (Phase(epochs=epochs, lr=1e-2, freeze=tuple(stage_names(one)), **mining),)
training = Training(phases=phases, batch=8, checkpoint_every_s=1e-9)
fit(one, taught, training, at=WorkDirectory(out / "checkpoints", group), seed=5)
if group.leads:
    save_file({n: t.contiguous() for n, t in one.state_dict().items()}, out / "end.safetensors")
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(folder: Path, photos: list[Path], n: int, *extra: str) -> dict[str, torch.Tensor]:
    folder.mkdir()
    (folder / "worker.py").write_text(WORKER, encoding="utf-8")
    tests = str(Path(__file__).parent.parent)
    files = ",".join(map(str, photos))
    start = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        str(n),
        "--max-restarts",
        "2",
        "--master-port",
        str(free_port()),
    ]
    command = [sys.executable, *(start if n > 1 else []), str(folder / "worker.py"), tests, str(folder), files, *extra]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(folder / "end.safetensors")


@pytest.mark.slow
def test_two_processes_train_like_one(photos: list[Path], tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", photos, 1), run(tmp_path / "two", photos, 2)
    for name in one:
        assert torch.allclose(one[name], two[name], atol=1e-4), name


@pytest.mark.slow
def test_two_processes_choose_the_same_hard_items(photos: list[Path], tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", photos, 1, "tags"), run(tmp_path / "two", photos, 2, "tags")
    for name in one:
        assert torch.allclose(one[name], two[name], atol=1e-4), name


@pytest.mark.slow
def test_a_killed_process_is_restarted_with_the_same_result(photos: list[Path], tmp_path: Path) -> None:
    whole, mended = run(tmp_path / "whole", photos, 1, "long", "kill"), run(tmp_path / "mended", photos, 2, "kill")
    for name in whole:
        assert torch.allclose(whole[name], mended[name], atol=1e-3), name


def test_a_batch_is_divided_without_gap_or_overlap() -> None:
    parts = [list(range(12))[Ranks(rank, 3, torch.device("cpu")).share(12)] for rank in range(3)]
    assert [item for part in parts for item in part] == list(range(12))
    with pytest.raises(PlanError) as caught:
        Ranks(0, 5, torch.device("cpu")).share(12)
    assert "multiple of 5" in caught.value.fix


@pytest.mark.parametrize(("name", "fix"), [("gpu", "use auto, cpu, cuda"), ("cuda:7", "--device cpu")])
def test_a_missing_device_is_refused(name: str, fix: str) -> None:
    if name.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(PlanError) as caught:
        ranks(name)
    assert fix in caught.value.fix
