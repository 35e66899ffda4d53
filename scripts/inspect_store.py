"""Prints statistics of a rollout store; with --out, also writes a contact sheet and a video."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

if TYPE_CHECKING:
    from wmrl.data.statistics import StoreReport
    from wmrl.data.store import RolloutStore


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl inspect``."""

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    out: Path | None = None
    """Folder for contact-sheet.png and episodes.mp4; nothing is written if not given."""
    episodes: int = 6
    """Number of episodes to show, evenly spaced in the ranking of all episodes by return."""
    columns: int = 12
    """Frames per episode on the contact sheet."""
    scale: int = 4
    """Magnification of frames in the video. On the contact sheet, the magnification is always 2."""
    fps: float = 12.5
    """Frames per second of the video."""
    verify: bool = False
    """Also read all data and verify its checksums."""


def main(args: Args) -> None:
    """Prints the statistics and, with ``--out``, writes the contact sheet and the video."""
    from wmrl.data.statistics import report_store
    from wmrl.data.store import RolloutStore

    store = RolloutStore(args.store)
    if args.verify:
        store.verify()  # which names all that is damaged, not only what the report reads
    report = report_store(store)
    _print(store, report)
    if args.verify:
        print("checksums: all episodes are intact")
    if args.out is not None:
        order = np.argsort(report.returns, kind="stable")
        picks = np.linspace(0, len(order) - 1, min(args.episodes, len(order))).round().astype(int)
        shown = [store.indices[position] for position in order[picks]]
        for path in _write_images(store, shown, args.out, args):
            print(path)


def _print(store: "RolloutStore", report: "StoreReport") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=str(store.path), show_header=False)
    low, middle, high = np.quantile(report.returns, (0.1, 0.5, 0.9))
    meta = store.metadata
    for name, value in (
        ("task", meta.task),
        ("frames", f"{' × '.join(map(str, meta.frame_shape))}, frame_skip {meta.frame_skip}"),
        *([("stacks", f"of {meta.frame_stack} frames")] if meta.frame_stack > 1 else []),
        ("policy", ", ".join(f"{key} {value}" for key, value in meta.policy.items())),
        ("episodes", f"{report.episodes:,} ({report.terminated:.0%} ended by the game)"),
        ("agent steps", f"{report.agent_steps:,} ({report.base_frames:,} base frames)"),
        ("length", f"{report.lengths.mean():.1f} agent steps ({_range(report.lengths)})"),
        ("return", f"{report.returns.mean():.1f} ± {report.returns.std():.1f}"),
        ("", f"quantiles: 10% {low:.1f}, median {middle:.1f}, 90% {high:.1f}"),
        ("rewarded", f"{report.rewarded:.1%} of agent steps"),
        ("actions", f"mean {_numbers(report.action_mean)}, std {_numbers(report.action_std)}"),
        ("on disk", f"{report.bytes / 2**20:.1f} MiB"),
        ("hash", report.content_hash),
    ):
        table.add_row(name, value)
    Console().print(table)


def _write_images(store: "RolloutStore", shown: list[int], out: Path, args: Args) -> Iterator[Path]:
    from wmrl.envs.rendering.contact_sheet import draw_contact_sheet
    from wmrl.envs.rendering.video import write_video
    from wmrl.storage.files import write_image

    rows = []
    for index in shown:
        frames = store.frames(index)
        columns = np.linspace(0, len(frames) - 1, args.columns).round().astype(int)
        rows.append(frames[np.unique(columns)])
    yield write_image(out / "contact-sheet.png", draw_contact_sheet(rows, scale=2))
    video = (
        frame.repeat(args.scale, axis=0).repeat(args.scale, axis=1)
        for index in shown
        for frame in store.frames(index)
    )
    yield write_video(out / "episodes.mp4", video, fps=args.fps)


def _numbers(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in values) + ")"


def _range(values: np.ndarray) -> str:
    return f"{values.min()} to {values.max()}"
