// Tables that change in place, so that neither the focus nor a selection is lost every five seconds.

import { button, element, hint, setText } from './dom.js';
import { count, rate, visible } from './format.js';

const MOST_ROWS = 200;

// Narrow screens leave these columns out.
export const MINOR = { minor: true };

// Make columns of words, of numbers and of messages a second; `field` is the API's name.
export const words = (title, field, more) =>
  ({ title, sort: field, value: (row) => visible(at(row, field) ?? '–'), ...more });

export const amount = (title, field, more) =>
  ({ title, sort: field, numeric: true, value: (row) => count(at(row, field)), ...more });

export function perSecond(title, kind, more) {
  const field = `message_stats.${kind}_details.rate`;
  return { ...amount(title, field, more), value: (row) => rate(at(row, field) ?? 0) };
}

const at = (row, field) => field.split('.').reduce((part, key) => part?.[key], row);

// Makes a table. Its columns are `{ title, value, sort, numeric, minor }`: `value(row)` returns a cell, a
// string or `{ text, href, note, marks }`, and the broker sorts by `sort`. `key(row)` identifies a row, and
// `onOrder(sort)` is called when a title is pressed.
export function table({ caption, columns, key = JSON.stringify, onOrder }) {
  const headers = columns.map((column) => header(column, onOrder));
  const body = element('tbody');
  const grid = element('table', { 'aria-label': caption }, element('thead', {}, element('tr', {}, ...headers)), body);
  // What scrolls can be reached with the keyboard.
  const frame = element('div', { class: 'scroll', role: 'region', 'aria-label': caption, tabindex: 0 }, grid);
  const remark = hint('');
  let lines = new Map();

  function show(rows) {
    const focused = document.activeElement;
    const next = new Map(rows.slice(0, MOST_ROWS).map((row) => {
      const line = lines.get(key(row)) ?? newLine(columns);
      update(line, columns, row);
      return [key(row), line];
    }));
    for (const [name, line] of lines) if (!next.has(name)) line.node.remove();
    arrange(body, [...next.values()].map((line) => line.node));
    // A row that moves loses the focus.
    if (body.contains(focused)) focused.focus({ preventScroll: true });
    lines = next;
    frame.hidden = rows.length === 0;
    setText(remark, rows.length === 0 ? 'None.' : `The first ${MOST_ROWS} of ${count(rows.length)}.`);
    remark.hidden = rows.length > 0 && rows.length <= MOST_ROWS;
  }

  function mark({ sort, reverse }) {
    headers.forEach((cell, index) => {
      if (columns[index].sort === sort) cell.setAttribute('aria-sort', reverse ? 'descending' : 'ascending');
      else cell.removeAttribute('aria-sort');
    });
  }

  return { node: element('div', {}, frame, remark), show, mark };
}

function header(column, onOrder) {
  const { title, sort } = column;
  return element('th', { scope: 'col', class: look(column) },
    sort && onOrder ? button(title, () => onOrder(sort), 'sort') : title);
}

const look = ({ numeric, minor }) => `${numeric ? 'numeric' : ''} ${minor ? 'minor' : ''}`;

function newLine(columns) {
  const cells = columns.map((column) => element('td', { class: look(column) }));
  return { node: element('tr', {}, ...cells), cells, shown: [] };
}

function update({ cells, shown }, columns, row) {
  columns.forEach(({ value }, index) => {
    const cell = value(row);
    const now = JSON.stringify(cell);
    if (shown[index] === now) return;
    shown[index] = now;
    cells[index].replaceChildren(...contents(cell));
    cells[index].classList.toggle('zero', cell === '0');
  });
}

// Makes the nodes of a cell: a text or a link, the marks after it, and a note below.
function contents(cell) {
  const { text, href, note, marks = [] } = typeof cell === 'string' ? { text: cell } : cell;
  return [
    href ? element('a', { href }, text) : text,
    ...marks.filter(Boolean).map((word) => element('span', { class: 'mark' }, word)),
    ...(note ? [element('small', {}, note)] : []),
  ];
}

// Moves as few rows as possible.
function arrange(body, nodes) {
  nodes.forEach((node, index) => {
    if (body.children[index] !== node) body.insertBefore(node, body.children[index] ?? null);
  });
}
