"""Curves in a line of text and as SVG, without a plotting library."""

from xml.etree import ElementTree as ET

import pytest

from redteam_env.report import curves_svg, mean, sparkline


def test_a_line_of_bars_goes_from_lowest_to_highest():
    assert sparkline([0.0, 0.5, 1.0], 10) == "▁▅█"
    assert sparkline([0.0, 1.0], 10, ascii_only=True) == "_#"


def test_what_was_not_measured_leaves_a_gap():
    assert sparkline([0.0, None, 1.0], 3) == "▁ █"
    assert sparkline([], 5) == ""
    assert mean([None, 0.2, None, 0.4]) == pytest.approx(0.3)
    assert mean([None]) is None


@pytest.mark.parametrize("n", [3, 7, 90, 1000])
@pytest.mark.parametrize("width", [1, 2, 7, 60])
def test_a_long_curve_is_averaged_into_the_columns_there_are(n, width):
    line = sparkline([0.0] * n, width)
    assert line == "▁" * min(n, width)
    halves = sparkline([0.0] * n + [1.0] * n, 2)
    assert halves == "▁█"


def test_an_image_holds_every_curve_and_is_the_same_each_time():
    panels = {"first": {"a": [0.0, 0.5, None, 1.0], "b": [0.1]}, "second": {"a": []}}
    text = curves_svg(panels, "step")
    assert text == curves_svg(panels, "step")
    root = ET.fromstring(text)
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(x.attrib["points"].split()) for x in lines] == [3, 1, 0]


def test_the_runs_behind_a_mean_are_drawn_thin_in_its_colour():
    runs = {"first": {"a": [[0.0, 1.0], [1.0, 0.0]]}}
    text = curves_svg({"first": {"a": [0.5, 0.5], "b": [0.1]}}, "step", runs=runs)
    lines = ET.fromstring(text).findall("{http://www.w3.org/2000/svg}polyline")
    colours = [x.attrib["stroke"] for x in lines]
    assert colours[:3] == [colours[0]] * 3
    assert colours[3] != colours[0]
    widths = [float(x.attrib["stroke-width"]) for x in lines]
    assert widths[0] == widths[1] < widths[2]


def test_a_name_cannot_leave_its_place():
    text = curves_svg({'<script>"': {"\x1b[31m&": [0.5]}}, "step")
    assert "<script" not in text
    assert "\x1b" not in text
    ET.fromstring(text)
