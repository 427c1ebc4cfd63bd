// The overview: how many messages there are and move, and how the nodes are.

import { get } from '../parts/api.js';
import { byId, element, section, setText, tiles } from '../parts/dom.js';
import { bytes, count, moment, visible } from '../parts/format.js';
import { MINOR, table, words } from '../parts/table.js';
import { SAMPLES, traffic } from '../parts/traffic.js';

const TOTALS = ['connections', 'channels', 'consumers', 'exchanges', 'queues'];

const NODE_COLUMNS = [
  words('Name', 'name'),
  { title: 'Memory', numeric: true, value: memoryCell },
  { title: 'Free disk', numeric: true, ...MINOR, value: (node) => bytes(node.disk_free) },
  { title: 'Running since', numeric: true, value: ({ uptime }) => moment(Date.now() - uptime) },
];

export function overview() {
  const numbers = tiles(['Connections', '#/connections'], ['Channels', '#/channels'], ['Consumers'],
    ['Exchanges', '#/exchanges'], ['Queues', '#/queues'], ['Messages']);
  const alarms = element('div', { role: 'alert', class: 'notice problem', hidden: true });
  const plots = traffic();
  const nodes = table({ caption: 'Nodes', columns: NODE_COLUMNS, key: ({ name }) => name });
  const nodeSection = section('Nodes', nodes.node);
  const content = element('div', {}, alarms, numbers.node, plots.node, nodeSection);

  const ask = (signal) =>
    Promise.all([get(`overview?${SAMPLES}`, signal), get('nodes', signal).catch(unlessRefused)]);

  function show([summary, machines]) {
    const { object_totals: totals, queue_totals: queued } = summary;
    numbers.show([...TOTALS.map((name) => totals?.[name]), queued?.messages ?? 0].map(count));
    plots.show(summary.message_stats, queued);
    nodes.show(machines);
    nodeSection.hidden = machines.length === 0;
    setText(alarms, machines.flatMap(alarmsOf).join(' '));
    alarms.hidden = alarms.textContent === '';
    setText(byId('product'), `${summary.product_name} ${summary.product_version}`);
  }

  return { title: 'Overview', content, ask, show };
}

function memoryCell({ mem_used: used, mem_limit: limit }) {
  return { text: bytes(used), note: `of ${bytes(limit)}` };
}

// Users who may not monitor are told nothing of the nodes.
function unlessRefused(error) {
  if ([401, 403].includes(error.status)) return [];
  throw error;
}

function alarmsOf({ name, mem_alarm: memory, disk_free_alarm: disk }) {
  const short = [...(memory ? ['memory'] : []), ...(disk ? ['disk space'] : [])];
  return short.map((what) => `${visible(name)} is short of ${what}, and publishers wait.`);
}
