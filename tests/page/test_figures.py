"""Drawings of what people name as they like."""

from deeprob.page import drawing


def test_names_are_shown_as_they_are():
    figure, axes = drawing.new_figure()
    axes.plot([0, 1], [0, 1], label="$q$ $")
    axes.set_yticks([0, 1, 2], ["$a$b$", "caf\udce9", r"x^2 $\frac{"])
    drawing.add_legend(axes)
    svg = drawing.to_svg(figure, "names", "three names")
    for name in ("$q$ $", "$a$b$", r"caf\udce9", r"x^2 $\frac{"):
        assert name in svg
    svg.encode()
