// A list of things that the broker has many of: filtered, sorted and cut into pages by the broker.

import { get, path } from './api.js';
import { button, element, field, setText } from './dom.js';
import { count, visible } from './format.js';
import { keep } from './routes.js';
import { table } from './table.js';

const PAGE_SIZE = 50;
const TYPING_MS = 300;

// Makes the view of a list. `also` are the fields that are asked for besides those by which the columns
// sort, and `byVhost` tells whether the API lists those of one virtual host.
export function list({ title, columns, also, byVhost = false }, { query, refresh }) {
  const state = { sort: 'name', reverse: '', name: '', vhost: '', ...Object.fromEntries(query) };
  state.page = Math.max(1, Number(state.page) || 1);
  const fields = [...columns.map(({ sort }) => sort), ...also].filter(Boolean).join(',');

  const rows = table({ caption: title, columns, key: keyOf, onOrder: sortBy });
  rows.mark(state);
  const search = element('input', { type: 'search', value: state.name, autocomplete: 'off', on: { input: typed } });
  const vhosts = element('select', { on: { change: () => change({ vhost: vhosts.value, page: 1 }) } });
  const shown = element('span', { role: 'status' });
  const back = button('Previous', () => change({ page: state.page - 1 }));
  const forth = button('Next', () => change({ page: state.page + 1 }));
  const content = element('div', {},
    element('div', { class: 'tools' }, field('Name contains', search),
      ...(byVhost ? [field('Virtual host', vhosts)] : []),
      element('div', { class: 'pager' }, shown, back, forth)),
    element('div', { class: 'card flush' }, rows.node));
  let typing = null;

  function change(values) {
    // The user may have gone elsewhere since typing.
    if (!content.isConnected) return;
    Object.assign(state, values);
    rows.mark(state);
    keep(Object.entries(state).filter(([, value]) => value !== ''));
    refresh();
  }

  function sortBy(sort) {
    const again = state.sort === sort && state.reverse === '';
    change({ sort, reverse: again ? 'yes' : '', page: 1 });
  }

  function typed() {
    clearTimeout(typing);
    typing = setTimeout(() => change({ name: search.value, page: 1 }), TYPING_MS);
  }

  async function ask(signal) {
    if (byVhost && vhosts.length === 0) fillVhosts(vhosts, await get('vhosts?columns=name', signal), state.vhost);
    const where = [title.toLowerCase(), ...(state.vhost ? [state.vhost] : [])];
    return get(`${path(...where)}?${parameters(state, fields)}`, signal);
  }

  function show({ items, page, page_size: size, page_count: pages, filtered_count: found }) {
    rows.show(items);
    const first = (page - 1) * size + 1;
    setText(shown, items.length === 0 ? '' : `${count(first)}–${count(first + items.length - 1)} of ${count(found)}`);
    back.disabled = page <= 1;
    forth.disabled = page >= pages;
  }

  return { title, content, ask, show };
}

const keyOf = ({ vhost, name }) => JSON.stringify([vhost, name]);

function parameters({ page, name, sort, reverse }, fields) {
  return new URLSearchParams({
    page, page_size: PAGE_SIZE, pagination: true, name, use_regex: false,
    sort, sort_reverse: reverse !== '', columns: fields,
  });
}

function fillVhosts(select, hosts, chosen) {
  const names = hosts.map(({ name }) => name).sort();
  select.append(element('option', { value: '' }, 'All'),
    ...names.map((name) => element('option', { value: name, selected: name === chosen }, visible(name))));
}
