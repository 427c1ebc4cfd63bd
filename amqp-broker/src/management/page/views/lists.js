// The lists of connections, channels, exchanges and queues.

import { bytes, exchangeName, visible } from '../parts/format.js';
import { list } from '../parts/list.js';
import { link } from '../parts/routes.js';
import { MINOR, amount, perSecond, words } from '../parts/table.js';

const vhost = words('Virtual host', 'vhost', MINOR);

const CONNECTIONS = {
  title: 'Connections', also: ['user_provided_name', 'ssl'],
  columns: [
    words('Name', 'name', { value: connectionCell }),
    words('User', 'user'),
    vhost,
    words('State', 'state'),
    words('Client', 'client_properties.product', MINOR),
    amount('Channels', 'channels'),
    amount('From client', 'recv_oct_details.rate', { ...MINOR, value: octets('recv') }),
    amount('To client', 'send_oct_details.rate', { ...MINOR, value: octets('send') }),
  ],
};

function connectionCell({ name, user_provided_name: own, ssl }) {
  return { text: visible(name), href: link('connection', name), marks: [ssl && 'TLS'], note: own && visible(own) };
}

// What a connection receives or sends: `recv` or `send`.
export function octets(direction) {
  return (connection) => `${bytes(connection[`${direction}_oct_details`]?.rate ?? 0)}/s`;
}

// The columns of channels, here and on a connection's page.
export const CHANNEL_COLUMNS = [
  words('Name', 'name', { value: channelCell }),
  words('User', 'user', MINOR),
  words('State', 'state', MINOR),
  amount('Consumers', 'consumer_count', MINOR),
  amount('Prefetch', 'prefetch_count', MINOR),
  amount('Unacked', 'messages_unacknowledged'),
  amount('Unconfirmed', 'messages_unconfirmed', MINOR),
  perSecond('In /s', 'publish'),
  perSecond('Out /s', 'deliver_get', MINOR),
  perSecond('Ack /s', 'ack', MINOR),
];

const CHANNELS = {
  title: 'Channels', also: ['connection_details.name', 'confirm', 'transactional'], columns: CHANNEL_COLUMNS,
};

function channelCell({ name, connection_details: owner, confirm, transactional }) {
  const href = owner?.name && link('connection', owner.name);
  return { text: visible(name), href, marks: [confirm && 'confirms', transactional && 'transactions'] };
}

const EXCHANGES = {
  title: 'Exchanges', byVhost: true, also: ['durable', 'auto_delete', 'internal', 'policy'],
  columns: [
    words('Name', 'name', { value: exchangeCell }),
    vhost,
    words('Type', 'type'),
    perSecond('In /s', 'publish_in'),
    perSecond('Out /s', 'publish_out'),
  ],
};

const QUEUES = {
  title: 'Queues', byVhost: true, also: ['type', 'durable', 'auto_delete', 'exclusive', 'arguments', 'policy'],
  columns: [
    words('Name', 'name', { value: queueCell }),
    vhost,
    words('State', 'state', MINOR),
    amount('Consumers', 'consumers', MINOR),
    amount('Ready', 'messages_ready'),
    amount('Unacked', 'messages_unacknowledged'),
    amount('Total', 'messages', MINOR),
    perSecond('In /s', 'publish'),
    perSecond('Out /s', 'deliver_get', MINOR),
    perSecond('Ack /s', 'ack', MINOR),
  ],
};

function exchangeCell({ vhost: host, name, ...exchange }) {
  return { text: exchangeName(name), href: link('exchange', host, name), marks: features(exchange) };
}

function queueCell({ vhost: host, name, ...queue }) {
  return { text: visible(name), href: link('queue', host, name), marks: features(queue) };
}

// Says in a few words what is special about a queue or an exchange.
export const features = ({ type, durable, auto_delete: removed, exclusive, internal, arguments: given = {}, policy }) => [
  ['quorum', 'stream'].includes(type) && type,
  durable === false && 'transient',
  removed && 'auto-delete',
  exclusive && 'exclusive',
  internal && 'internal',
  'x-message-ttl' in given && 'TTL',
  ('x-max-length' in given || 'x-max-length-bytes' in given) && 'limit',
  'x-dead-letter-exchange' in given && 'DLX',
  policy && `policy ${visible(policy)}`,
].filter(Boolean);

export const connections = (context) => list(CONNECTIONS, context);
export const channels = (context) => list(CHANNELS, context);
export const exchanges = (context) => list(EXCHANGES, context);
export const queues = (context) => list(QUEUES, context);
