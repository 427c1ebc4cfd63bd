// One connection: what it does, whose it is, and its channels.

import { get, path, remove } from '../parts/api.js';
import { element, facts, hint, section, tiles } from '../parts/dom.js';
import { bytes, count, moment, pairs, visible } from '../parts/format.js';
import { dangerButton, moveOn } from '../parts/notices.js';
import { table } from '../parts/table.js';
import { CHANNEL_COLUMNS, octets } from './lists.js';

export function connection({ parts: [name] }) {
  const where = `connections/${path(name)}`;
  const shown = `the connection “${visible(name)}”`;
  const numbers = tiles(['Channels'], ['From client'], ['To client'], ['Received in all'], ['Sent in all']);
  const about = facts();
  const channels = table({ caption: 'Channels', columns: CHANNEL_COLUMNS, key: (channel) => channel.name });
  const close = dangerButton('Close', () => `The broker closes ${shown}.`, async () => {
    await remove(where, { 'X-Reason': 'Closed on the management page' });
    moveOn('#/connections', `Closed ${shown}.`);
  });
  const content = element('div', {}, numbers.node, section('About', about.node),
    section('Channels', channels.node), section('Close', hint('Most clients connect again.'), close));

  const ask = (signal) => Promise.all([get(where, signal), get(`${where}/channels`, signal)]);

  function show([state, open]) {
    numbers.show([count(state.channels), octets('recv')(state), octets('send')(state),
      bytes(state.recv_oct), bytes(state.send_oct)]);
    about.show([...pairs(aboutOf(state)), ...pairs(state.client_properties)]);
    channels.show(open);
  }

  return { title: visible(name), parent: ['Connections', '#/connections'], content, ask, show };
}

const aboutOf = (state) => ({
  User: state.user,
  'Virtual host': state.vhost,
  State: state.state,
  Protocol: state.protocol,
  TLS: state.ssl ? `${state.ssl_protocol} ${state.ssl_cipher}` : 'no',
  Since: moment(state.connected_at),
  Heartbeat: `${state.timeout} s`,
  Node: state.node,
});
