// One queue: how it is doing, who consumes it, what it is bound to, and its messages.

import { get, path, remove } from '../parts/api.js';
import { element, facts, hint, section, tiles } from '../parts/dom.js';
import { bytes, count, counted, pairs, visible } from '../parts/format.js';
import { dangerButton, moveOn } from '../parts/notices.js';
import { seldom } from '../parts/poll.js';
import { link } from '../parts/routes.js';
import { MINOR, amount, table, words } from '../parts/table.js';
import { SAMPLES, traffic } from '../parts/traffic.js';
import { bindingTable } from './exchange.js';
import { features } from './lists.js';
import { peek, publish } from './messages.js';

export function queue({ parts: [vhost, name], refresh }) {
  const where = `queues/${path(vhost, name)}`;
  const numbers = tiles(['Ready'], ['Unacknowledged'], ['Total'], ['Consumers'], ['Bytes of bodies']);
  const plots = traffic();
  const about = facts();
  const consumers = table({ caption: 'Consumers', columns: CONSUMER_COLUMNS, key: consumerKey });
  const bindings = bindingTable('source');
  let state = {};

  const content = element('div', {}, numbers.node, plots.node, section('About', about.node),
    section('Consumers', consumers.node), section('Bindings to it', bindings.node), peek(where),
    publish({ where: `exchanges/${path(vhost)}/amq.default`, key: name, done: refresh }),
    dangers({ vhost, name, where, refresh, latest: () => state }));

  const bound = seldom((signal) => get(`${where}/bindings`, signal));
  const ask = (signal) => Promise.all([get(`${where}?${SAMPLES}`, signal), bound(signal)]);

  function show([latest, others]) {
    state = latest;
    numbers.show([count(state.messages_ready), count(state.messages_unacknowledged), count(state.messages),
      count(state.consumers), bytes(state.message_bytes)]);
    plots.show(state.message_stats, state);
    about.show(aboutOf(state));
    consumers.show(state.consumer_details ?? []);
    bindings.show(others);
  }

  return { title: visible(name), parent: ['Queues', '#/queues'], content, ask, show };
}

const aboutOf = (state) => [
  ...pairs({ 'Virtual host': state.vhost, Type: state.type, State: state.state }),
  ['Features', features({ ...state, arguments: {} }).join(', ')],
  ...pairs({ Node: state.node, 'Exclusive to': state.owner_pid_details?.name }),
  ['Memory', bytes(state.memory)],
  ...pairs(state.effective_policy_definition).map(([key, value]) => [key, `${value} (by policy)`]),
  ...pairs(state.arguments),
];

const CONSUMER_COLUMNS = [
  {
    title: 'Tag', value: ({ consumer_tag: tag, exclusive, active }) =>
      ({ text: visible(tag), marks: [exclusive && 'exclusive', active === false && 'waiting'] }),
  },
  { title: 'Channel', value: channelCell },
  words('User', 'channel_details.user', MINOR),
  { title: 'Acks', value: ({ ack_required: manual }) => (manual ? 'manual' : 'automatic') },
  amount('Prefetch', 'prefetch_count'),
];

const consumerKey = ({ consumer_tag: tag, channel_details: channel }) => JSON.stringify([channel?.name, tag]);

function channelCell({ channel_details: channel }) {
  const { name = '–', connection_name: owner } = channel ?? {};
  return { text: visible(name), href: owner && link('connection', owner) };
}

function dangers({ vhost, name, where, refresh, latest }) {
  const shown = `the queue “${visible(name)}” in the virtual host “${visible(vhost)}”`;

  const purge = dangerButton('Purge', () => `All ready messages of ${shown} are deleted.`, async () => {
    await remove(`${where}/contents`);
    refresh();
    return [`Purged ${shown}.`];
  });

  const erase = dangerButton('Delete', () => {
    const { messages = 0, consumers = 0 } = latest();
    return `This deletes ${shown} with ${counted(messages, 'message')} and cancels ${counted(consumers, 'consumer')}.`;
  }, async () => {
    await remove(where);
    moveOn('#/queues', `Deleted ${shown}.`);
  });

  return section('Purge or delete', hint('Neither can be undone.'), element('div', { class: 'actions' }, purge, erase));
}
