// Plots of messages, from the broker's samples, or, where it has none, from what the view has seen.

import { element } from './dom.js';
import { count, rate } from './format.js';
import { plot } from './plot.js';

const MOST_POINTS = 120;
const MOVES = { Publish: 'publish', Deliver: 'deliver_get', Ack: 'ack', Redeliver: 'redeliver' };
const WAITS = { Ready: 'messages_ready', Unacknowledged: 'messages_unacknowledged' };

// The parameters that ask for samples of the last ten minutes.
export const SAMPLES = 'lengths_age=600&lengths_incr=5&msg_rates_age=600&msg_rates_incr=5';

// Makes the plots of messages that move and that wait.
export function traffic() {
  const moves = rates(MOVES);
  const waits = measured('Queued messages', count, WAITS, (lengths, key) =>
    samples(lengths, key) ?? lengths?.[key] ?? 0);
  const node = element('div', { class: 'plots' }, moves.node, waits.node);
  return { node, show: (stats, lengths) => [moves.show(stats), waits.show(lengths)] };
}

// Makes a plot of rates; `lines` maps names to the API's.
export const rates = (lines) => measured('Messages a second', rate, lines, (stats, key) => {
  const totals = samples(stats, key);
  return totals ? differences(totals) : stats?.[`${key}_details`]?.rate ?? 0;
});

// Makes a plot whose `read(stats, key)` returns points, or a number to remember.
function measured(title, format, lines, read) {
  const { node, show } = plot({ title, series: Object.keys(lines), format });
  const keys = Object.values(lines);
  const seen = keys.map(() => []);
  return {
    node,
    show: (stats) => show(keys.map((key, index) => {
      const found = read(stats, key);
      if (Array.isArray(found)) return found;
      seen[index] = [...seen[index], [Date.now(), found]].slice(-MOST_POINTS);
      return seen[index];
    })),
  };
}

function samples(stats, key) {
  const given = stats?.[`${key}_details`]?.samples ?? [];
  if (given.length < 2) return undefined;
  return given.map(({ timestamp, sample }) => [timestamp, sample]).sort(([a], [b]) => a - b);
}

const differences = (totals) => totals.slice(1).map(([at, total], index) => {
  const [before, previous] = totals[index];
  return [at, Math.max(0, ((total - previous) * 1000) / (at - before))];
});
