"""Render a simulated data set to disk, or one picture of 16 samples with their labels drawn on.

usage: deeprob render format=bop out=DIR [num=N] [workers=W] [experiment=...] [sim.<setting>=...]
       deeprob render preview=true [out=sheet.png] [sim.<setting>=...]

  format     bop props_pose props_detection props_classification darknet coco
  out        folder of the data set (the file of the sheet)
  num        pictures of each split (default 100)
  splits     which splits, as [train,test] (default [train])
  workers    processes (default 2); the files do not depend on it
  parts      how many jobs render this data set together into one folder (default 1)
  part       which of them this is, 0 to parts - 1; the last to end completes it
  sim.*      what is simulated, such as sim.objects=/my/meshes sim.scene.objects=[3,8] sim.camera.width=640

A call that was interrupted goes on where it stopped when it is given again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deeprob.errors import InputError

if TYPE_CHECKING:
    from deeprob.sim.settings import RenderOptions, SimSettings


def main(args: list[str]) -> int:
    """Run the verb. Returns the exit code; raises InputError."""
    from deeprob.sim.settings import RENDER_KEYS

    own = [argument for argument in args if argument.partition("=")[0] in RENDER_KEYS]
    options = _options(own)
    settings = compose_settings([argument for argument in args if argument not in own])
    _say_origins(settings)
    if options.preview:
        from deeprob.sim.preview import write_preview
        from deeprob.sim.settings import check_settings

        check_settings(settings)
        path = Path(options.out or "preview.png").expanduser()
        _show_objects(settings)
        write_preview(settings, path)
        print(f"wrote {path}")
        return 0
    if not options.out:
        raise InputError("no folder to write to", where="out", fix="add out=DIR")
    from deeprob.sim.export.run import export

    out = Path(options.out).expanduser()
    complete = export(
        settings,
        options.format,
        out,
        options.num,
        tuple(options.splits),
        options.workers,
        progress=True,
        part=options.part,
        parts=options.parts,
    )
    if complete:
        print(
            f"wrote {options.num} pictures of {', '.join(options.splits)} to {out}, format {options.format}"
        )
    else:
        print(f"wrote part {options.part} of {options.parts}; {out} is complete when all parts have run")
    return 0


def compose_settings(overrides: list[str]) -> SimSettings:
    """The simulation's settings of an experiment under overrides; `sim.x` is short for `data.sim.x`."""
    from omegaconf import OmegaConf

    from deeprob.config import compose
    from deeprob.sim.settings import SimSettings, long_override

    full = [long_override(override) for override in overrides]
    if not any(override.startswith("experiment=") for override in full):
        full = ["name=render", "data=pybullet", *full]
    cfg = compose("train", full)
    if "sim" not in cfg.data:
        raise InputError("the experiment's data is not simulated", where="data", fix="add data=pybullet")
    settings = OmegaConf.to_object(cfg.data.sim)
    assert isinstance(settings, SimSettings)
    return settings


def _options(own: list[str]) -> RenderOptions:
    """Check the verb's own keys against their defaults' types."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from deeprob.sim.settings import RenderOptions

    try:
        given = OmegaConf.from_dotlist([_listed(argument) for argument in own])
        options = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(RenderOptions), given))
    except OmegaConfBaseException as error:
        where = error.full_key or " ".join(own)
        raise InputError(str(error).splitlines()[0], where=where) from error
    assert isinstance(options, RenderOptions)
    return options


def _listed(argument: str) -> str:
    """`splits=train` as `splits=[train]`."""
    key, _, value = argument.partition("=")
    return f"{key}=[{value}]" if key == "splits" and not value.startswith("[") else argument


def _say_origins(settings: SimSettings) -> None:
    """Warn of objects whose origin lies far outside them, and of files that are not read."""
    if settings.objects.folder in ("everyday", "random_urdfs"):
        return
    from deeprob.sim.folder import check_origin
    from deeprob.sim.object_files import passed_over
    from deeprob.sim.objects import load_objects

    models = load_objects(settings.objects)
    lines = [check_origin(model) for model in models]
    lines.append(passed_over(Path(settings.objects.folder).expanduser(), [model.path for model in models]))
    for line in filter(None, lines):
        print(f"warning: {line}", file=sys.stderr)


def _within(path: Path, folder: Path) -> str:
    """An object's file as seen from the folder of objects."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name


def _show_objects(settings: SimSettings) -> None:
    """Print what the objects are: names, sizes, faces, symmetries, files."""
    from rich.console import Console
    from rich.table import Table

    from deeprob.sim.objects import load_objects

    table = Table()
    for column in ("class", "name", "size in cm", "faces", "closed", "symmetries", "file"):
        table.add_column(column, overflow="fold")  # a name cut short says nothing
    folder = Path(settings.objects.folder).expanduser()
    for number, model in enumerate(load_objects(settings.objects)):
        size = " x ".join(f"{100 * side:.1f}" for side in model.mesh.extents)
        kinds = {"discrete": model.symmetries.discrete, "continuous": model.symmetries.continuous}
        symmetries = ", ".join(f"{len(of)} {kind}" for kind, of in kinds.items() if of) or "none"
        closed = "yes" if model.mesh.closed else "no"
        faces = str(len(model.mesh.faces))
        table.add_row(str(number), model.name, size, faces, closed, symmetries, _within(model.path, folder))
    Console(markup=False).print(table)
