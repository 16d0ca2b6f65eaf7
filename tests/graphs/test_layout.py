import random

import pytest

from deeprob.graphs.layout import curve, lay_out


def random_edges(count, seed):
    generator = random.Random(seed)
    return [(generator.randrange(max(0, i - 8), i), i) for i in range(1, count) for _ in range(1 + i % 2)]


def overlap(a, b, sizes, centres):
    return all(abs(centres[a][i] - centres[b][i]) < (sizes[a][i] + sizes[b][i]) / 2 for i in (0, 1))


@pytest.mark.parametrize("count", [2, 30, 200])
def test_edges_point_right_and_boxes_do_not_touch(count):
    edges = random_edges(count, seed=count)
    generator = random.Random(1)
    sizes = {i: (generator.uniform(20, 90), generator.uniform(10, 60)) for i in range(count)}
    layout = lay_out(sizes, edges)
    assert all(layout.centres[a][0] < layout.centres[b][0] for a, b in edges)
    assert not [(a, b) for a in sizes for b in sizes if a < b and overlap(a, b, sizes, layout.centres)]
    for key, (x, y) in layout.centres.items():
        assert sizes[key][0] / 2 <= x <= layout.width - sizes[key][0] / 2
        assert sizes[key][1] / 2 <= y <= layout.height - sizes[key][1] / 2


def test_edges_run_from_box_to_box_within_the_picture():
    edges = [(0, 1), (1, 2), (2, 3), (0, 3)]  # the last one passes two layers
    layout = lay_out(dict.fromkeys(range(4), (40.0, 20.0)), edges)
    for (a, b), points in layout.edges.items():
        assert points[0] == layout.centres[a]
        assert points[-1] == layout.centres[b]
        assert all(0 <= x <= layout.width and 0 <= y <= layout.height for x, y in points)
    assert len(layout.edges[0, 3]) == 4


def test_parts_that_do_not_hang_together_stand_apart():
    sizes = dict.fromkeys("abcde", (40.0, 20.0))
    layout = lay_out(sizes, [("a", "b"), ("c", "d")])
    assert not [(p, q) for p in sizes for q in sizes if p < q and overlap(p, q, sizes, layout.centres)]


def test_the_same_graph_is_laid_out_the_same():
    edges = random_edges(60, seed=3)
    sizes = dict.fromkeys(range(60), (30.0, 20.0))
    assert lay_out(sizes, edges) == lay_out(sizes, edges)


def test_a_straight_run_is_a_line_and_a_bend_a_curve():
    assert curve([(0, 0), (10, 0), (20, 8)]) == "M0.0,0.0L10.0,0.0C15.0,0.0 15.0,8.0 20.0,8.0"
