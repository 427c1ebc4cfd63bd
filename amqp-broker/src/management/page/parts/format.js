// Numbers, times and names as text. What is unknown is a dash.

const known = (format) => (value) => (Number.isFinite(value) ? format(value) : '–');
const rounded = (value, digits) => value.toLocaleString('en', { maximumFractionDigits: digits });

export const count = known((value) => rounded(value, 0));

// `12.3`, or `1,234` when it is large.
export const rate = known((value) => rounded(value, value < 100 ? 1 : 0));

// `12.3K`, for the axes of plots.
export const short = (value) => value.toLocaleString('en', { notation: 'compact' });

export const bytes = known((value) => {
  const power = Math.floor(Math.log2(Math.max(value, 1)) / 10);
  return `${rounded(value / 1024 ** power, 1)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'][power]}`;
});

// The time of day in the user's time zone: `14:03:05`.
export const time = (milliseconds) => new Date(milliseconds).toLocaleTimeString('en-GB');

// The day and the time: `30 Nov 2026, 14:03`.
export const moment = known((milliseconds) =>
  new Date(milliseconds).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' }));

// Returns a name as it is displayed. Characters that cannot be seen, or that turn the direction of
// text, become their numbers, so that no name looks like another.
export const visible = (name) => String(name).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
  (hidden) => `\\u{${hidden.codePointAt(0).toString(16)}}`);

// The default exchange has an empty name.
export const exchangeName = (name) => visible(name) || '(default exchange)';

// Returns pairs of a key and its value of JSON, each as text.
export const pairs = (object) => Object.entries(object ?? {}).map(([key, value]) =>
  [visible(key), visible(typeof value === 'string' ? value : JSON.stringify(value) ?? '')]);

// `1 queue`, `2 queues`.
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
