// One exchange: its rates, its bindings, and publishing to it.

import { get, path } from '../parts/api.js';
import { element, facts, section } from '../parts/dom.js';
import { exchangeName, pairs, visible } from '../parts/format.js';
import { seldom } from '../parts/poll.js';
import { link } from '../parts/routes.js';
import { MINOR, table, words } from '../parts/table.js';
import { SAMPLES, rates } from '../parts/traffic.js';
import { features } from './lists.js';
import { publish } from './messages.js';

export function exchange({ parts: [vhost, name], refresh }) {
  // The API has a name for the default exchange.
  const where = `exchanges/${path(vhost, name || 'amq.default')}`;
  const moves = rates({ In: 'publish_in', Out: 'publish_out' });
  const about = facts();
  const outgoing = bindingTable('destination');
  const incoming = bindingTable('source');
  const content = element('div', {}, moves.node, section('About', about.node),
    section('Bindings from it', outgoing.node), section('Bindings to it', incoming.node),
    publish({ where, done: refresh }));

  const bindings = seldom((signal) => Promise.all([
    get(`${where}/bindings/source`, signal), get(`${where}/bindings/destination`, signal),
  ]));
  const ask = (signal) => Promise.all([get(`${where}?${SAMPLES}`, signal), bindings(signal)]);

  function show([state, [from, to]]) {
    moves.show(state.message_stats);
    about.show([...pairs({ 'Virtual host': state.vhost, Type: state.type }),
      ['Features', features(state).join(', ')], ...pairs(state.arguments)]);
    outgoing.show(from);
    incoming.show(to);
  }

  return { title: exchangeName(name), parent: ['Exchanges', '#/exchanges'], content, ask, show };
}

// Makes a table of bindings that names their other ends: `source` or `destination`.
export const bindingTable = (end) => table({
  caption: 'Bindings',
  columns: [
    end === 'source' ? { title: 'From exchange', value: source } : { title: 'To', value: destination },
    words('Routing key', 'routing_key'),
    { title: 'Arguments', ...MINOR, value: ({ arguments: given }) => pairs(given).map((pair) => pair.join(' = ')).join(', ') },
  ],
});

const source = ({ source: name, vhost }) => ({ text: exchangeName(name), href: link('exchange', vhost, name) });

const destination = ({ destination: name, destination_type: kind, vhost }) =>
  ({ text: visible(name), href: link(kind, vhost, name), marks: [kind] });
