// Plots of the last ten minutes, drawn as SVG.

import { element, setText, svg } from './dom.js';
import { short, time } from './format.js';

const HEIGHT = 190;
const TOP = 10;
const RIGHT = 6;
const BOTTOM = 24;
const LEFT = 46;
const SPAN_MS = 600_000;

// Makes a plot of named series. `show(points)` takes for each the pairs of a time in milliseconds and a
// value, in the order of time; `format` makes text of a value.
export function plot({ title, series, format }) {
  const canvas = svg('svg', { role: 'img', height: HEIGHT });
  const values = series.map(() => element('b'));
  const when = element('small');
  const legend = series.map((name, index) =>
    element('li', {}, element('i', { class: `series-${index}` }), `${name} `, values[index]));
  const node = element('figure', { class: 'card' },
    element('figcaption', {}, element('h2', {}, title), when, element('ul', {}, ...legend)), canvas);

  let points = series.map(() => []);
  // The time that the user points to; undefined for the latest.
  let cursor;

  function draw() {
    const area = areaOf(canvas, points);
    canvas.replaceChildren(...grid(area), ...points.map((line, index) => curve(line, index, area)));
    const x = area.x(cursor);
    if (cursor) canvas.append(svg('line', { class: 'cursor', x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }));
    setText(when, cursor ? time(cursor) : '');
    points.forEach((line, index) => {
      const value = (cursor ? nearest(line, cursor) : line.at(-1))?.[1];
      setText(values[index], format(value));
    });
    const told = series.map((name, index) => `${name} ${values[index].textContent}`).join(', ');
    canvas.setAttribute('aria-label', `${title} ${when.textContent || 'now'}: ${told}`);
  }

  function pointTo(moment) {
    cursor = moment && nearest(points[0], moment)?.[0];
    draw();
  }

  canvas.addEventListener('pointermove', (event) => pointTo(areaOf(canvas, points).timeAt(event.offsetX)));
  canvas.addEventListener('pointerleave', () => pointTo());
  new ResizeObserver(draw).observe(canvas);

  return {
    node,
    show(next) {
      points = next;
      draw();
    },
  };
}

const nearest = (line, moment) => line.reduce((best, pair) =>
  (best && Math.abs(best[0] - moment) <= Math.abs(pair[0] - moment) ? best : pair), undefined);

// Finds where times and values lie in a canvas of its present width.
function areaOf(canvas, points) {
  const width = canvas.clientWidth || 160;
  const end = Math.max(...points.map((line) => line.at(-1)?.[0] ?? 0)) || Date.now();
  const start = end - SPAN_MS;
  const highest = Math.max(0, ...points.flat().map(([, value]) => value));
  const step = niceStep(highest);
  const most = Math.max(1, Math.ceil(highest / step)) * step;
  const across = (width - LEFT - RIGHT) / SPAN_MS;
  return {
    width, start, end, step, most,
    x: (at) => LEFT + (at - start) * across,
    y: (value) => TOP + (1 - value / most) * (HEIGHT - TOP - BOTTOM),
    timeAt: (x) => start + (x - LEFT) / across,
  };
}

// The distance of grid lines: 1, 2 or 5 times a power of ten, at least a quarter of all.
function niceStep(highest) {
  const least = Math.max(highest, 2) / 4;
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least);
}

function grid({ width, start, end, step, most, x, y }) {
  const marks = [];
  for (let value = 0; value <= most; value += step) {
    const line = { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) };
    const label = { x: LEFT - 8, y: y(value) + 4, 'text-anchor': 'end' };
    marks.push(svg('line', line), svg('text', label, short(value)));
  }
  const between = width < 460 ? 240_000 : 120_000;
  for (let at = Math.ceil(start / between) * between; at <= end; at += between) {
    const label = { x: Math.min(x(at), width - 20), y: HEIGHT - 6, 'text-anchor': 'middle' };
    marks.push(svg('text', label, time(at).slice(0, 5)));
  }
  return marks;
}

function curve(line, index, { start, x, y }) {
  const inside = line.filter(([at]) => at >= start);
  const points = inside.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
  return svg('polyline', { class: `series-${index}`, points });
}
