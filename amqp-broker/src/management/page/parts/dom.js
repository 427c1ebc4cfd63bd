// Elements. Text becomes text nodes and is never read as markup.

// Makes an element. A child is a node or a string; `on` maps events to handlers; an attribute that is
// false or undefined is left out.
export const element = (tag, attributes, ...children) =>
  furnish(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) =>
  furnish(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

function furnish(made, { on = {}, ...attributes } = {}, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  for (const [event, handler] of Object.entries(on)) made.addEventListener(event, handler);
  made.append(...children);
  return made;
}

export const byId = (id) => document.getElementById(id);

// Sets a text if it differs, so that what a user has selected stays selected.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const section = (heading, ...children) =>
  element('section', { class: 'card' }, element('h2', {}, heading), ...children);

export const hint = (text) => element('p', { class: 'hint' }, text);

export const button = (text, action, kind) =>
  element('button', { type: 'button', class: kind, on: { click: action } }, text);

export const field = (label, input) =>
  element('label', { class: 'field' }, element('span', {}, label), input);

// Makes a list of terms and values. `show(entries)` changes it; empty values are left out.
export function facts() {
  const node = element('dl');
  let shown = '';
  function show(entries) {
    const given = entries.filter(([, value]) => value);
    const now = JSON.stringify(given);
    if (now !== shown) {
      node.replaceChildren(...given.flatMap(([term, value]) => [element('dt', {}, term), element('dd', {}, value)]));
    }
    shown = now;
  }
  return { node, show };
}

// Makes numbers in large type, of `[label, address]`. `show(texts)` changes them.
export function tiles(...labels) {
  const values = labels.map(() => element('b', {}, '–'));
  const items = labels.map(([label, href], index) =>
    element('li', {}, element(href ? 'a' : 'div', { href }, values[index], element('span', {}, label))));
  const show = (texts) => texts.forEach((text, index) => setText(values[index], text));
  return { node: element('ul', { class: 'tiles' }, ...items), show };
}
