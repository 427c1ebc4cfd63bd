// Looking at the messages at the head of a queue, and publishing one.

import { post } from '../parts/api.js';
import { element, facts, field, hint, section } from '../parts/dom.js';
import { counted, exchangeName, pairs, visible } from '../parts/format.js';
import { perform } from '../parts/notices.js';

const MOST_BYTES = 50_000;

export function peek(where) {
  const amount = element('input', { type: 'number', min: 1, max: 100, value: 5, required: true });
  const found = element('div', { 'aria-live': 'polite' });

  async function look() {
    const messages = await post(`${where}/get`, {
      count: Number(amount.value), ackmode: 'ack_requeue_true', encoding: 'auto', truncate: MOST_BYTES,
    });
    found.replaceChildren(element('p', {}, counted(messages.length, 'message')), ...messages.map(messageCard));
  }

  return section('Peek',
    hint('The first messages are taken and put back. They count as redelivered afterwards.'),
    form('inline', 'Peek', look, field('Messages', amount)), found);
}

function form(kind, label, act, ...children) {
  const send = element('button', { class: 'primary' }, label);
  function submit(event) {
    event.preventDefault();
    perform(send, act);
  }
  return element('form', { class: kind, on: { submit } }, ...children, send);
}

function messageCard({ exchange, routing_key: key, redelivered, payload_bytes: size, ...message }, index) {
  const { headers, ...properties } = message.properties;
  const summary = `${exchangeName(exchange)} · key “${visible(key)}” · ${counted(size, 'byte')}${
    redelivered ? ' · redelivered' : ''}`;
  return element('article', {}, element('h3', {}, `Message ${index + 1}`), element('small', {}, summary),
    ...terms('Properties', properties), ...terms('Headers', headers), ...body(message, size));
}

function terms(title, values) {
  const list = facts();
  list.show(pairs(values));
  return list.node.firstChild ? [element('h4', {}, title), list.node] : [];
}

function body({ payload, payload_encoding: encoding }, size) {
  const title = `${encoding === 'base64' ? 'Body, in base64' : 'Body'}${
    size > MOST_BYTES ? `, the first ${counted(MOST_BYTES, 'byte')}` : ''}`;
  return [element('h4', {}, title), element('pre', { tabindex: '0', 'aria-label': title }, payload)];
}

// Publishes to the exchange whose path is `where`. A `key` is the routing key, which is not asked for then.
export function publish({ where, key, done }) {
  const routingKey = element('input', { autocomplete: 'off' });
  const type = element('input', { placeholder: 'text/plain', autocomplete: 'off' });
  const persistent = element('input', { type: 'checkbox', checked: true });
  const binary = element('input', { type: 'checkbox' });
  const headers = element('textarea', { rows: 2, placeholder: '{"tries": 1}' });
  const others = element('textarea', { rows: 2, placeholder: '{"priority": 5}' });
  const text = element('textarea', { rows: 5 });

  async function send() {
    const properties = { ...parsed(others), delivery_mode: persistent.checked ? 2 : 1 };
    if (type.value) properties.content_type = type.value;
    if (headers.value.trim()) properties.headers = parsed(headers);
    const { routed } = await post(`${where}/publish`, {
      properties,
      routing_key: key ?? routingKey.value,
      payload: text.value,
      payload_encoding: binary.checked ? 'base64' : 'string',
    });
    done();
    return routed ? ['Published.'] : ['Published, but no queue took the message.', 'warning'];
  }

  return section('Publish', form('form', 'Publish', send,
    ...(key === undefined ? [field('Routing key', routingKey)] : []),
    field('Body', text),
    element('label', {}, persistent, 'Persistent'), element('label', {}, binary, 'The body is base64'),
    field('Content type', type),
    field('Headers, as an object of JSON', headers),
    field('Other properties, as an object of JSON', others)));
}

// Reads JSON. A browser would round large integers, so they are refused.
const parsed = ({ value }) => JSON.parse(value.trim() || '{}', (_, part) => {
  if (Number.isInteger(part) && !Number.isSafeInteger(part)) throw new Error(`${part} is too large for a browser.`);
  return part;
});
