"""Pictures in a browser: which texts touch a line, a marker or each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Every box and place is in the coordinates of the SVG.  Text boxes are those of the font, with more
# room above and below than the letters take, so SLACK is taken off there.
_TOUCHES = """
([svg, slack]) => {
  const root = document.querySelectorAll('svg.picture')[svg];
  const frame = root.viewBox.baseVal;
  const back = root.getScreenCTM().inverse();
  const partOf = (element) => element.closest('[data-part]');
  const texts = [...root.querySelectorAll('text')].map((element) => {
    const box = element.getBBox();
    const part = partOf(element);
    return { text: element.textContent, part: part && part.dataset.part,
             series: part && part.dataset.series, x0: box.x, x1: box.x + box.width,
             y0: box.y + slack, y1: box.y + box.height - slack };
  });
  const marks = [];
  for (const element of root.querySelectorAll('path, use')) {
    const part = partOf(element);
    if (!part || part.dataset.part === 'band' || element.closest('defs')) continue;
    const named = { part: part.dataset.part, series: part.dataset.series };
    if (element.tagName === 'use') {
      const box = element.getBoundingClientRect();
      const at = new DOMPoint(box.x + box.width / 2, box.y + box.height / 2).matrixTransform(back);
      marks.push({ ...named, places: [at], half: box.width * back.a / 2 });
      continue;
    }
    const matrix = back.multiply(element.getScreenCTM());
    const places = [];
    const length = element.getTotalLength();
    for (let at = 0; at <= length; at += 0.5) {
      places.push(element.getPointAtLength(at).matrixTransform(matrix));
    }
    if (places.length) marks.push({ ...named, places, half: 0.4 });
  }
  const touched = [];
  for (const [place, one] of texts.entries()) {
    if (one.x0 < frame.x - 0.5 || one.x1 > frame.width + 0.5 || one.y0 < 0 || one.y1 > frame.height)
      touched.push(`${one.text}: outside`);
    for (const other of texts.slice(place + 1)) {
      if (one.x0 < other.x1 && other.x0 < one.x1 && one.y0 < other.y1 && other.y0 < one.y1)
        touched.push(`${one.text}: on ${other.text}`);
    }
    for (const mark of marks) {
      const hit = mark.places.some((p) => p.x > one.x0 - mark.half && p.x < one.x1 + mark.half
                                       && p.y > one.y0 - mark.half && p.y < one.y1 + mark.half);
      if (hit) touched.push(`${one.text} (${one.series}): on ${mark.part} ${mark.series}`);
    }
  }
  return { touched, texts: texts.length, marks: marks.length };
}
"""
SLACK = 2.0


def touches(page: Page, number: int = 0) -> dict[str, Any]:
    """Return what the texts of a picture of a page touch, and how many texts and marks it has."""
    found: dict[str, Any] = page.evaluate(_TOUCHES, [number, SLACK])
    return found
